"""How long a breaker stays open, whatever the settings."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from understudy.catalog import BreakerSettings
from understudy.health.breaker import Breaker, opened

EXACTLY = 1e-6
"""Seconds; what floats of this size are exact to."""
LENGTHS = st.floats(0, 100_000)
OPENS = st.integers(0, 2000)
JITTER = st.integers(0, 2**32)


@st.composite
def settings(draw: st.DrawFn) -> BreakerSettings:
    """Any settings that a control document may have: first <= steady <= longest."""
    first, steady, longest = sorted(draw(st.tuples(*[st.floats(0.01, 3600)] * 3)))
    return BreakerSettings(open_first=first, open_steady=steady, open_max=longest, jitter=draw(st.floats(0, 0.99)))


def lasting(of: BreakerSettings, opens: int, outage: float, seed: int, *, steady: bool = False) -> float:
    """Seconds of an opening after `opens` in a row, `outage` seconds after the first of them."""
    before = Breaker(opens=opens, down_since=0.0)
    # The moment is the length of the outage; without openings before it, the outage begins now.
    return opened(before, outage, "down", of, random.Random(seed), steady=steady).until - outage


@given(settings(), OPENS, LENGTHS, JITTER, st.booleans())
def test_it_stays_within_its_bounds(of: BreakerSettings, opens: int, outage: float, seed: int, steady: bool) -> None:
    """Never shorter than the first time, never longer than the longest with all of its jitter."""
    seconds = lasting(of, opens, outage, seed, steady=steady)
    assert of.open_first - EXACTLY <= seconds <= of.open_max * (1 + of.jitter) + EXACTLY


@given(settings(), st.integers(1, 2000), LENGTHS, LENGTHS, JITTER, st.booleans())
def test_a_longer_outage_never_opens_for_less(
    of: BreakerSettings, opens: int, one: float, other: float, seed: int, steady: bool
) -> None:
    """The open time only grows with the length of the outage."""
    shorter, longer = (lasting(of, opens, length, seed, steady=steady) for length in sorted((one, other)))
    assert shorter <= longer + EXACTLY


@given(settings(), st.integers(1, 2000), st.integers(1, 2000), LENGTHS, JITTER)
def test_more_openings_in_a_row_never_open_for_less(
    of: BreakerSettings, one: int, other: int, outage: float, seed: int
) -> None:
    """The open time only grows with the number of openings in a row."""
    fewer, more = (lasting(of, opens, outage, seed) for opens in sorted((one, other)))
    assert fewer <= more + EXACTLY


@given(settings(), st.integers(1, 2000), LENGTHS, JITTER)
def test_little_evidence_never_opens_for_less(of: BreakerSettings, opens: int, outage: float, seed: int) -> None:
    """The steady time is the least that a quiet target stays open, and no less than a busy one's."""
    steady, other = (lasting(of, opens, outage, seed, steady=steady) for steady in (True, False))
    assert max(of.open_steady, other) - EXACTLY <= steady


@given(settings(), st.floats(0, 1e9), st.floats(0, 1e9), OPENS, JITTER, st.booleans())
def test_it_never_ends_sooner_than_before(
    of: BreakerSettings, now: float, until: float, opens: int, seed: int, steady: bool
) -> None:
    """Whenever it opens again, the end of the open time and the last change do not move backward."""
    before = Breaker(changed_at=until / 2, until=until, opens=opens, down_since=now)
    after = opened(before, now, "down", of, random.Random(seed), steady=steady)
    assert (True, True) == (after.until >= before.until, after.changed_at >= before.changed_at)
