"""What an alarm is worth among all the streams that are watched."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.detectors.discovery import discovered, e_value
from understudy.detectors.sample import Alarm

ALARM = Alarm("quality", "degraded", 1.0, 0.0, 10, statistic=12.0, threshold=12.0)


def worth(per_period: float, statistic: float = 12.0) -> float:
    alarm = Alarm("quality", "degraded", 1.0, 0.0, 10, statistic=statistic, threshold=12.0)
    return e_value(alarm, in_control_length=100_000, per_period=per_period)


def test_an_alarm_is_worth_less_where_values_are_many() -> None:
    """A stream that has as many values in a period as it gives false alarms in says nothing by one of them."""
    assert [100_000.0, 1_000.0, 1.0, 0.1] == [worth(n) for n in (0, 100, 100_000, 1_000_000)]


def test_a_statistic_far_above_its_threshold_counts_more() -> None:
    """By the ratio of both, and one that is not above it by no less than 1."""
    assert [2_000.0, 1_000.0] == [worth(100, statistic) for statistic in (24.0, 6.0)]


@pytest.mark.parametrize(("e_values", "streams", "told"), [
    ([], 100, set()),
    ([2_000.0], 100, {0}),
    ([1_999.0], 100, set()),
    ([1_000.0, 5.0, 1_000.0], 100, {0, 2}),
    ([700.0, 700.0, 700.0], 100, {0, 1, 2}),
    ([5_000.0, 10.0], 100, {0}),
    ([21.0], 0, {0}),
])  # fmt: skip
def test_alarms_that_stand_together_need_less_each(e_values: list[float], streams: int, told: set[int]) -> None:
    """One of a hundred streams needs 100 / 0.05; k at the same time need a k-th of it each."""
    assert told == discovered(e_values, streams, 0.05)


@given(st.lists(st.floats(0, 1e7), max_size=30), st.integers(1, 500), st.floats(0.01, 0.5))
def test_a_larger_worth_is_never_left_out_for_a_smaller_one(e_values: list[float], streams: int, rate: float) -> None:
    """What is told are the largest, and one alarm more never takes another's place."""
    told = discovered(e_values, streams, rate)
    least = min((e_values[place] for place in told), default=float("inf"))
    assert told == {place for place, value in enumerate(e_values) if value >= least}
    assert told <= discovered([*e_values, 1e9], max(streams, len(e_values) + 1), rate) or len(e_values) >= streams


def test_false_alarms_stay_below_the_rate_when_streams_fall_together() -> None:
    """A thousand periods in which all of fifty streams share one fate: something is told in fewer than 5 % of them."""
    rng = random.Random(5)
    told = 0
    for _ in range(1000):
        # The e-value of a stream without change: 1 on average, and the same for all.
        shared = 40.0 if rng.random() < 1 / 40 else 0.0
        told += bool(discovered([shared] * 50, 50, 0.05))
    assert told < 50
