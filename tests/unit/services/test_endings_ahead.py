"""What ends on a day that is known ahead is told 90, 30 and 7 days ahead and on the day, each once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import target
from tests.unit.services.worlds import Clock, World
from understudy.catalog import Candidate, Catalog, Lifecycle, Route
from understudy.facts import Contract, DataFacts
from understudy.incidents.incident import Incident
from understudy.incidents.wording import notice
from understudy.services.endings import LOOK, Endings, endings
from understudy.services.operate import acknowledge
from understudy.services.publish_control import publish

DAY = 86_400.0
RETIRES = 1_830_297_600.0
"""2028-01-01."""
TEXT = """\
schema: 1
providers: {acme: {wire: openai, base_url: https://acme.example/v1}}
targets:
  lead: {provider: acme, model: big, lifecycle: {retires_on: 2028-01-01, replacement: next}}
  next: {provider: acme, model: bigger}
routes: {chat: {targets: [lead]}, other: {targets: [next]}}
"""


class Calendar:
    """A router whose days go by."""

    def __init__(self, text: str = TEXT) -> None:
        self.clock = Clock()
        self.clock.now = RETIRES - 200 * DAY
        self.world = World(self.clock, text)
        self.endings = Endings(self.world.store, clock=self.clock)

    def at(self, days: float) -> Incident | None:
        """The incident after a look so many days before the retirement."""
        self.clock.now = RETIRES - days * DAY
        self.endings.tick()
        return self.world.store.incident("lead", "lifecycle")

    def notices(self, *days: float) -> list[int]:
        return [incident.notices if (incident := self.at(one)) else 0 for one in days]


def test_each_step_is_told_once() -> None:
    """However often the calendar is looked at between them, and by a new environment as well."""
    calendar = Calendar()
    assert [0, 1, 1, 1] == calendar.notices(91, 90, 60, 31)
    calendar.endings = Endings(calendar.world.store, clock=calendar.clock)
    assert [1, 2, 2, 3, 3, 4, 4] == calendar.notices(30.5, 30, 8, 7, 0.5, 0, -20)


def test_a_step_that_was_missed_is_told_late_and_those_before_it_not_at_all() -> None:
    """A router that was deployed 20 days ahead tells once, with what is left."""
    calendar = Calendar()
    assert [1, 1, 2] == calendar.notices(20, 19, 5)


def test_a_clock_that_goes_back_tells_nothing_again() -> None:
    """Another environment's clock may be behind by hours."""
    calendar = Calendar()
    assert [2, 2, 2] == [*calendar.notices(90, 30)[1:], *calendar.notices(30.2, 29.9)]


def test_an_acknowledged_step_does_not_hide_the_next() -> None:
    """Somebody has taken it 90 days ahead; on the day it is told all the same."""
    calendar = Calendar()
    calendar.at(90)
    acknowledge(calendar.world.store, "lead", "lifecycle", by="ann", now=calendar.clock.now)
    assert [2, 3, 4] == calendar.notices(30, 7, 0)


def test_the_notice_says_what_to_do() -> None:
    """The day, the replacement, which routes do not list it; critical when callers are about to lose the target."""
    calendar = Calendar()
    early, late = calendar.at(90), calendar.at(7)
    assert early is not None and late is not None
    assert ("warning", "critical") == (early.severity, late.severity)
    told = notice(late)
    assert "[critical] lead is being retired by its provider" in told.subject
    for part in ("is retired on 2028-01-01", "its replacement is next, which chat does not list", "routes: chat"):
        assert part in told.text
    assert "Runbook: infra/runbooks/lifecycle.md" in told.text


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("{targets: [lead]}", "{targets: [next]}", "no route asks it any more"),
        ("retires_on: 2028-01-01, ", "", "the control document names another date, or none"),
        ("2028-01-01", "2029-01-01", "the control document names another date, or none"),
    ],
)
def test_it_is_over_when_the_document_says_so(old: str, new: str, why: str) -> None:
    """At the next tick after the publication, without waiting for the hour."""
    calendar = Calendar()
    calendar.at(30)
    publish(calendar.world.store, TEXT.replace(old, new), now=calendar.clock.now, by="ann")
    ended = calendar.at(30 - 1 / 1440)
    assert ended is not None and ("resolved", why) == (ended.status, ended.facts["over"])


def test_another_day_is_told_as_news() -> None:
    """The provider has moved it."""
    calendar = Calendar()
    calendar.at(30)
    publish(calendar.world.store, TEXT.replace("2028-01-01", "2027-12-30"), now=calendar.clock.now, by="ann")
    assert [2] == calendar.notices(29)


def test_a_calendar_is_looked_at_by_the_hour() -> None:
    """A tick a minute reads the pointer and nothing else."""
    calendar = Calendar()
    calendar.at(90)
    calls = len(calendar.world.table.calls)
    calendar.clock.now += LOOK - 1
    calendar.endings.tick()
    assert ["get"] == calendar.world.table.calls[calls:]


def lasting(**fields: Any) -> Catalog:
    lead = replace(target("lead"), **fields)
    return Catalog(1, {"lead": lead, "spare": target("spare")}, {"chat": Route("chat", (Candidate(lead, 1),))})


def test_a_contract_is_told_by_its_last_day() -> None:
    """It ends with the day before the moment from which it denies; on that day it is critical."""
    current = lasting(data=DataFacts(contract=Contract("c-7", RETIRES)))
    told = {days: [(e.kind, e.severity) for e in endings(current, RETIRES - days * DAY)] for days in (92, 91, 31, 8, 1)}
    assert {
        92: [],
        91: [("contract", "warning")],
        31: [("contract", "warning")],
        8: [("contract", "critical")],
        1: [("contract", "critical")],
    } == told
    (last,) = endings(current, RETIRES - DAY)
    assert ("its contract c-7 ends on 2027-12-31", "2027-12-31") == (last.summary, last.facts["ends on"])


def test_what_no_route_asks_ends_without_a_word() -> None:
    """Nobody loses anything by it."""
    current = lasting()
    current = replace(current, targets={**current.targets, "old": target("old", lifecycle=Lifecycle(0.0, RETIRES))})
    assert [] == list(endings(current, RETIRES))


def test_a_deprecation_is_a_warning_and_a_retirement_on_the_same_day_counts_more() -> None:
    """Who is only deprecated still answers."""
    only = lasting(lifecycle=Lifecycle(deprecated_at=RETIRES))
    both = lasting(lifecycle=Lifecycle(deprecated_at=RETIRES, retires_at=RETIRES))
    assert ["warning", "critical"] == [one.severity for each in (only, both) for one in endings(each, RETIRES)]
