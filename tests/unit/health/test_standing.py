"""Whether a target gets traffic right now, and the words for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from understudy.catalog import BreakerSettings
from understudy.health.breaker import Breaker
from understudy.health.standing import Standing, standing

OPEN = Breaker(state="open", changed_at=100.0, until=102.0, opens=1, reason="5 failures in a row")
BACK = Breaker(changed_at=100.0, opens=1)

TABLE = [
    ("healthy", Breaker(), 0.0, 100.0, Standing(1.0, "healthy", False)),
    ("benched", Breaker(), 103.5, 100.0, Standing(0.0, "benched by the provider for 3.5 s more", False)),
    ("bench over", Breaker(), 103.5, 103.5, Standing(1.0, "healthy", False)),
    ("ramp 1", BACK, 0.0, 100.5, Standing(0.1, "coming back, 10% of its traffic", False)),
    ("ramp 2", BACK, 0.0, 101.5, Standing(0.5, "coming back, 50% of its traffic", False)),
    ("ramp over", BACK, 0.0, 102.0, Standing(1.0, "healthy", False)),
    ("back at once", replace(BACK, steady=True), 0.0, 100.5, Standing(1.0, "healthy", False)),
    ("open", OPEN, 0.0, 101.5, Standing(0.0, "breaker open for 0.5 s more (5 failures in a row)", False)),
    ("waiting for its probe", OPEN, 0.0, 103.0, Standing(0.0, "breaker open (5 failures in a row)", False)),
    ("no probe came", OPEN, 0.0, 104.0, Standing(0.0, "breaker open (5 failures in a row)", True)),
    ("open and benched", OPEN, 110.0, 104.0, Standing(0.0, "benched by the provider for 6.0 s more", False)),
]


@pytest.mark.parametrize(("breaker", "benched", "now", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_standing(breaker: Breaker, benched: float, now: float, expected: Standing) -> None:
    """Bench first, then the breaker, then the ramp; the reason says which and for how long."""
    assert expected == standing(breaker, benched, now, BreakerSettings())


def test_a_held_lease_is_no_probe_due() -> None:
    """While somebody probes, no other live request is told to."""
    held = Breaker(state="open", changed_at=100.0, until=102.0, opens=1, lease_until=140.0)
    assert [False, True] == [standing(held, 0.0, now, BreakerSettings()).probe_due for now in (139.0, 140.0)]
