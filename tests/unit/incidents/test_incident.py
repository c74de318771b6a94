"""From the first sign of trouble to its end: one incident, told as often as needed and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import as_json
from understudy.incidents.incident import Incident, incident_from, observed, resolved


def seen(current: Incident | None, now: float, **changed: Any) -> Incident | None:
    """The incident after the same outage was seen (again)."""
    facts = {"subject": "lead", "kind": "outage", "severity": "critical", "summary": "5 failures in a row"}
    more = {"facts": {"provider": "alpha"}, "renotify": 3600.0, "link": "https://runbook.example"}
    return observed(current, now=now, **{**facts, **more, **changed})  # type: ignore[arg-type]


@pytest.fixture
def opened() -> Incident:
    incident = seen(None, 100.0)
    assert incident is not None
    return incident


def test_opened_once(opened: Incident) -> None:
    """The first sign opens the incident with one notice; the same sign again changes nothing."""
    expected = Incident(
        subject="lead",
        kind="outage",
        status="open",
        severity="critical",
        opened_at=100.0,
        changed_at=100.0,
        noticed_at=100.0,
        notices=1,
        summary="5 failures in a row",
        facts={"provider": "alpha"},
        link="https://runbook.example",
    )
    assert expected == opened
    assert None is seen(opened, 101.0)


@pytest.mark.parametrize("change", [{"summary": "the probe failed"}, {"facts": {"provider": "alpha", "opens": 2}}])
def test_updated_in_place(opened: Incident, change: dict[str, Any]) -> None:
    """News of an open incident are kept in it, silently: same opening time, same id, no notice."""
    updated = seen(opened, 160.0, **change)
    assert replace(opened, changed_at=160.0, **change) == updated
    assert updated is not None
    assert opened.id == updated.id


@pytest.mark.parametrize(("now", "notices"), [(3699.9, None), (3700.0, 2)])
def test_told_again_after_the_renotify_time(opened: Incident, now: float, notices: int | None) -> None:
    """An incident that lasts is told again when the renotify time has passed, not a moment sooner."""
    again = seen(opened, now)
    assert notices == (again.notices if again else None)


def test_the_renotify_time_counts_from_the_last_telling(opened: Incident) -> None:
    """Updates in between neither bring the reminder forward nor put it off."""
    current, told = opened, []
    for now in range(200, 8200, 100):
        after = seen(current, float(now), facts={"failures": now})
        assert after is not None
        if after.notices > current.notices:
            told.append(now)
        current = after
    assert [3700, 7300] == told


def test_resolved_once(opened: Incident) -> None:
    """The end is told once, keeps the evidence and adds to it; there is nothing to resolve twice."""
    over = resolved(opened, now=500.0, facts={"good evaluations": 3})
    expected = replace(
        opened,
        status="resolved",
        resolved_at=500.0,
        changed_at=500.0,
        noticed_at=500.0,
        notices=2,
        facts={"provider": "alpha", "good evaluations": 3},
    )
    assert expected == over
    assert [None, None] == [resolved(over, now=501.0, facts={}), resolved(None, now=501.0, facts={})]


def test_trouble_after_the_end_is_a_new_incident(opened: Incident) -> None:
    """The same subject and kind can have another incident later: a new id, told at once, on top of the old revision."""
    over = resolved(replace(opened, rev=4), now=500.0, facts={})
    again = seen(over, 600.0)
    assert again is not None
    assert ("open", 600.0, 1, None, 4) == (
        again.status,
        again.opened_at,
        again.notices,
        again.resolved_at,
        again.rev,
    )
    assert opened.id != again.id


def test_survives_json(opened: Incident) -> None:
    """An incident is the same after a trip through the table; fields of a newer version are ignored."""
    for incident in (opened, resolved(opened, now=500.0, facts={"n": 1})):
        assert incident is not None
        assert replace(incident, rev=9) == incident_from(as_json({**incident.plain(), "mood": "better"}), 9)
