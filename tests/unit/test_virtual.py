"""The virtual event loop: the tests of the fleet are worth what its time is worth."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.virtual import StandStillError, run, spend


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


def test_a_long_sleep_takes_no_real_time() -> None:
    """An hour passes for the loop and next to nothing for the machine."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    began = time.monotonic()
    assert 3600.0 == run(main())
    assert True is (time.monotonic() - began < 0.5)


def test_days_pass() -> None:
    """A sleep longer than the longest wait of the loop's own is slept to its end."""

    async def main() -> float:
        await asyncio.sleep(3 * 86400.0)
        return now()

    assert 3 * 86400.0 == run(main())


def test_timers_fire_in_the_order_of_their_times() -> None:
    """Whatever the order in which they were set, timers fire by their time, and the time is theirs."""

    async def main() -> list[tuple[float, str]]:
        fired: list[tuple[float, str]] = []

        async def timer(seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append((now(), f"{seconds:g}"))

        await asyncio.gather(*(timer(seconds) for seconds in (2, 0.5, 30, 0.25)))
        return fired

    assert [(0.25, "0.25"), (0.5, "0.5"), (2.0, "2"), (30.0, "30")] == run(main())


def test_timers_fire_at_their_very_moment() -> None:
    """A hundred waits up to a twentieth of a second each end at the twentieth, not a rounding error before it."""

    async def main() -> list[float]:
        loop, moments = asyncio.get_running_loop(), []
        for step in range(1, 101):
            await asyncio.sleep(step / 20 - loop.time())
            moments.append(loop.time())
        return moments

    assert [step / 20 for step in range(1, 101)] == run(main())


def test_a_deadline_is_kept_to_the_moment() -> None:
    """asyncio.timeout_at ends a wait at its virtual moment, and not one that was quicker."""

    async def main() -> tuple[float, float]:
        async with asyncio.timeout_at(5):
            await asyncio.sleep(4)
        quick = now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(7.5):
                await asyncio.Event().wait()
        return quick, now()

    assert (4.0, 7.5) == run(main())


def test_an_executor_call_costs_no_time() -> None:
    """A call in an executor is done at once, in this thread, and its result or error is handed on."""

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await loop.run_in_executor(None, "-".join, ["a", "b"]), now()

    assert ("a-b", 0.0) == run(main())


def test_an_executor_call_is_not_done_in_the_same_step() -> None:
    """As with real threads, others get a turn before the result is there."""

    async def main() -> bool:
        return asyncio.get_running_loop().run_in_executor(None, int).done()

    assert False is run(main())


def test_an_executor_call_takes_the_time_it_says() -> None:
    """A call that spends 5 s is answered 5 s later, also when it fails; a wait for it may give up sooner."""

    async def main() -> list[float]:
        moments = []
        await asyncio.to_thread(spend, 5)
        moments.append(now())
        done, _ = await asyncio.wait({asyncio.create_task(asyncio.to_thread(spend, 5))}, timeout=0.04)
        assert not done
        moments.append(now())

        def fail() -> None:
            spend(1)
            raise ValueError

        with pytest.raises(ValueError):
            await asyncio.to_thread(fail)
        return [*moments, now()]

    assert [5.0, 5.04, 6.04] == run(main())


def test_an_executor_has_so_many_workers() -> None:
    """A pool of two takes three calls of 5 s one after the other: two at once, the third when one is free."""

    async def main() -> list[float]:
        pool, loop = ThreadPoolExecutor(2), asyncio.get_running_loop()

        async def one() -> float:
            await loop.run_in_executor(pool, spend, 5)
            return now()

        return await asyncio.gather(*(one() for _ in range(3)))

    assert [5.0, 5.0, 10.0] == run(main())


def test_waiting_for_nothing_is_an_error() -> None:
    """A wait that nothing could ever end raises instead of hanging the test."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StandStillError):
        run(main())


def test_what_is_left_running_is_cancelled() -> None:
    """A task that the main coroutine leaves behind is cancelled, and its clean-up runs."""
    cleaned = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            cleaned.append(True)

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(1)
        assert not task.done()

    run(main())
    assert [True] == cleaned
