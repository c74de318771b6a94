"""A deadline that moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from tests.virtual import run
from understudy.routing.alarm import Alarm


async def items(*pauses: float) -> AsyncGenerator[float, None]:
    """Each pause, after that many seconds."""
    for pause in pauses:
        await asyncio.sleep(pause)
        yield pause


def now() -> float:
    return asyncio.get_running_loop().time()


def play(script: Callable[[], Awaitable[object]]) -> object:
    async def main() -> object:
        return await script()

    return run(main())


def test_what_comes_in_time_is_given() -> None:
    """Items that come before the moment are given, and the end of the source is its end."""

    async def script() -> list[float]:
        source, got = items(1, 2), []
        async with Alarm(now() + 4) as alarm:
            got += [await alarm.wait(source), await alarm.wait(source)]
            with pytest.raises(StopAsyncIteration):
                await alarm.wait(source)
        return got

    assert [1, 2] == play(script)


@pytest.mark.parametrize(("first", "then", "rings"), [(5.0, 5.0, 5.0), (5.0, 9.0, 9.0), (9.0, 5.0, 5.0)])
def test_it_rings_at_the_moment_it_was_moved_to(first: float, then: float, rings: float) -> None:
    """A wait ends exactly at the moment in force, whether that was moved later or earlier, and closes its source."""

    async def script() -> float:
        began, source = now(), items(1, 100)
        async with Alarm(began + first) as alarm:
            await alarm.wait(source)
            alarm.until = began + then
            with pytest.raises(TimeoutError):
                await alarm.wait(source)
        with pytest.raises(StopAsyncIteration):
            await anext(source)
        return now() - began

    assert rings == play(script)


def test_time_between_two_waits_breaks_nothing_off() -> None:
    """A moment that passes while nobody waits only ends the next wait, if it was not moved on."""

    async def script() -> tuple[float, float]:
        began, source = now(), items(0.5, 0.5, 100)
        async with Alarm(began + 1) as alarm:
            await alarm.wait(source)
            await asyncio.sleep(10)
            alarm.until = now() + 1
            got = await alarm.wait(source)
            await asyncio.sleep(10)
            late = now()
            with pytest.raises(TimeoutError):
                await alarm.wait(source)
            return got, now() - late

    assert (0.5, 0.0) == play(script)


def test_a_cancellation_from_elsewhere_goes_on() -> None:
    """A task that is cancelled, or an outer timeout, is not taken for the alarm."""

    async def script() -> list[bool]:
        async def wait() -> None:
            async with Alarm(now() + 50) as alarm:
                await alarm.wait(items(100))

        task = asyncio.create_task(wait())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        began = now()
        try:
            async with asyncio.timeout(3):
                await wait()
        except TimeoutError:
            outer = now() - began == 3
        return [task.cancelled(), outer]

    assert [True, True] == play(script)


def test_an_alarm_that_was_left_never_rings() -> None:
    """After it is left the moment may pass while the task waits for something else."""

    async def script() -> str:
        async with Alarm(now() + 1) as alarm:
            await alarm.wait(items(0.5))
        await asyncio.sleep(5)
        return "undisturbed"

    assert "undisturbed" == play(script)
