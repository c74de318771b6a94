"""Requests as large as callers send them: long histories and long prompts, by every front, to every wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.chat.request import ChatRequest
from understudy.wire import WIRES
from understudy.wire.fronts import FRONTS

TURNS, LONG = 5_000, "größer 👍\u0000 " * 80_000
TRANSLATED = [name for name in WIRES if name != "responses"]


def history(path: str) -> dict[str, Any]:
    """A conversation of 5,000 messages, in the words of the front."""
    said = [{"role": ("user", "assistant")[i % 2], "content": f"word {i}"} for i in range(TURNS - 1)]
    asked = {"role": "user", "content": f"word {TURNS - 1}"}
    kept = [*said, asked]
    return {"model": "chat", "input": kept} if path == "/responses" else {"model": "chat", "messages": kept}


def prompt(path: str) -> dict[str, Any]:
    """One message of more than a megabyte, with a NUL and characters of several bytes."""
    asked = [{"role": "user", "content": LONG}]
    return {"model": "chat", "input": asked} if path == "/responses" else {"model": "chat", "messages": asked}


def body_sent(path: str, body: dict[str, Any], wire: str) -> str:
    if path == "/messages":
        body |= {"max_tokens": 100}
    request = FRONTS[path].read(json.dumps(body, ensure_ascii=False).encode(), {})
    assert isinstance(request, ChatRequest)
    call = WIRES[wire].call(request, model="m", stream=True, drop=frozenset(), max_output_tokens=None)
    return call.body.decode()


@pytest.mark.parametrize("wire", TRANSLATED)
@pytest.mark.parametrize("path", ["/chat/completions", "/messages", "/responses"])
def test_a_long_history_arrives_whole(path: str, wire: str) -> None:
    """Every one of 5,000 messages is sent on, in its order."""
    sent = body_sent(path, history(path), wire)
    places = [sent.find(f'"word {i}"') for i in range(TURNS)]
    assert (TURNS, True) == (sum(place >= 0 for place in places), places == sorted(places))


@pytest.mark.parametrize("wire", TRANSLATED)
@pytest.mark.parametrize("path", ["/chat/completions", "/messages", "/responses"])
def test_a_long_prompt_arrives_whole(path: str, wire: str) -> None:
    """A megabyte with NULs and emoji is sent on character for character."""
    sent = json.loads(body_sent(path, prompt(path), wire))
    assert [LONG] == [text for text in _texts(sent) if len(text) > 1000]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
