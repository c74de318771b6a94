"""Whose a value is, that only its maker can read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.bound import kept_by, marked, owner_of_target, owners, read, without_others

OWNERS = st.text("0123456789abcdef", min_size=8, max_size=8)


def test_the_owner_of_a_target_never_changes() -> None:
    """Values in the hands of callers outlive every deployment, so the mark of a name is fixed for good."""
    assert "e3456bc1" == owner_of_target("lead")


@given(value=st.text(min_size=1), owner=OWNERS)
def test_a_marked_value_comes_back_bare_to_its_owner_only(value: str, owner: str) -> None:
    """Whatever the value holds, even a mark of its own, its owner gets exactly it and others nothing."""
    given_out = marked(value, owner)
    other = "0" * 8 if owner != "0" * 8 else "1" * 8
    assert (owner, value) == read(given_out)
    assert (value, None) == (kept_by(given_out, owner), kept_by(given_out, other))


@pytest.mark.parametrize("value", ["", "sig", "us1.", "us1.xyz.sig", "us1.1234567.sig"])
def test_a_value_without_a_mark_is_anybodys(value: str) -> None:
    """What was made elsewhere is sent on as it is."""
    assert value == kept_by(value, "12345678")


def test_nothing_is_marked_for_nobody() -> None:
    """Without an owner, or without a value, there is nothing to mark."""
    assert ("sig", "") == (marked("sig", ""), marked("", "12345678"))


NESTED: list[tuple[Any, list[str]]] = [
    ("us1.12345678.x", ["12345678"]),
    ({"a": [{"b": "us1.12345678.x"}, "us1.9abcdef0.y"]}, ["12345678", "9abcdef0"]),
    ({"a": "text with us1.12345678.x inside"}, []),
    ([1, None, True, {"a": 2.5}], []),
]


@pytest.mark.parametrize(("value", "expected"), NESTED)
def test_owners_are_found_wherever_they_stand(value: Any, expected: list[str]) -> None:
    """Marks are seen at any depth, but only where they begin a string."""
    assert expected == list(owners(value))


def test_a_bottomless_request_is_not_followed_to_its_end() -> None:
    """A request nested deeper than the limit has no owners below it, and does not overflow."""
    value: Any = "us1.12345678.x"
    for _ in range(100):
        value = [value]
    assert [] == list(owners(value))


def signed(signature: str, **more: Any) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}} | more


MINE, OTHERS = "us1.0badcafe.s", "us1.11111111.s"
HISTORY: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"role": "user", "content": "us1.11111111.s"}, {"role": "user", "content": "us1.11111111.s"}),
    (signed(OTHERS, role="assistant", content="a"), {"role": "assistant", "content": "a"}),
    (signed(MINE, role="assistant", content="a"), signed(MINE, role="assistant", content="a")),
    (signed("bare", role="assistant"), signed("bare", role="assistant")),
    (
        {"role": "assistant", "tool_calls": [signed(OTHERS, id="c1"), signed(MINE, id="c2"), {"id": "c3"}]},
        {"role": "assistant", "tool_calls": [{"id": "c1"}, signed(MINE, id="c2"), {"id": "c3"}]},
    ),
    (
        {"role": "assistant", "extra_content": {"google": {"thought_signature": OTHERS, "x": 1}, "acme": {}}},
        {"role": "assistant", "extra_content": {"google": {"x": 1}, "acme": {}}},
    ),
    ({"role": "assistant", "extra_content": "x"}, {"role": "assistant", "extra_content": "x"}),
]


@pytest.mark.parametrize(("message", "expected"), HISTORY)
def test_signatures_of_others_are_left_out(message: dict[str, Any], expected: dict[str, Any]) -> None:
    """What another target signed is taken out, with nothing left behind where it stood; the rest stays as it is."""
    messages = [message]
    kept = without_others(messages, "0badcafe")
    assert [expected] == kept
    assert (kept is messages) == (message == expected)
