"""From the first sign of trouble to its end: one incident, told as often as needed and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import as_json
from understudy.incidents.incident import MOST_ACTIONS, Incident, acknowledged, incident_from, observed, resolved


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


def test_whoever_takes_it_is_not_told_again_but_hears_the_end(opened: Incident) -> None:
    """Acknowledged once, by the first; reminders stop, the end is told, and a new incident has nobody yet."""
    taken = acknowledged(opened, now=200.0, by="ann")
    assert taken is not None
    assert ("ann", 200.0, 1) == (taken.acknowledged_by, taken.acknowledged_at, taken.notices)
    assert None is acknowledged(taken, now=201.0, by="bob")
    assert None is seen(taken, 9000.0)
    over = resolved(taken, now=9100.0, facts={})
    assert over is not None
    again = seen(over, 9200.0)
    assert (2, None, None) == (over.notices, acknowledged(over, now=9101.0, by="bob"), again and again.acknowledged_at)


def test_what_becomes_critical_is_told_at_once(opened: Incident) -> None:
    """Even where somebody has taken it; what becomes less critical is not called less so."""
    mild = acknowledged(replace(opened, severity="warning"), now=150.0, by="ann")
    worse = seen(mild, 200.0)
    assert worse is not None
    assert ("critical", 2) == (worse.severity, worse.notices)
    assert None is seen(worse, 201.0, severity="warning")


def test_a_quiet_end_is_not_told(opened: Incident) -> None:
    """It goes on as another incident; it is resolved all the same."""
    over = resolved(opened, now=500.0, facts={}, quiet=True)
    assert over is not None
    assert ("resolved", 1) == (over.status, over.notices)


def test_actions_are_kept_in_order_each_once(opened: Incident) -> None:
    """However often the same is seen; of very many the first and the newest."""
    one, two = (90.0, "the detector gave an alarm"), (95.0, "a run was bought")
    with_two = seen(seen(opened, 101.0, actions=[two]), 102.0, actions=[one, two])
    assert with_two is not None
    assert ((one, two), None) == (with_two.actions, seen(with_two, 103.0, actions=[one]))
    many = seen(with_two, 200.0, actions=[(float(n), "again") for n in range(100, 200)])
    assert many is not None
    assert (MOST_ACTIONS, one, (199.0, "again")) == (len(many.actions), many.actions[0], many.actions[-1])


def test_survives_json(opened: Incident) -> None:
    """An incident is the same after a trip through the table; fields of a newer version are ignored."""
    done = seen(opened, 101.0, actions=[(100.5, "done")])
    for incident in (opened, done, resolved(opened, now=500.0, facts={"n": 1})):
        assert incident is not None
        assert replace(incident, rev=9) == incident_from(as_json({**incident.plain(), "mood": "better"}), 9)
