"""Guarded requests at the transport: whatever API a caller speaks and whoever is asked, no value leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guards import PlainGuard
from tests.one_router import KEY, Router
from understudy.runtime.gateway import ApiRequest
from understudy.services import guarding
from understudy.services.handling import Answered

MAIL, CARD = "ann@shop.example", "4111111111111111"
WIRES = ["openai", "anthropic", "gemini", "bedrock", "responses"]
EMBEDDING = {"openai", "gemini", "responses"}
VALUES = (MAIL, CARD)


def document(**route: Any) -> str:
    """Everybody is asked, one after the other, for nobody answers."""
    can = {"embeddings": True}
    return json.dumps(
        {
            "schema": 1,
            "defaults": {"limits": {"retries_per_target": 0, "attempts_per_request": 9, "backoff_s": 0.01}},
            "providers": {
                wire: {
                    "wire": "openai" if wire == "responses" else wire,
                    "base_url": f"https://{wire}.example",
                    "auth": {"header": "x-api-key", "scheme": "", "secret": "env:KEY"},
                }
                for wire in WIRES
            },
            "targets": {
                wire: {
                    "provider": wire,
                    "model": "m",
                    "capabilities": {**(can if wire in EMBEDDING else {}), "responses": wire == "responses"},
                }
                for wire in WIRES
            },
            "routes": {
                "chat": {"targets": WIRES, "may_drop": ["user"], "shadow": {"target": "openai", "share": 1}, **route}
            },
        }
    )


@dataclass(slots=True)
class Refusing:
    """A transport that keeps what it was given, and answers 500."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    @asynccontextmanager
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float) -> AsyncIterator[Any]:
        self.sent.append((url, json.dumps(dict(headers)) + body.decode()))
        yield SimpleNamespace(status=500, headers={"content-type": "application/json"}, body=self.body)

    async def body(self) -> AsyncIterator[bytes]:
        yield b'{"error": {"message": "down"}}'

    @property
    def asked(self) -> set[str]:
        return {url.removeprefix("https://").partition(".")[0] for url, _ in self.sent}


def load() -> PlainGuard:
    return PlainGuard()


def missing() -> PlainGuard:
    raise ModuleNotFoundError("No module named 'stdnum'")


def ask(
    path: str, body: Any, *, guard: Any = load, headers: Any = None, **route: Any
) -> tuple[Answered, Refusing, Router]:
    """One request at a router of its own."""

    async def story() -> tuple[Answered, Refusing, Router]:
        transport = Refusing()
        router = Router(document(**route), transport=transport, guard=guard)
        named = {"authorization": f"Bearer {KEY}", **(headers or {})}
        content = json.dumps({"model": "chat", **body}).encode()
        answered = await router.service.answer(ApiRequest("POST", path, named, content, ""))
        assert isinstance(answered.body, bytes)
        return answered, transport, router

    return asyncio.run(story())


def told(answered: Answered) -> Any:
    assert isinstance(answered.body, bytes)
    return json.loads(answered.body)["error"]


def leaked(transport: Refusing) -> list[str]:
    """The values that left, also as JSON would escape them."""
    return [value for value in VALUES if any(value in text.replace("\\u0040", "@") for _, text in transport.sent)]


# A request of each API with a value in every place that a text may have.
ARGUMENTS = json.dumps({"to": MAIL, "card": int(CARD)})
SCHEMA = {"type": "object", "description": f"ask {MAIL}", "properties": {MAIL: {"type": "string", "enum": [CARD]}}}
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": f"You work for {MAIL}."},
        {"role": "user", "content": [{"type": "text", "text": f"I am {MAIL}"}]},
        {
            "role": "assistant",
            "content": f"Hello {MAIL}",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "mail", "arguments": ARGUMENTS}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"card": CARD})},
        {"role": "user", "content": f"pay with {CARD}"},
    ],
    "tools": [{"type": "function", "function": {"name": "mail", "description": MAIL, "parameters": SCHEMA}}],
    "stop": [MAIL],
    "user": MAIL,
}
MESSAGES: dict[str, Any] = {
    "max_tokens": 10,
    "system": [{"type": "text", "text": f"You work for {MAIL}."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": f"I am {MAIL}"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "mail", "input": {"to": MAIL, "card": int(CARD)}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": f"paid {CARD}"}]},
    ],
    "tools": [{"name": "mail", "description": MAIL, "input_schema": SCHEMA}],
    "stop_sequences": [MAIL],
    "metadata": {"user_id": MAIL},
}
RESPONSES: dict[str, Any] = {
    "instructions": f"You work for {MAIL}.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": f"I am {MAIL}"}]},
        {"type": "function_call", "call_id": "c1", "name": "mail", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "c1", "output": f"paid {CARD}"},
    ],
    "tools": [{"type": "function", "name": "mail", "description": MAIL, "parameters": SCHEMA}],
    "metadata": {"who": MAIL},
    "user": MAIL,
}
REQUESTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "/chat/completions": (CHAT, set(WIRES)),
    "/messages": (MESSAGES, set(WIRES)),
    "/messages/count_tokens": (MESSAGES, {"anthropic"}),
    "/responses": (RESPONSES, set(WIRES)),
    "/embeddings": ({"input": [MAIL, CARD]}, {"openai", "gemini", "responses"}),
}
REDACT = {"pii": {"mode": "redact"}}


@pytest.mark.parametrize("path", REQUESTS)
def test_no_value_leaves_whoever_is_asked(path: str) -> None:
    """Lead, failover and shadow, natively and translated: all get placeholders; without the guard all get values."""
    body, askable = REQUESTS[path]
    _, unguarded, _ = ask(path, body)
    _, guarded, _ = ask(path, body, **REDACT)
    assert (askable, askable) == (unguarded.asked, guarded.asked)
    assert (list(VALUES), []) == (leaked(unguarded), leaked(guarded))
    assert all("EMAIL_1" in text or "CREDIT_CARD_1" in text for _, text in guarded.sent)


TEXTS = st.sampled_from(["hello", f"I am {MAIL}", CARD, ARGUMENTS])
PLACES = st.dictionaries(st.sampled_from(["user", "metadata", "prediction", "safety_identifier", "x", MAIL]), TEXTS)


@settings(max_examples=25, deadline=None)
@given(path=st.sampled_from(list(REQUESTS)), text=TEXTS, more=PLACES)
def test_no_value_leaves_wherever_it_stands(path: str, text: str, more: dict[str, str]) -> None:
    """Also in fields that the router does not know: at the transport there is none."""
    kind = {"/embeddings": {"input": text}, "/responses": {"input": text}}
    body = kind.get(path, {"messages": [{"role": "user", "content": text}], "max_tokens": 9})
    _, transport, _ = ask(path, {**body, **more}, **REDACT)
    assert [] == leaked(transport)


@pytest.mark.parametrize("path", REQUESTS)
def test_a_blocking_route_refuses_in_the_callers_shape(path: str) -> None:
    """With kinds and fields, never with a value; nobody is asked; the log counts and tells no value either."""
    answered, transport, router = ask(path, REQUESTS[path][0], pii={"mode": "block"})
    error = told(answered)
    code = error["details"]["error_code"] if path.startswith("/messages") else error["code"]
    assert (400, "pii_blocked", []) == (answered.status, code, transport.sent)
    assert "email" in error["message"]
    assert [] == [value for value in VALUES if value in str(answered.body) or value in str(router.log.lines)]
    (line,) = [fields for message, fields in router.log.lines if message == "refused"]
    assert (line["pii"], sum(line["pii"].values())) == (line["pii"], line["metrics"][0].values["PiiFound"])


def test_detecting_counts_and_sends_as_it_was() -> None:
    """The decision has the kinds and how often; what leaves is what came."""
    _, transport, router = ask("/chat/completions", CHAT, pii={"mode": "detect"})
    _, unguarded, _ = ask("/chat/completions", CHAT)
    assert unguarded.sent == transport.sent
    found = router.decision["pii"]
    assert ("detect", {"email", "credit_card"}, 0) == (found["mode"], set(found["kinds"]), found["unread"])
    assert [] == [value for value in VALUES if value in str(router.log.lines)]


@pytest.mark.parametrize("mode", ["detect", "redact", "block"])
def test_without_its_library_a_guarded_route_sends_nothing(mode: str) -> None:
    """It answers 503 and says why, to the caller and in the log; the alarm for our own failures hears of it."""
    answered, transport, router = ask("/chat/completions", CHAT, guard=missing, pii={"mode": mode})
    assert (503, "pii_guard_unavailable", []) == (answered.status, told(answered)["code"], transport.sent)
    (line,) = [fields for message, fields in router.log.lines if "could not be loaded" in message]
    assert ("chat", "No module named 'stdnum'") == (line["route"], line["error"])
    assert "RouterErrors" in line["metrics"][0].values


@pytest.mark.parametrize("mode", ["redact", "block"])
def test_what_fails_or_takes_too_long_sends_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that breaks, and a body that is too large or not read in time, are refused."""

    class Broken:
        def find(self, *_: Any) -> Any:
            raise KeyError(MAIL)

    answered, transport, _ = ask("/chat/completions", CHAT, guard=Broken, pii={"mode": mode})
    assert (503, [], False) == (answered.status, transport.sent, MAIL in str(answered.body))
    monkeypatch.setattr(guarding, "MOST", 50)
    answered, transport, _ = ask("/chat/completions", CHAT, pii={"mode": mode})
    assert (413, []) == (answered.status, transport.sent)
    monkeypatch.undo()
    monkeypatch.setattr(guarding, "SECONDS", -1.0)
    answered, transport, _ = ask("/chat/completions", CHAT, pii={"mode": mode})
    assert (503, []) == (answered.status, transport.sent)


def test_detecting_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked through goes on, and the decision says that the count is not whole."""
    monkeypatch.setattr(guarding, "MOST", 50)
    _, transport, router = ask("/chat/completions", CHAT, pii={"mode": "detect"})
    assert (True, {}) == ("incomplete" in router.decision["pii"], router.decision["pii"]["kinds"])
    assert transport.sent


PICTURE = {
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example"}}]}]
}


def test_pictures_are_refused_unless_the_route_allows_them() -> None:
    """By their place, because nobody here can look into them."""
    answered, transport, _ = ask("/chat/completions", PICTURE, **REDACT)
    error = told(answered)
    assert (400, "pii_unreadable", "messages[0].content[0]") == (answered.status, error["code"], error["param"])
    _, allowed, router = ask("/chat/completions", PICTURE, pii={"mode": "redact", "unread": "allow"})
    assert ([], True, 1) == (transport.sent, bool(allowed.sent), router.decision["pii"]["unread"])


def test_a_header_that_is_sent_on_is_looked_at_too() -> None:
    """There is no room for a placeholder in it, so the request is refused."""
    headers = {"anthropic-beta": f"beta-1 {CARD}"}
    answered, transport, _ = ask("/messages", MESSAGES, headers=headers, **REDACT)
    assert (400, []) == (answered.status, transport.sent)


def test_a_constraint_tightens_what_the_route_does() -> None:
    """It demands every kind, and never loosens."""
    only = {"mode": "detect", "kinds": ["iban"]}
    _, transport, router = ask("/chat/completions", CHAT, pii=only, constraints={"pii": "redact"})
    assert ("redact", []) == (router.decision["pii"]["mode"], leaked(transport))
    answered, transport, _ = ask("/chat/completions", CHAT, pii={"mode": "block"}, constraints={"pii": "detect"})
    assert (400, []) == (answered.status, transport.sent)
