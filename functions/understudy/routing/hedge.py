"""Asking a second target when the first is late: whoever speaks first answers, the other is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from understudy.chat.stream import Chunk
from understudy.routing.course import Course, Turn, TurnFailed

Piece = tuple[Turn, Chunk]


class Play(Protocol):
    def __call__(self, turn: Turn, spoke: Callable[[], None]) -> AsyncGenerator[Piece, None]:
        """One attempt; calls `spoke` at its first content.  Raises TurnFailed."""


class _Runner:
    """An attempt that runs by itself: what it brings is kept until it is read."""

    def __init__(self, turn: Turn, play: Play) -> None:
        self.turn = turn
        self.lost: TurnFailed | None = None
        self.settled = asyncio.Event()
        """Set when it has spoken, failed or ended."""
        self._brought: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(play))

    async def _run(self, play: Play) -> None:
        try:
            async with aclosing(play(self.turn, self.settled.set)) as pieces:
                async for piece in pieces:
                    self._brought.put_nowait(piece)
        except TurnFailed as lost:
            self.lost = lost
        finally:
            self.settled.set()
            self._brought.put_nowait(None)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """What it brings, to its end.  Raises what it failed with."""
        while (piece := await self._brought.get()) is not None:
            yield piece
        await self._task
        if self.lost is not None:
            raise self.lost

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def first_to_speak(
    first: Turn, play: Play, delay: float, second: Callable[[], Awaitable[Turn | None]], course: Course
) -> AsyncGenerator[Piece, None]:
    """The pieces of whoever speaks first.

    After `delay` seconds without a word the turn that `second` gives is played too.  The one that loses is cancelled;
    it may be tried again should the winner fail.  Raises TurnFailed where all failed, with the last of them.
    """
    runners = [_Runner(first, play)]
    try:
        await _settled(runners, delay)
        if not runners[0].settled.is_set() and (other := await second()) is not None:
            other.hedge = True
            runners.append(_Runner(other, play))
        winner = await _winner(runners, course)
        for loser in [runner for runner in runners if runner is not winner]:
            runners.remove(loser)
            await loser.cancel()
            course.put_back(loser.turn)
        async with aclosing(winner.pieces()) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        for runner in runners:
            await runner.cancel()


async def _winner(runners: list[_Runner], course: Course) -> _Runner:
    """The first that speaks.  One that fails while another still runs is noted and left out."""
    while True:
        await _settled(runners, None)
        for runner in [one for one in runners if one.settled.is_set()]:
            if runner.lost is None or len(runners) == 1:
                return runner
            runners.remove(runner)
            course.move_on(runner.turn, runner.lost.failure)


async def _settled(runners: list[_Runner], patience: float | None) -> None:
    waits = [asyncio.create_task(runner.settled.wait()) for runner in runners]
    try:
        await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
