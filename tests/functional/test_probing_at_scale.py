"""A thousand targets, in virtual time, by workers that scale as Lambda's do."""

from itertools import pairwise

import pytest

from tests.sweeping import AT_MOST, Sweep, lambda_scales
from tests.virtual import run

TARGETS = 1000
HANGING = frozenset(f"t{number:04d}" for number in range(0, TARGETS, 50))
"""One target in fifty never answers, so that every fifth batch waits for one until the limit of its first token."""
FEWER = 300
"""Enough where it is about the minutes and not about the targets."""
LIMIT = 10


def swept(period: float, seconds: float, targets: int = TARGETS, **more: object) -> Sweep:
    async def story() -> Sweep:
        return await Sweep(targets, period, **more).run(seconds)  # type: ignore[arg-type]

    return run(story())


@pytest.mark.parametrize("period", [15.0, 60.0])
def test_a_thousand_targets_are_probed_within_one_period(period: float) -> None:
    """Every target is asked within one period, and observed a second later, or when its limit is over if it hangs."""
    sweep = swept(period, period + LIMIT, hanging=HANGING)
    late = {name: times for name, times in sweep.asked.items() if times[0] > period - 1}
    assert (TARGETS, {}) == (len(sweep.asked), late)
    took = {name: round(seen[0][0] - sweep.asked[name][0]) for name, seen in sweep.seen.items()}
    assert {name: LIMIT if name in HANGING else 1 for name in sweep.asked} == took
    assert sweep.at_once <= AT_MOST


def test_fifteen_seconds_are_kept_minute_after_minute() -> None:
    """From one minute into the next every answering target is observed every quarter of it, at even distances, and a
    hanging one opens its breaker after two probes and leaves the sweep to the recovery queue."""
    names = [f"t{number:04d}" for number in range(FEWER)]
    hanging = HANGING & set(names)
    sweep = swept(15, 75, FEWER, hanging=hanging)
    well = [sweep.asked[name] for name in names if name not in hanging]
    assert {5} == {len(times) for times in well}
    distances = [round(after - before) for times in well for before, after in pairwise(times)]
    assert (13, 17) == (min(13, *distances), max(17, *distances))
    failed = {sum(seen.failures for at, seen in sweep.seen[name] if at < 60) for name in hanging}
    assert failed <= {2, 3}


def test_the_workers_lambda_begins_with_are_enough_for_a_minute() -> None:
    """Before Lambda has added a single worker, five probe 1,000 targets within a minute, ten in an invocation."""
    sweep = swept(60, 60, workers=lambda _: 5)
    assert (TARGETS, 5, 100) == (len(sweep.seen), sweep.at_once, sweep.batches)
    assert max(times[0] for times in sweep.asked.values()) < 25


def test_the_model_scales_as_lambda_does() -> None:
    """Five workers at first, 300 more a minute, and no more than the template allows."""
    assert [5, 10, 55, AT_MOST, AT_MOST] == [lambda_scales(seconds) for seconds in (0, 1, 10, 19, 600)]
