"""One event loop for one execution environment, on its own thread, so that a synchronous handler can use it.

The loop outlives the invocations: connections stay open, a pending write goes on with the next invocation.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
OnStart = Callable[[Callable[[], None]], None]


class LoopThread:
    """A running event loop; thread-safe."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="understudy-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], on_start: OnStart | None = None) -> T:
        """Run a coroutine to its end and return its value.

        `on_start` is given a function that cancels the work, from any thread.  Raises concurrent.futures.CancelledError
        once cancelled work has ended; work that was done before is not cancelled any more: its value is returned.
        """
        running = _Running(self._loop, work)
        if on_start is not None:
            on_start(running.cancel)
        return running.future.result()

    def iterate(
        self, source: AsyncIterator[bytes], idle: float | None = None, filler: bytes = b""
    ) -> tuple[Iterator[bytes], Callable[[], None]]:
        """The source's items as they are produced, and a function that cancels it.

        The source is pulled by a task of the loop, so it goes on while the caller writes.  Whenever no item has come
        for `idle` seconds the `filler` is given in its place.
        """
        ready: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        closed = threading.Event()

        async def pull() -> None:
            try:
                async for item in source:
                    if not closed.is_set():
                        ready.put(item)
            except Exception as error:  # noqa: BLE001 - carried over to the caller's thread
                ready.put(error)

        pulling = _Running(self._loop, pull())
        pulling.future.add_done_callback(lambda _: ready.put(None))

        def close() -> None:
            closed.set()
            pulling.cancel()
            # Whoever waits for an item is let go now, not when the source is done with its end.
            ready.put(None)

        def items() -> Iterator[bytes]:
            try:
                while (item := _next(ready, idle, filler)) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
            finally:
                close()

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


def _next(ready: queue.SimpleQueue[Any], idle: float | None, filler: bytes) -> Any:
    """The next item.  The one who waits for it keeps the time, so that an item costs no timer of the event loop."""
    try:
        return ready.get(timeout=idle)
    except queue.Empty:
        return filler


class _Running(Generic[T]):
    """Work on the loop that can be cancelled from any thread.

    It is cancelled once, so that a second call does not disturb its end, and never before it has begun: what has
    not begun cannot close what it was given, nor say how it ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._cancelled = False
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self.future = asyncio.run_coroutine_threadsafe(self._run(work), loop)

    def cancel(self) -> None:
        if not self.future.done():
            # A loop that has been closed meanwhile has ended the work itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            if self._task is not None:
                self._task.cancel()

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        if self._cancelled and self._task is not None:
            self._task.cancel()
        return await work
