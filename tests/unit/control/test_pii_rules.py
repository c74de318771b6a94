"""What a document may say about personal data, and what publishing it says back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.catalog import PII_KINDS, PiiRules
from understudy.control.document import parse, warnings
from understudy.control.load import catalog
from understudy.errors import DocumentError

BASE: dict[str, Any] = {
    "schema": 1,
    "providers": {"a": {"wire": "openai", "base_url": "https://a.example"}},
    "targets": {"a": {"provider": "a", "model": "m"}},
}


def document(**route: Any) -> str:
    return json.dumps(BASE | {"routes": {"chat": {"targets": ["a"], **route}}})


def rules(**route: Any) -> PiiRules:
    return catalog(parse(document(**route)), 1).routes["chat"].pii


def test_rules_are_read() -> None:
    """Every field; and where nothing is said, nothing is done."""
    given = {"mode": "redact", "kinds": ["iban", "email"], "countries": ["de"], "unread": "allow"}
    expected = PiiRules("redact", frozenset({"email", "iban"}), frozenset({"de"}), "allow")
    assert (expected, PiiRules()) == (rules(pii=given), rules())
    assert PiiRules("block", PII_KINDS) == rules(pii={"mode": "block"})


def test_a_document_of_before_there_was_a_guard_is_read() -> None:
    """It guards nothing."""
    plain = parse(document())
    del plain["routes"]["chat"]["pii"], plain["routes"]["chat"]["constraints"]["pii"]
    assert (PiiRules(), "off") == ((route := catalog(plain, 1).routes["chat"]).pii, route.constraints.pii)
    warnings(plain)


def test_off_without_quotes_is_off() -> None:
    """YAML reads it as a boolean."""
    text = document(pii={"mode": "WORD"}, constraints={"pii": "WORD"}).replace('"WORD"', "off")
    assert PiiRules() == catalog(parse(text), 1).routes["chat"].pii


@pytest.mark.parametrize(
    ("pii", "place"),
    [
        ({"mode": "on"}, "routes.chat.pii.mode"),
        ({"kinds": []}, "routes.chat.pii.kinds"),
        ({"kinds": ["name"]}, "routes.chat.pii.kinds[0]"),
        ({"countries": ["DE"]}, "routes.chat.pii.countries[0]"),
        ({"unread": "ask"}, "routes.chat.pii.unread"),
        ({"fields": 1}, "routes.chat.pii.fields"),
    ],
)
def test_what_is_wrong_is_named(pii: dict[str, Any], place: str) -> None:
    """By its place."""
    with pytest.raises(DocumentError) as caught:
        parse(document(pii=pii))
    assert [place] == [problem.path.partition(" ")[0] for problem in caught.value.problems]


@pytest.mark.parametrize("route", [{"pii": {"mode": "detect"}}, {"constraints": {"pii": "block"}}])
def test_publication_says_that_the_data_plane_needs_the_library(route: dict[str, Any]) -> None:
    """Without it the route answers 503, which nobody should learn from callers."""
    told = [warning for warning in warnings(parse(document(**route))) if "infra/pii.md" in warning]
    assert (1, []) == (len(told), [w for w in warnings(parse(document())) if "infra/pii.md" in w])
