"""A deadline that moves: one timer for a whole stream, where asyncio.timeout would take one for each chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

T = TypeVar("T")


class Alarm:
    """Ends a wait at `until`, a moment of the event loop's clock that may be moved between two waits.

    Belongs to one task, and holds a timer until it is left.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[object] | None = None
        self._rang = False
        self._timer = self._loop.call_at(until, self._ring)

    async def wait(self, source: AsyncIterator[T]) -> T:
        """The source's next item.  Raises TimeoutError where it has not come by `until`, StopAsyncIteration at its
        end; a cancellation from elsewhere goes on."""
        if self.until < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self.until, self._ring)
        task = self._waiting = asyncio.current_task()
        cancelling = task.cancelling() if task is not None else 0
        try:
            return await anext(source)
        except asyncio.CancelledError:
            if self._rang and task is not None and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    async def __aenter__(self) -> Alarm:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        """The timer has run down: the wait is over, or the moment has moved on since."""
        if self._loop.time() < self.until or self._waiting is None:
            self._timer = self._loop.call_at(max(self.until, self._loop.time() + PAUSE), self._ring)
            return
        self._rang = True
        self._waiting.cancel()


PAUSE = 0.05
"""Seconds until it is looked again whether somebody waits, where the moment came while nobody did."""
