"""One event loop for one execution environment, on its own thread, so that a synchronous handler can use it.

The loop outlives the invocations: connections stay open, a pending write goes on with the next invocation.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A running event loop; thread-safe."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="understudy-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its value."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def iterate(self, source: AsyncIterator[bytes]) -> tuple[Iterator[bytes], Callable[[], None]]:
        """The source's items as they are produced, and a function that cancels it.

        The source is pulled by a task of the loop, so it goes on while the caller writes.
        """
        ready: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

        async def pull() -> None:
            try:
                async for item in source:
                    ready.put(item)
            except Exception as error:  # noqa: BLE001 - carried over to the caller's thread
                ready.put(error)

        task = asyncio.run_coroutine_threadsafe(pull(), self._loop)
        # Not at the end of `pull`: a task that is cancelled before it began never gets there.
        task.add_done_callback(lambda _: ready.put(None))

        def items() -> Iterator[bytes]:
            try:
                while (item := ready.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
            finally:
                task.cancel()

        def close() -> None:
            task.cancel()

        return items(), close

    def stop(self) -> None:
        """Cancel what runs and end the thread."""

        async def drain() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(drain(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
