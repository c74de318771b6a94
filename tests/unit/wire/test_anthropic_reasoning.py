"""What the anthropic wire makes of a chat's effort, files, tiers and pictures by address."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.local.simulators import anthropic_rules
from understudy.chat.request import chat_request
from understudy.errors import InvalidRequest
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.base import Quirks

WIRE = AnthropicWire()
HELLO: dict[str, Any] = {"role": "user", "content": "Which bird is this?"}
TOOLS = [{"type": "function", "function": {"name": "find_nest"}}]
CALLED = [
    HELLO,
    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "find_nest"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]


def sent(control: str, *, own_limit: int | None = None, drop: frozenset[str] = frozenset(), **fields: Any) -> Any:
    request = chat_request({"model": "chat", "messages": [HELLO], **fields})
    quirks = Quirks(reasoning_control=control)
    call = WIRE.call(request, model="m", stream=False, drop=drop, max_output_tokens=own_limit, quirks=quirks)
    body = json.loads(call.body)
    assert body == anthropic_rules.check(body)
    return body


def thinks(**fields: Any) -> tuple[int, int | None]:
    """The limit of the answer, and the budget of its thinking."""
    body = sent("budget", **fields)
    return body["max_tokens"], body.get("thinking", {}).get("budget_tokens")


@pytest.mark.parametrize(
    ("effort", "level"),
    [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "xhigh")],
)
def test_effort_as_a_level(effort: str, level: str) -> None:
    """A model that knows levels is told one, beside a format where there is one."""
    assert {"effort": level} == sent("effort", reasoning_effort=effort)["output_config"]
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    config = sent("effort", reasoning_effort=effort, response_format=wanted)["output_config"]
    assert {"effort": level, "format": {"type": "json_schema", "schema": schema}} == config


def test_no_effort_is_no_thinking() -> None:
    """`none` is said too: some models think by themselves."""
    for control in ("effort", "budget"):
        assert {"type": "disabled"} == sent(control, reasoning_effort="none")["thinking"]


@pytest.mark.parametrize("control", ["none", "effort", "budget"])
def test_effort_without_a_word_for_it(control: str) -> None:
    """A target that cannot be told, or a level that nobody knows, is no silent loss."""
    effort = "heroic" if control != "none" else "low"
    request = chat_request({"model": "chat", "messages": [HELLO], "reasoning_effort": effort})
    assert {"reasoning_effort"} == WIRE.cannot_carry(request, Quirks(reasoning_control=control))
    with pytest.raises(InvalidRequest) as refused:
        sent(control, reasoning_effort=effort)
    assert "reasoning_effort" == refused.value.param


BUDGETS: dict[str, tuple[dict[str, Any], tuple[int, int | None]]] = {
    "no limit": ({"reasoning_effort": "medium"}, (8192 + 8192, 8192)),
    "the target's own": ({"reasoning_effort": "high", "own_limit": 64000}, (64000, 16384)),
    "a limit that is near": ({"reasoning_effort": "high", "max_tokens": 4096}, (4096, 3072)),
    "a limit that is too near": ({"reasoning_effort": "high", "max_tokens": 2000}, (2000, None)),
    "after calls": ({"reasoning_effort": "low", "tools": TOOLS, "messages": CALLED}, (8192, None)),
    "a call that must be": ({"reasoning_effort": "low", "tools": TOOLS, "tool_choice": "required"}, (8192, None)),
    "a call that may be": ({"reasoning_effort": "low", "tools": TOOLS, "tool_choice": "auto"}, (8192 + 2048, 2048)),
    "an answer that is begun": (
        {"reasoning_effort": "low", "messages": [HELLO, {"role": "assistant", "content": "It is"}]},
        (8192, None),
    ),
    "nothing asked": ({}, (8192, None)),
    "sampling as it is": ({"reasoning_effort": "minimal", "temperature": 1, "top_p": 0.95}, (8192 + 1024, 1024)),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_effort_as_a_budget(name: str) -> None:
    """The budget leaves room for the answer, and there is none where the API would refuse it."""
    fields, expected = BUDGETS[name]
    assert expected == thinks(**fields)


def test_a_budget_wants_sampling_as_it_is() -> None:
    """The fields that the API refuses beside it are named, and may be dropped, as may the effort itself."""
    fields = {"reasoning_effort": "low", "temperature": 0.5, "top_p": 0.5}
    request = chat_request({"model": "chat", "messages": [HELLO], **fields})
    assert {"temperature", "top_p"} == WIRE.cannot_carry(request, Quirks(reasoning_control="budget"))
    with pytest.raises(InvalidRequest) as refused:
        sent("budget", **fields)
    assert "temperature" == refused.value.param
    assert 2048 == thinks(**fields, drop=frozenset({"temperature", "top_p"}))[1]
    assert (0.5, None) == (
        sent("budget", **fields, drop=frozenset({"reasoning_effort"}))["temperature"],
        thinks(**fields, drop=frozenset({"reasoning_effort"}))[1],
    )


def file(data: object, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "file", "file": {"file_data": data, **more}}]}


PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}
FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "PDF": (file("data:application/pdf;base64,JVBERi0xLjQ="), {"source": PDF}),
    "named": (file("data:Application/PDF;base64,JVBERi0xLjQ=", filename="a.pdf"), {"source": PDF, "title": "a.pdf"}),
    "text": (
        file("data:text/plain;charset=utf-8;base64,R3LDvMOfZQ=="),
        {"source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}},
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_by_value_are_documents(name: str) -> None:
    """A PDF or a text goes along, with its name."""
    message, expected = FILES[name]
    assert [{"type": "document", **expected}] == sent("none", messages=[message])["messages"][0]["content"]


@pytest.mark.parametrize("data", ["data:image/png;base64,AA==", "JVBERi0xLjQ=", None, 5])
def test_other_files_are_not_carried(data: object) -> None:
    """What no document can be is named by its path, as is a file that another provider has."""
    for message in (file(data), file(None, file_id="f")):
        request = chat_request({"model": "chat", "messages": [message]})
        assert {"messages[0].content[0]"} == WIRE.cannot_carry(request)


def test_a_text_that_is_none() -> None:
    """Bytes that are no text are refused by their path."""
    with pytest.raises(InvalidRequest) as refused:
        sent("none", messages=[file("data:text/plain;base64,/w==")])
    assert "messages[0].content[0].file.file_data" == refused.value.param


def test_tiers() -> None:
    """Two of OpenAI's tiers have their like."""
    assert "service_tier" not in sent("none", service_tier="auto")
    assert "standard_only" == sent("none", service_tier="default")["service_tier"]
    with pytest.raises(InvalidRequest):
        sent("none", service_tier="flex")


def test_pictures_by_address() -> None:
    """A provider that fetches nothing is not sent an address; data is no address."""
    parts = [
        {"type": "image_url", "image_url": {"url": url}}
        for url in ("https://x.example/a", "data:image/png;base64,AA==")
    ]
    request = chat_request({"model": "chat", "messages": [{"role": "user", "content": parts}]})
    assert {"messages[0].content[0].image_url.url"} == WIRE.cannot_carry(request, Quirks(image_urls=False))
    assert set() == WIRE.cannot_carry(request)
