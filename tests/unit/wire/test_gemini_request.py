"""What the Gemini wire makes of a request's fields, and what it says that it cannot carry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.chat.request import ChatRequest, chat_request
from understudy.errors import InvalidRequest
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.gemini import GeminiWire

WIRE = GeminiWire()
EFFORT, BUDGET = Quirks(reasoning_control="effort"), Quirks(reasoning_control="budget")
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "kind": {"const": "a"},
        "size": {"type": ["integer", "null"], "exclusiveMinimum": 0},
        "place": {"$ref": "#/$defs/place"},
    },
    "required": ["kind"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def request(**fields: Any) -> ChatRequest:
    return chat_request({"model": "r", "messages": [{"role": "user", "content": "hi"}], **fields})


def call(quirks: Quirks = PLAIN, drop: frozenset[str] = frozenset(), stream: bool = False, **fields: Any) -> Call:
    return WIRE.call(request(**fields), model="large-1", stream=stream, drop=drop, max_output_tokens=999, quirks=quirks)


def sent(quirks: Quirks = PLAIN, drop: frozenset[str] = frozenset(), **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(call(quirks, drop, **fields).body)
    return body


def config(quirks: Quirks = PLAIN, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = sent(quirks, **fields).get("generationConfig", {})
    return found


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_the_smallest_request() -> None:
    """A question is a content of the user's, and nothing else is sent."""
    assert {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]} == sent()


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-pro", False, "/models/gemini-3-pro:generateContent"),
        ("gemini-3-pro", True, "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("models/gemini-3-pro", False, "/models/gemini-3-pro:generateContent"),
        ("tunedModels/my tune?", False, "/tunedModels/my%20tune%3F:generateContent"),
    ],
)
def test_the_path_names_the_model_and_the_mode(model: str, stream: bool, path: str) -> None:
    """Model and mode stand in the path; streams are asked for as server-sent events."""
    made = WIRE.call(request(stream=stream), model=model, stream=stream, drop=frozenset(), max_output_tokens=None)
    assert (path, {}) == (made.path, made.headers)
    assert {"contents"} == set(json.loads(made.body))


FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 5}, {"maxOutputTokens": 5}),
    ({"max_completion_tokens": 6, "max_tokens": 5}, {"maxOutputTokens": 6}),
    ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "topP": 0.5}),
    ({"temperature": 2}, {"temperature": 2}),
    ({"seed": -3}, {"seed": -3}),
    (
        {"presence_penalty": 0.5, "frequency_penalty": -0.5},
        {"presencePenalty": 0.5, "frequencyPenalty": -0.5},
    ),
    ({"n": 3}, {"candidateCount": 3}),
    ({"stop": "\n"}, {"stopSequences": ["\n"]}),
    ({"stop": ["a", "", "b"]}, {"stopSequences": ["a", "b"]}),
    ({"stop": ""}, {}),
    ({"logprobs": True}, {"responseLogprobs": True}),
    ({"logprobs": True, "top_logprobs": 4}, {"responseLogprobs": True, "logprobs": 4}),
    ({"logprobs": False, "top_logprobs": 0}, {}),
    ({"response_format": {"type": "text"}}, {}),
    ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"description": "d", "schema": {"type": "object"}}}},
        {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "description": "d"}},
    ),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS)
def test_fields_of_the_generation(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field arrives under its name there, schemas word for word."""
    assert expected == config(**fields)


THINKING: list[tuple[Quirks, str, dict[str, Any]]] = [
    (EFFORT, "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
    (EFFORT, "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
    (EFFORT, "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
    (EFFORT, "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
    (BUDGET, "none", {"thinkingBudget": 0}),
    (BUDGET, "low", {"thinkingBudget": 1024, "includeThoughts": True}),
    (BUDGET, "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
    (BUDGET, "high", {"thinkingBudget": 24576, "includeThoughts": True}),
]


@pytest.mark.parametrize(("quirks", "effort", "expected"), THINKING)
def test_reasoning_effort_is_a_level_or_a_budget(quirks: Quirks, effort: str, expected: dict[str, Any]) -> None:
    """By what the target declares; whoever asks for thinking is shown it."""
    assert {"thinkingConfig": expected} == config(quirks, reasoning_effort=effort)


@pytest.mark.parametrize(("quirks", "effort"), [(PLAIN, "low"), (EFFORT, "none"), (BUDGET, "xhigh"), (EFFORT, "odd")])
def test_an_effort_that_the_target_cannot_make(quirks: Quirks, effort: str) -> None:
    """Thinking that cannot be asked for, or cannot be switched off, is named."""
    assert {"reasoning_effort"} == WIRE.cannot_carry(request(reasoning_effort=effort), quirks)
    assert "generationConfig" not in sent(quirks, frozenset({"reasoning_effort"}), reasoning_effort=effort)


@pytest.mark.parametrize(("tier", "expected"), [("auto", None), ("default", "standard"), ("flex", "flex")])
def test_service_tiers(tier: str, expected: str | None) -> None:
    """OpenAI's tiers have names of their own there."""
    assert expected == sent(service_tier=tier).get("serviceTier")


def test_tools_are_declared_with_their_schemas_as_they_are() -> None:
    """`$schema`, `$ref`, `const`, type lists and limits pass, and a tool without parameters has none."""
    tools = [tool("f", description="d", parameters=SCHEMA), tool("g", description="", parameters={})]
    declared = [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}, {"name": "g"}]
    assert [{"functionDeclarations": declared}] == sent(tools=tools)["tools"]


ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [choice("g"), choice("f")]}}
CHOICES: list[tuple[Any, dict[str, Any] | None]] = [
    ("auto", None),
    ("none", {"mode": "NONE"}),
    ("required", {"mode": "ANY"}),
    (choice("g"), {"mode": "ANY", "allowedFunctionNames": ["g"]}),
    (ALLOWED, {"mode": "VALIDATED", "allowedFunctionNames": ["g", "f"]}),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [choice("f")]}},
        {"mode": "ANY", "allowedFunctionNames": ["f"]},
    ),
]


@pytest.mark.parametrize(("wanted", "expected"), CHOICES)
def test_tool_choices(wanted: Any, expected: dict[str, Any] | None) -> None:
    """Each choice is a mode, named functions are the allowed ones."""
    made = sent(tools=[tool("f"), tool("g")], tool_choice=wanted)
    assert expected == made.get("toolConfig", {}).get("functionCallingConfig")


def test_strict_tools_are_held_to_their_schemas() -> None:
    """The API has a mode for it, not a mark of each function."""
    made = sent(tools=[tool("f", strict=True, parameters=SCHEMA), tool("g", strict=False)])
    assert {"mode": "VALIDATED"} == made["toolConfig"]["functionCallingConfig"]


@pytest.mark.parametrize("wanted", ["auto", "none"])
def test_a_choice_without_tools_says_nothing(wanted: str) -> None:
    """Neither tools nor a mode is sent, which the API would refuse."""
    assert {"contents"} == set(sent(tools=[], tool_choice=wanted, parallel_tool_calls=False))


MISFITS: list[tuple[dict[str, Any], set[str]]] = [
    ({"user": "u"}, {"user"}),
    ({"metadata": {"a": "b"}, "store": True, "logit_bias": {"1": 2}}, {"metadata", "store", "logit_bias"}),
    (
        {
            "user": "",
            "metadata": {},
            "store": False,
            "logit_bias": {},
            "n": 1,
            "logprobs": False,
            "service_tier": "auto",
            "modalities": ["text"],
            "parallel_tool_calls": True,
        },
        set(),
    ),
    ({"modalities": ["text", "audio"], "audio": {"voice": "x"}}, {"modalities", "audio"}),
    ({"zzz": 0}, {"zzz"}),
    ({"stop": list("abcdef")}, {"stop"}),
    ({"stop": [*"abcde", ""]}, set()),
    ({"n": 9}, {"n"}),
    ({"seed": 2**31}, {"seed"}),
    ({"top_logprobs": 3}, {"top_logprobs"}),
    ({"logprobs": True, "top_logprobs": 21}, {"top_logprobs"}),
    ({"service_tier": "scale"}, {"service_tier"}),
    ({"response_format": {"type": "json_schema"}}, {"response_format"}),
    ({"response_format": {"type": "grammar"}}, {"response_format"}),
    ({"tool_choice": "required"}, {"tool_choice"}),
    ({"tools": [tool()], "tool_choice": "any"}, {"tool_choice"}),
    ({"tools": [tool()], "tool_choice": {"type": "custom"}}, {"tool_choice"}),
    ({"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}, {"tool_choice"}),
    ({"tools": [tool()], "parallel_tool_calls": False}, {"parallel_tool_calls"}),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, {"tools[0]"}),
    ({"tools": [tool(), tool("1st", cache=True)]}, {"tools[1].function.name", "tools[1].function.cache"}),
]


@pytest.mark.parametrize(("fields", "names"), MISFITS)
def test_what_cannot_be_carried_is_named(fields: dict[str, Any], names: set[str]) -> None:
    """Every field without a place is named, and no other; a value that says nothing is none."""
    assert names == set(WIRE.cannot_carry(request(**fields)))


@pytest.mark.parametrize(("fields", "names"), [one for one in MISFITS if one[1]])
def test_what_is_not_dropped_is_refused_by_name(fields: dict[str, Any], names: set[str]) -> None:
    """A field that can neither be carried nor dropped is an error, never silence."""
    with pytest.raises(InvalidRequest) as caught:
        sent(**fields)
    assert caught.value.param in names
    assert f"`{caught.value.param}`" in caught.value.message


def test_what_is_dropped_is_gone() -> None:
    """A route may agree to lose fields, but not a part of a tool or of a message."""
    names = frozenset({"user", "seed", "tools[0].function.name"})
    assert {"contents"} == set(sent(drop=names, user="u", seed=1))
    with pytest.raises(InvalidRequest):
        sent(drop=names, tools=[tool("1st")])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [tool("f", parameters=[])]}, "tools[0].function.parameters"),
        ({"temperature": float("nan")}, None),
        ({"tools": [tool("f", parameters={"a": float("inf")})]}, None),
    ],
)
def test_values_that_cannot_be_sent(fields: dict[str, Any], param: str | None) -> None:
    """What is no schema, or no JSON, is the caller's mistake."""
    with pytest.raises(InvalidRequest) as caught:
        sent(**fields)
    assert param == caught.value.param
