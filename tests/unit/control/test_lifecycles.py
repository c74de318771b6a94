"""Days of a target's lifecycle: what contradicts itself is refused with its place, what is past as well."""

from __future__ import annotations

import pytest

from tests.unit.control.conftest import FakeControlStore
from tests.unit.control.documents import TEXT, changed, problems
from understudy.catalog import Lifecycle
from understudy.control.document import parse, warnings
from understudy.control.load import catalog
from understudy.errors import DocumentError
from understudy.services.publish_control import publish

NOW = 1_796_900_000.0
"""2026-12-10."""


def document(life: str, second: str = "") -> str:
    more = f", lifecycle: {second}" if second else ""
    lead = changed(TEXT, "model: big}", f"model: big, lifecycle: {life}}}")
    return changed(lead, "model: small}", f"model: small{more}}}")


@pytest.mark.parametrize(
    ("life", "second", "place", "said"),
    [
        ("{retires_on: 2026-13-01}", "", "lifecycle.retires_on", "`2026-13-01` is not a day"),
        ("{retires_on: tomorrow}", "", "lifecycle.retires_on", "write a date as year-month-day"),
        ("{retires_on: 20270101}", "", "lifecycle.retires_on", "expected text"),
        ("{deprecated_on: 2027-02-01, retires_on: 2027-01-01}", "", "lifecycle.retires_on", "before it is deprecated"),
        ("{replacement: lead}", "", "lifecycle.replacement", "cannot replace itself"),
        ("{replacement: big}", "", "lifecycle.replacement", "cannot replace itself"),
        (
            "{retires_on: 2027-01-01, replacement: second}",
            "{retires_on: 2027-01-01}",
            "lifecycle.replacement",
            "`second` is retired on 2027-01-01",
        ),
        ("{retired_on: 2027-01-01}", "", "lifecycle.retired_on", "did you mean `retires_on`?"),
    ],
)
def test_a_lifecycle_that_cannot_be_is_refused(life: str, second: str, place: str, said: str) -> None:
    """With its place, what is there, and what to write instead."""
    (problem,) = problems(document(life, second))
    assert (True, True) == (problem.startswith(f"targets.lead.{place} (line 7"), said in problem)


def test_days_become_moments() -> None:
    """The first one of each day, in UTC; what is not written is not known."""
    text = document("{deprecated_on: 2026-12-10, retires_on: 2027-01-01, replacement: second}")
    targets = catalog(parse(text, now=NOW), 1).targets
    assert Lifecycle(1_796_860_800.0, 1_798_761_600.0, "second") == targets["lead"].lifecycle
    assert Lifecycle() == targets["second"].lifecycle


def test_a_target_on_a_route_that_is_retired_already_is_refused(store: FakeControlStore) -> None:
    """It cannot answer any more, so the document says something that is not so; nothing is published."""
    with pytest.raises(DocumentError, match=r"retires_on .*retired since 2026-12-10, and the route `chat` asks it"):
        publish(store, document("{retires_on: 2026-12-10}"), now=NOW, by="ann")
    assert {} == store.kept


def test_a_day_that_passes_does_not_keep_anybody_from_publishing(store: FakeControlStore) -> None:
    """What is in force and has become past is told with every publication, and refuses none."""
    text = document("{retires_on: 2026-12-20}")
    publish(store, text, now=NOW, by="ann")
    later = NOW + 20 * 86_400
    published = publish(store, changed(text, "model: small", "model: tiny"), now=later, by="ann")
    told = [warning for warning in published.warnings if "price" not in warning]
    assert ["The target `lead` is retired since 2026-12-20, and the route `chat` asks it all the same."] == told


def test_a_retired_target_that_no_route_asks_is_told() -> None:
    """It may stay in the document."""
    text = changed(document("{retires_on: 2026-12-01}"), "[lead, second]", "[second]")
    told = warnings(parse(text, now=NOW), NOW)
    assert ["No route uses the target `lead`.", "The target `lead` is retired since 2026-12-01."] == told


def test_content_in_the_audit_is_warned_about() -> None:
    """Whoever publishes it is told that prompts and answers are kept, and where to take it out."""
    text = changed(TEXT, "[lead, second]", "[lead, second]\n    audit_content: true")
    (told,) = warnings(parse(text))
    assert ("keeps every prompt and answer of the route `chat`" in told, "routes.chat.audit_content" in told) == (
        True,
        True,
    )
    assert (True, False) == tuple(catalog(parse(one), 1).routes["chat"].audit_content for one in (text, TEXT))
