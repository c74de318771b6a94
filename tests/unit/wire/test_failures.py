"""The failure table, held against what providers are documented or were seen to send (tests/fixtures/errors)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy import errors
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Credential,
    Overloaded,
    RateLimited,
    Transient,
)
from understudy.wire import WIRES
from understudy.wire.base import Event

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "errors"
ANSWERS: list[tuple[str, dict[str, Any]]] = [
    (file.stem, answer)
    for file in sorted(FIXTURES.glob("*.json"))
    for answer in json.loads(file.read_text())["answers"]
]


def _name(wire: str, answer: dict[str, Any]) -> str:
    return f"{wire} {answer['provider']} {answer['status']} {answer['expected']}"


def classified(wire: str, answer: dict[str, Any]) -> AttemptFailed:
    """The failure that the wire makes of an error answer, or of an error event where there is no status."""
    body = answer["body"]
    if answer["status"] is None:
        with pytest.raises(AttemptFailed) as caught:
            WIRES[wire].decoder().feed(
                Event(answer.get("event", "error" if wire == "anthropic" else ""), json.dumps(body))
            )
        return caught.value
    raw = body if isinstance(body, str) else json.dumps(body)
    return WIRES[wire].failure(answer["status"], answer["headers"], raw.encode())


@pytest.mark.parametrize(("wire", "answer"), ANSWERS, ids=[_name(*answer) for answer in ANSWERS])
def test_each_recorded_answer_is_its_class(wire: str, answer: dict[str, Any]) -> None:
    """Each recorded error is exactly one class of the table, with the wait that it asks for."""
    failure = classified(wire, answer)
    assert (answer["expected"], answer.get("retry_after")) == (type(failure).__name__, failure.retry_after)


def test_every_class_is_recorded_for_every_wire() -> None:
    """The fixtures hold each class that a provider can name, and each answer says where it is from."""
    named = {
        cls.__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, AttemptFailed) and cls.__module__ == errors.__name__
    }
    # Nobody names these: an answer is none, comes too late, or there is nothing that could give one.
    named -= {"AttemptFailed", "Garbage", "NotOffered", "Silent", "OutOfTime"}
    recorded = {wire: {answer["expected"] for of, answer in ANSWERS if of == wire} for wire in WIRES}
    # These refuse in their answer's stop reason, not by an error.
    by_reason = dict.fromkeys(("anthropic", "gemini", "bedrock"), named - {"Refusal"})
    assert {"openai": named, "responses": named, **by_reason} == recorded
    assert all(answer["source"].startswith("https://") for _, answer in ANSWERS)


BARE: list[tuple[int, bytes, type[AttemptFailed]]] = [
    (400, b"", CallerFault),
    (400, b'{"error": "text"}', CallerFault),
    (418, b"", CallerFault),
    (401, b"", Credential),
    (402, b"{}", Credential),
    (403, b"{}", Credential),
    (404, b"", Credential),
    (413, b"", ContextTooLong),
    (429, b"", Overloaded),
    (503, b"", Overloaded),
    (529, b"", Overloaded),
    (408, b"{}", Transient),
    (425, b"{}", Transient),
    (499, b"", Transient),
    (500, b"<html>", Transient),
    (502, b"", Transient),
    (504, b"x", Transient),
    (520, b"{}", Transient),
    (302, b"", Transient),
    # What a server says of the request while it fails itself is not believed.
    (500, b'{"error": {"message": "prompt is too long", "type": "invalid_request_error"}}', Transient),
]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("status", "body", "expected"), BARE)
def test_a_bare_status_has_a_class(wire: str, status: int, body: bytes, expected: type[AttemptFailed]) -> None:
    """Where a body says nothing, the status alone decides, and every failure has words."""
    failure = WIRES[wire].failure(status, {}, body)
    assert (expected, True) == (type(failure), bool(failure.message))


def test_the_answers_own_date_is_what_a_hint_counts_from() -> None:
    """A date in Retry-After is read against the answer's own clock; without one it says nothing."""
    hint = {"retry-after": "Tue, 24 Nov 2026 10:00:09 GMT"}
    dated = WIRES["openai"].failure(429, hint | {"date": "Tue, 24 Nov 2026 10:00:00 GMT"}, b"")
    assert (RateLimited, 9.0) == (type(dated), dated.retry_after)
    assert None is WIRES["openai"].failure(429, hint, b"").retry_after
