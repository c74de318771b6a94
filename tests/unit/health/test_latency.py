"""How long a target takes, kept as small histograms."""

from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json
from understudy.health.latency import (
    HIGHEST,
    MEMORY,
    SHORTEST,
    Histogram,
    bucket,
    faded,
    histogram,
    merged,
    one,
    quantile,
    weight,
)

WIDTH = 2**0.25
"""A bucket's upper end by its lower end."""
EXACT = 1 + 1e-9
SECONDS = st.floats(0, 1000)
TIMES = st.lists(SECONDS, min_size=3, max_size=200)
SHARES = st.floats(0.01, 1)
WEIGHTS = st.dictionaries(st.integers(0, HIGHEST), st.floats(0.001, 10_000), max_size=HIGHEST + 1)


def of(times: list[float]) -> Histogram:
    """The histogram of these times."""
    return reduce(merged, [one(seconds) for seconds in times], ())


def weighted(weights: dict[int, float]) -> Histogram:
    return tuple(sorted(weights.items()))


@given(TIMES, SHARES)
def test_a_quantile_is_hardly_too_high_and_never_too_low(times: list[float], share: float) -> None:
    """A quantile is the true one (nearest rank) or at most 19 % above it; all up to a millisecond count as one."""
    true = sorted(times)[math.ceil(share * len(times) - 1e-9) - 1]
    found = quantile(of(times), share)
    assert found is not None
    assert true <= found * EXACT
    assert found <= max(true, SHORTEST) * WIDTH * EXACT


@given(TIMES, SHARES, SHARES)
def test_quantiles_are_in_order(times: list[float], one_share: float, other: float) -> None:
    """A larger share of the answers never took less time."""
    low, high = (quantile(of(times), share) for share in sorted((one_share, other)))
    assert low is not None and high is not None
    assert low <= high


@pytest.mark.parametrize(("times", "known"), [(0, False), (2, False), (3, True)])
def test_two_answers_say_nothing(times: int, known: bool) -> None:
    """A quantile of fewer than three answers is not known."""
    assert known == (quantile(of([0.1] * times), 0.5) is not None)


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_the_order_of_merging_does_not_matter(some: list[float], others: list[float]) -> None:
    """Merging two histograms is the same both ways, and the same as one histogram of all times."""
    assert merged(of(some), of(others)) == merged(of(others), of(some)) == of(some + others)


@given(*[st.lists(SECONDS, max_size=30)] * 3)
def test_the_grouping_of_merging_does_not_matter(a: list[float], b: list[float], c: list[float]) -> None:
    """It does not matter which histograms are merged first."""
    assert merged(merged(of(a), of(b)), of(c)) == merged(of(a), merged(of(b), of(c)))


@given(WEIGHTS)
def test_merging_with_nothing_changes_nothing(weights: dict[int, float]) -> None:
    """Nothing seen is the histogram without buckets."""
    known = weighted(weights)
    assert known == merged(known, ()) == merged((), known)


@given(WEIGHTS)
def test_fading_bounds_the_weight(weights: dict[int, float]) -> None:
    """A faded histogram weighs no more than 500 answers (to the rounding of its buckets), in the same proportions."""
    known = weighted(weights)
    kept = faded(known)
    scale = min(1.0, MEMORY / weight(known)) if known else 1.0
    assert weight(kept) <= MEMORY + 0.0005 * len(known) + 1e-6
    assert {} == {
        place: part for place, part in known if abs(dict(kept).get(place, 0.0) - part * scale) > 0.0005 + 1e-9
    }


@given(WEIGHTS)
def test_fading_keeps_quantiles_in_order(weights: dict[int, float]) -> None:
    """However often a histogram fades, its buckets and its quantiles stay in order."""
    kept = faded(merged(faded(weighted(weights)), one(0.5)))
    assert [place for place, _ in kept] == sorted({place for place, _ in kept})
    found = [seconds for share in (0.5, 0.95, 0.99, 1.0) if (seconds := quantile(kept, share)) is not None]
    assert all(low <= high for low, high in pairwise(found))


def test_new_answers_outweigh_old_ones() -> None:
    """After a thousand slow answers, as many fast ones make the median fast."""
    known: Histogram = ()
    medians = []
    for seconds in (8.0, 0.1):
        for _ in range(1000):
            known = faded(merged(known, one(seconds)))
        medians.append(quantile(known, 0.5))
    assert [True, True] == [8.0 <= medians[0] <= 8.0 * WIDTH, 0.1 <= medians[1] <= 0.1 * WIDTH]


@given(WEIGHTS)
def test_a_histogram_survives_json(weights: dict[int, float]) -> None:
    """A histogram comes back from JSON as it was written."""
    assert weighted(weights) == histogram(as_json(weighted(weights)))


@pytest.mark.parametrize(
    ("seconds", "place"), [(0.0, 0), (0.001, 0), (0.00101, 1), (0.002, 4), (1.0, 40), (1000.0, 80), (1e9, 80)]
)
def test_buckets_are_a_quarter_of_an_octave(seconds: float, place: int) -> None:
    """Four buckets to a doubling, from a millisecond to about 17 minutes; what is longer is in the last one."""
    assert place == bucket(seconds)
