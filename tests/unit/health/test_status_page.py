"""What a provider's status page says, where it can be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json
from understudy.health.status_page import Corroboration, StatusPage, corroboration, status_page_from

NOW = 1_800_000_000.0
# The shape of https://metastatuspage.com/api/v2/summary.json, as its API page documents it.
PAGE: dict[str, Any] = {
    "page": {"id": "y2j98763l56x", "name": "Example", "updated_at": "2026-11-20T09:30:00.000Z"},
    "status": {"indicator": "major", "description": "Partial System Outage"},
    "components": [],
    "incidents": [],
    "scheduled_maintenances": [],
}


def test_a_summary_is_read() -> None:
    """Indicator, description and the time of the last change, in epoch seconds."""
    found = corroboration(json.dumps(PAGE), NOW)
    assert (Corroboration("major", "Partial System Outage", 1_795_167_000.0), True) == (found, found.trouble)


@pytest.mark.parametrize(
    ("indicator", "trouble"),
    [("none", False), ("maintenance", False), ("minor", True), ("critical", True)],
)
def test_trouble_is_what_the_provider_calls_so(indicator: str, trouble: bool) -> None:
    """Announced maintenance and all being well are no trouble."""
    page = PAGE | {"status": {"indicator": indicator}}
    assert trouble is corroboration(json.dumps(page), NOW).trouble


@pytest.mark.parametrize("changed_at", [None, 5, "soon", "2999-01-01T00:00:00Z", "9999-99-99"])
def test_a_time_that_cannot_be_is_now(changed_at: object) -> None:
    """A missing, unreadable or future time of change is that of reading."""
    page = PAGE | {"page": {"updated_at": changed_at}}
    assert NOW == corroboration(json.dumps(page), NOW).at


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "[]", "{}", '{"status": []}', '{"status": {"indicator": "green"}}', '{"status": {"indicator": []}}',
     "[" * 100_000, " " * 1_000_001],
)  # fmt: skip
def test_what_cannot_be_read_is_said_so(body: str) -> None:
    """A page of another kind raises, and says neither that all is well nor that it is not."""
    with pytest.raises(ValueError, match="the status page"):
        corroboration(body, NOW)


def test_a_description_is_bounded_and_printable() -> None:
    """Somebody else's text neither fills a log nor drives a terminal."""
    page = PAGE | {"status": {"indicator": "minor", "description": "\x1b[31m" + "x" * 5000}}
    found = corroboration(json.dumps(page), NOW).description
    assert (200, True) == (len(found), found.isprintable())


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["page", "status", "indicator", "updated_at", "description"]),
                                      inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_page_is_read_or_refused(page: Any) -> None:
    """Nothing that a page may say makes reading it fail in another way."""
    try:
        assert NOW >= corroboration(json.dumps(page), NOW).at
    except ValueError as refused:
        assert "the status page" in str(refused)


URL = "https://status.example/api/v2/summary.json"
SAID = Corroboration("minor", "Partial outage", NOW - 60)
READ = StatusPage("acme", URL, asked_at=NOW - 5, read_at=NOW, said=SAID)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SAID, "says: Partial outage (minor), changed 2027-01-15 07:59 UTC"),
        (Corroboration("major", " ", NOW), "says: major, changed 2027-01-15 08:00 UTC"),
        (Corroboration("none", "All Systems Operational", NOW), "says that all is well"),
        (None, "could not be read"),
    ],
)
def test_what_it_said_goes_on_a_sentence(said: Corroboration | None, words: str) -> None:
    """The provider's own words with its grade and when it changed; that all is well; that nobody could read it."""
    assert words == replace(READ, said=said).words(URL, NOW)


@pytest.mark.parametrize(
    ("known", "now"),
    [(READ, NOW + 901), (replace(READ, url="https://old.example"), NOW), (StatusPage("acme", URL, asked_at=NOW), NOW)],
    ids=["long ago", "another page", "not read yet"],
)
def test_only_what_was_read_lately_is_repeated(known: StatusPage, now: float) -> None:
    """Neither yesterday's word, nor that of another address, nor that of a page that is being read."""
    assert ("", READ.words(URL, NOW + 900)) == (known.words(URL, now), READ.words(URL, NOW))


def test_it_is_due_after_five_minutes() -> None:
    """Counted from when it was asked for, whether or not it was read; another address is due at once."""
    due = [READ.due(URL, NOW + after) for after in (-10, 0, 294, 295)]
    assert ([False, False, False, True], True) == (due, READ.due("https://new.example", NOW))


@pytest.mark.parametrize("said", [SAID, None])
def test_it_survives_json(said: Corroboration | None) -> None:
    """Written and read again it is the same; what a newer version adds is passed over."""
    known = replace(READ, said=said)
    assert known == status_page_from(as_json(known.plain()) | {"newer": 1}, 0)


@given(st.text(max_size=40))
def test_any_time_can_be_said(changed_at: str) -> None:
    """Whatever a page gives as its time of change, there are words for it."""
    for text in (changed_at, "0001-01-01T00:00:00+14:00", "0001-01-01"):
        page = PAGE | {"page": {"updated_at": text}}
        assert "changed" in corroboration(json.dumps(page), NOW).words
