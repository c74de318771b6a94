"""Virtual time: an asyncio event loop on which waiting costs nothing and every run is the same.

`time()` starts at 0 and jumps to the next timer when nothing else is left to do.  What is handed to an executor runs
at once, in the loop's own thread; it takes the virtual seconds that it says it takes (`spend`), and as in a real pool
no more calls run at a time than the executor has workers.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

DEFAULT_WORKERS = 32
"""Workers of an executor that does not say how many it has."""

T = TypeVar("T")


class StandStillError(RuntimeError):
    """Somebody waits for what will never happen: nothing is ready and no timer is set."""


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the time, moves it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise StandStillError("nothing is ready and no timer is set: this would wait for ever")
            # To the nanosecond, the loop's own resolution: a timer for 5 s fires at 5.0 and not just before.
            self.now = round(self.now + timeout, 9)
        return ready


@dataclass(slots=True)
class _Workers:
    """The workers of one executor and the calls that wait for one of them."""

    free: int
    waiting: deque[Callable[[], None]] = field(default_factory=deque)

    def submit(self, call: Callable[[], None]) -> None:
        if self.free:
            self.free -= 1
            call()
        else:
            self.waiting.append(call)

    def release(self) -> None:
        if self.waiting:
            self.waiting.popleft()()
        else:
            self.free += 1


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self._pools: dict[Executor | None, _Workers] = {}
        self.spent = 0.0
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        pool = self._pools.get(executor)
        if pool is None:
            pool = self._pools[executor] = _Workers(getattr(executor, "_max_workers", DEFAULT_WORKERS))
        pool.submit(partial(self._call, partial(func, *args), future, pool))
        return future

    def _call(self, call: Callable[[], T], future: asyncio.Future[T], pool: _Workers) -> None:
        """What the call does happens now; its result is there when its time is over, never in the same step."""
        self.spent, settle = 0.0, partial(_settle, future, pool)
        try:
            done = partial(settle, result=call())
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
            done = partial(settle, error=error)
        if self.spent:
            self.call_later(self.spent, done)
        else:
            self.call_soon(done)


def _settle(
    future: asyncio.Future[Any], pool: _Workers, *, result: object = None, error: Exception | None = None
) -> None:
    pool.release()
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def spend(seconds: float) -> None:
    """Called inside an executor call: it takes this much virtual time more."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.spent += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time; what it has left running is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
