"""What a provider's status page says, where it can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.health.status_page import Corroboration, corroboration

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
