"""One word for how a target does, since when, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json
from understudy.detectors.sample import Alarm, Kind, Verdict
from understudy.health.breaker import Breaker
from understudy.health.finding import Finding, Hold
from understudy.health.item import Health, health_from
from understudy.health.state import MISSED, state_of
from understudy.health.usual import Usual

NOW = 100_000.0
WELL = Health("lead", last_ok_at=NOW - 10)
OPEN = Breaker(state="open", changed_at=NOW - 5, down_since=NOW - 90, until=NOW + 5, opens=3, reason="5 in a row")
HALF = replace(OPEN, state="half_open")


def finding(state: Any = "confirmed", verdict: Verdict = "degraded", kind: Kind = "quality") -> Finding:
    alarm = Alarm(kind, verdict, NOW - 50, NOW - 300, 40, before=0.86, after=0.64)
    return Finding("basics", state, NOW - 50, alarm)


def hold(state: Any) -> Hold:
    return Hold(state, NOW - 20, "ada", "a bill that nobody expected")


@pytest.mark.parametrize(
    ("health", "name", "since", "cause"),
    [
        (None, "unknown", 0.0, "never seen"),
        (WELL, "healthy", 0.0, "100% of recent answers were good"),
        (replace(WELL, benched_until=NOW + 9), "healthy", 0.0, "100% of recent answers were good, benched by the "
         "provider for 9 s more"),
        (replace(WELL, last_ok_at=NOW - 301), "unknown", NOW - 1, "nothing was seen of it lately"),
        (replace(WELL, breaker=OPEN), "open", NOW - 90, "5 in a row"),
        (replace(WELL, breaker=HALF), "half_open", NOW - 90, "5 in a row"),
        (replace(WELL, findings=(finding(),)), "degraded", NOW - 50, "quality 0.86 → 0.64"),
        (replace(WELL, hold=hold("drained")), "drained", NOW - 20, "a bill that nobody expected"),
        (replace(WELL, hold=hold("quarantined")), "quarantined", NOW - 20, "a bill that nobody expected"),
    ],
)  # fmt: skip
def test_each_state_has_its_beginning_and_its_cause(health: Health | None, name: str, since: float, cause: str) -> None:
    """Every state says since when and why, in words."""
    state = state_of(health, NOW)
    assert (name, since, cause) == (state.name, state.since, state.cause)


def test_what_people_decide_comes_before_what_is_measured() -> None:
    """Of several that are true the one that keeps most from callers is the state."""
    worst = replace(WELL, breaker=OPEN, findings=(finding(),), hold=hold("drained"), last_ok_at=0.0)
    stripped = [
        worst,
        replace(worst, hold=None),
        replace(worst, hold=None, breaker=Breaker()),
        replace(worst, hold=None, breaker=Breaker(), findings=()),
    ]
    assert ["drained", "open", "degraded", "unknown"] == [state_of(health, NOW).name for health in stripped]


@pytest.mark.parametrize("one", [finding("suspected"), finding(verdict="changed"), finding("suspected", "changed")])
def test_what_is_only_suspected_or_changed_is_no_degradation(one: Finding) -> None:
    """A suspicion and a change without loss leave a target healthy."""
    assert "healthy" == state_of(replace(WELL, findings=(one,)), NOW).name


def test_a_state_is_known_for_as_long_as_probes_may_miss() -> None:
    """What is known lasts some periods of probing, and the period is the document's."""
    old = replace(WELL, last_ok_at=NOW - MISSED * 900)
    assert ["unknown", "healthy"] == [state_of(old, NOW, period=period).name for period in (60.0, 900.0)]


@given(st.floats(0, 2e9), st.booleans(), st.booleans())
def test_a_state_survives_the_table(now: float, held: bool, found: bool) -> None:
    """What was written to the table and read again has the same state."""
    health = replace(WELL, findings=(finding(),) if found else (), hold=hold("drained") if held else None)
    health = replace(health, usual=Usual(0.5, 0.4, 20.0, NOW))
    assert health == health_from(as_json(health.plain()), health.rev)
    assert state_of(health, now) == state_of(health_from(as_json(health.plain()), 0), now)
