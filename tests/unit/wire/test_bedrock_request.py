"""From chat requests to Converse bodies: what is carried, where, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from understudy.chat.request import ChatRequest, chat_request
from understudy.errors import InvalidRequest
from understudy.wire import WIRES
from understudy.wire.base import Call, Quirks
from understudy.wire.bedrock import EVENT_STREAM

WIRE = WIRES["bedrock"]
HI = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,iVBORw0K"
EFFORT, BUDGET = Quirks(reasoning_control="effort"), Quirks(reasoning_control="budget")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}


def request(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return chat_request({"model": "route", "messages": list(messages) or [HI], **fields})


def call_of(
    *messages: dict[str, Any],
    drop: Iterable[str] = (),
    quirks: Quirks = BUDGET,
    limit: int | None = None,
    stream: bool = False,
    model: str = "m",
    **fields: Any,
) -> Call:
    asked = request(*messages, **fields)
    return WIRE.call(asked, model=model, stream=stream, drop=set(drop), max_output_tokens=limit, quirks=quirks)


def body_of(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(call_of(*messages, **fields).body)
    return body


def misfits(*messages: dict[str, Any], quirks: Quirks = BUDGET, **fields: Any) -> set[str]:
    return set(WIRE.cannot_carry(request(*messages, **fields), quirks))


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def function(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def called(*ids: str, content: str | None = None, arguments: str = "{}") -> dict[str, Any]:
    calls = [{"id": one, "type": "function", "function": {"name": "look", "arguments": arguments}} for one in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(identifier: str, content: Any = "seen") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content}


PATHS = [
    ("example.large-v1:0", "example.large-v1%3A0"),
    ("eu.example.large-v1:0", "eu.example.large-v1%3A0"),
    ("global.example.large", "global.example.large"),
    (
        "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/ab12",
        "arn%3Aaws%3Abedrock%3Aeu-central-1%3A111122223333%3Aapplication-inference-profile%2Fab12",
    ),
]


@pytest.mark.parametrize(("model", "quoted"), PATHS)
def test_the_model_is_one_part_of_the_path(model: str, quoted: str) -> None:
    """Colons and slashes of a model id are quoted; a stream has a path and a form of its own."""
    whole, streamed = call_of(model=model), call_of(model=model, stream=True)
    assert (f"/model/{quoted}/converse", {}) == (whole.path, dict(whole.headers))
    assert (f"/model/{quoted}/converse-stream", {"accept": EVENT_STREAM}) == (streamed.path, dict(streamed.headers))
    assert {"messages": [{"role": "user", "content": [{"text": "hi"}]}]} == json.loads(whole.body)


def test_a_conversation_alternates_and_its_results_come_first() -> None:
    """Turns of one role are one message; results of one turn stand before its text; instructions keep their place."""
    body = body_of(
        {"role": "system", "content": "S"},
        {"role": "developer", "content": " "},
        {"role": "user", "content": "a"},
        user(text("b"), text("")),
        called("x y", "t2", content=" ", arguments=""),
        result("x y"),
        {"role": "system", "content": "middle"},
        result("t2", ""),
        {"role": "user", "content": "c"},
    )
    assert [{"text": "S"}] == body["system"]
    first, second, third = body["messages"]
    assert ("user", [{"text": "a"}, {"text": "b"}]) == (first["role"], first["content"])
    uses = [block["toolUse"] for block in second["content"]]
    assert [("look", {}), ("look", {})] == [(use["name"], use["input"]) for use in uses]
    results = [block["toolResult"] for block in third["content"][:2]]
    assert [use["toolUseId"] for use in uses] == [one["toolUseId"] for one in results]
    assert [[{"text": "seen"}], [{"text": "(no output)"}]] == [one["content"] for one in results]
    assert [{"text": "middle"}, {"text": "c"}] == third["content"][2:]


@pytest.mark.parametrize("fit", ["tooluse_a-b", "call:1.2", "a" * 64])
def test_a_tool_id_that_fits_is_kept(fit: str) -> None:
    """The API's pattern is wider than Anthropic's, and what fits it is sent as it is."""
    body = body_of(HI, called(fit), result(fit))
    assert fit == body["messages"][1]["content"][0]["toolUse"]["toolUseId"]


@pytest.mark.parametrize("odd", ["", "a b", "é", "x" * 65, "a/b"])
def test_a_tool_id_that_does_not_fit_is_mapped(odd: str) -> None:
    """An id of another provider's is mapped to one that fits, the same in call and result."""
    body = body_of(HI, called(odd), result(odd))
    made = body["messages"][1]["content"][0]["toolUse"]["toolUseId"]
    assert made.startswith("mapped_") and made == body["messages"][2]["content"][0]["toolResult"]["toolUseId"]


def test_instructions_alone_are_asked_by_the_user() -> None:
    """A conversation of system messages alone has its last one as the user's turn."""
    body = body_of({"role": "system", "content": "S"}, {"role": "system", "content": "T"})
    assert ([{"text": "S"}], [{"role": "user", "content": [{"text": "T"}]}]) == (body["system"], body["messages"])


def test_an_answer_to_be_continued_has_no_white_space_at_its_end() -> None:
    """The last message may be the assistant's, whose end the API wants bare."""
    body = body_of(HI, {"role": "assistant", "content": "so far \n"})
    assert [{"text": "so far"}] == body["messages"][-1]["content"]


def test_a_conversation_that_the_assistant_begins_is_not_carried() -> None:
    """The API wants the user first, and nobody puts words into the user's mouth."""
    begun = {"role": "assistant", "content": "hello"}
    assert {"messages[1]"} == misfits({"role": "system", "content": "S"}, begun, HI)
    with pytest.raises(InvalidRequest, match="must begin with a user's message"):
        body_of({"role": "user", "content": " "}, begun, HI)
    with pytest.raises(InvalidRequest, match="holds no text"):
        body_of({"role": "user", "content": " "})


def test_sampling_limits_and_stops_are_inference_configuration() -> None:
    """The newer name of the limit goes first, then the older one, then the target's own; blank stops are left out."""
    body = body_of(max_tokens=4, max_completion_tokens=5, temperature=0, top_p=0.5, stop=["x", " "], limit=9)
    assert {"maxTokens": 5, "temperature": 0, "topP": 0.5, "stopSequences": ["x"]} == body["inferenceConfig"]
    assert {"maxTokens": 9, "stopSequences": ["y"]} == body_of(limit=9, stop="y")["inferenceConfig"]
    assert "inferenceConfig" not in body_of(stop=" ")


CHOICES: list[tuple[Any, Any]] = [
    ("auto", None),
    ("required", {"any": {}}),
    ({"type": "function", "function": {"name": "look"}}, {"tool": {"name": "look"}}),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_a_tool_choice_has_its_word(choice: Any, expected: Any) -> None:
    """auto is what happens anyway; the others are told."""
    config = body_of(tools=[function(description="d", parameters=SCHEMA)], tool_choice=choice)["toolConfig"]
    spec = {"name": "look", "description": "d", "inputSchema": {"json": SCHEMA}}
    assert ([{"toolSpec": spec}], expected) == (config["tools"], config.get("toolChoice"))


def test_tools_without_a_schema_or_a_description_are_tools() -> None:
    """A schema is always an object's; an empty description is none."""
    config = body_of(tools=[function(description=""), function("g", parameters={})])["toolConfig"]
    empty = {"json": {"type": "object", "properties": {}}}
    assert [{"name": "look", "inputSchema": empty}, {"name": "g", "inputSchema": empty}] == [
        tool["toolSpec"] for tool in config["tools"]
    ]


def test_a_strict_tool_has_a_closed_schema() -> None:
    """What strict tools demand is what structured answers demand."""
    spec = body_of(tools=[function(strict=True, parameters=SCHEMA)])["toolConfig"]["tools"][0]["toolSpec"]
    schema = spec["inputSchema"]["json"]
    assert (True, False, False) == (
        spec["strict"],
        schema["additionalProperties"],
        "minimum" in schema["properties"]["a"],
    )


def test_none_leaves_tools_out() -> None:
    """Where no call was made there is nothing to declare, and nothing to take out of the answer."""
    call = call_of(tools=[function()], tool_choice="none", parallel_tool_calls=False)
    assert (False, True) == ("toolConfig" in json.loads(call.body), call.calls)


@pytest.mark.parametrize("fields", [{}, {"tools": [function("other")], "tool_choice": "none"}, {"tools": []}])
def test_history_with_calls_declares_what_was_called(fields: dict[str, Any]) -> None:
    """Calls need a toolConfig even where none may be made: it names them once each, and the answer's calls are left
    out."""
    call = call_of(HI, called("a", "b"), result("a"), result("b"), **fields)
    specs = [tool["toolSpec"] for tool in json.loads(call.body)["toolConfig"]["tools"]]
    assert (["look"], False) == ([spec["name"] for spec in specs], call.calls)
    assert "not available" in specs[0]["description"]
    allowed = call_of(HI, called("a"), result("a"), tools=[function()])
    assert (True, True) == (allowed.calls, "toolConfig" in json.loads(allowed.body))


def test_a_schema_travels_as_closed_text() -> None:
    """A structured answer's schema is closed, its limits told in words, and it is a string."""
    described = {"name": "n", "description": "d", "strict": True, "schema": SCHEMA}
    body = body_of(response_format={"type": "json_schema", "json_schema": described})
    wanted = body["outputConfig"]["textFormat"]
    schema = wanted["structure"]["jsonSchema"]
    assert ("json_schema", "n", "d") == (wanted["type"], schema["name"], schema["description"])
    sent = json.loads(schema["schema"])
    assert (False, "{minimum: 1}") == (sent["additionalProperties"], sent["properties"]["a"]["description"])


FIELDS: list[tuple[dict[str, Any], set[str]]] = [
    ({"temperature": 1.5}, {"temperature"}),
    ({"top_p": 1.5}, {"top_p"}),
    ({"n": 2}, {"n"}),
    ({"n": 1, "store": False, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False}, set()),
    ({"seed": 0}, {"seed"}),
    ({"logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 2}, {"logit_bias", "logprobs", "top_logprobs"}),
    ({"response_format": {"type": "json_object"}}, {"response_format"}),
    ({"response_format": {"type": "text"}}, set()),
    ({"tools": [function()], "parallel_tool_calls": False}, {"parallel_tool_calls"}),
    ({"tools": [function()], "parallel_tool_calls": True}, set()),
    ({"parallel_tool_calls": False}, set()),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, {"tools[0]"}),
    ({"tools": [function("a.b")]}, {"tools[0].function.name"}),
    ({"tools": [function(zzz=1)]}, {"tools[0].function.zzz"}),
    ({"tool_choice": "required"}, {"tool_choice"}),
    ({"service_tier": "auto"}, set()),
    ({"service_tier": "flex"}, set()),
    ({"service_tier": "scale"}, {"service_tier"}),
    ({"metadata": {"team": "a b"}, "user": "u@example.com"}, set()),
    ({"metadata": {"team": "{"}}, {"metadata"}),
    ({"metadata": {"team": 1}}, {"metadata"}),
    ({"metadata": {f"k{i}": "v" for i in range(17)}}, {"metadata"}),
    ({"metadata": {"user": "a"}, "user": "b"}, {"metadata", "user"}),
    ({"user": "no|pipes"}, {"user"}),
    ({"reasoning_effort": "low"}, set()),
    ({"reasoning_effort": "none"}, set()),
    ({"reasoning_effort": "utmost"}, {"reasoning_effort"}),
    ({"zzz": 0}, {"zzz"}),
]


@pytest.mark.parametrize(("fields", "names"), FIELDS)
def test_a_field_without_a_place_is_named(fields: dict[str, Any], names: set[str]) -> None:
    """Every field that Converse has no place for is named, no other, and none is dropped unless it may be."""
    assert names == misfits(**fields)
    for name in names:
        with pytest.raises(InvalidRequest):
            body_of(**fields, drop=names - {name})
    if names and not any("[" in name for name in names):
        assert body_of(**fields, drop=names)["messages"]


MESSAGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"role": "user", "content": "a", "name": "bob"}, {"messages[1].name"}),
    ({"role": "function", "name": "f", "content": "x"}, {"messages[1]"}),
    ({"role": "assistant", "content": "a", "audio": {"id": "x"}}, {"messages[1].audio"}),
    ({"role": "assistant", "content": "a", "refusal": None, "annotations": [], "reasoning_content": "t"}, set()),
    ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}, {"messages[1].content[0]"}),
]


@pytest.mark.parametrize(("message", "names"), MESSAGES)
def test_what_a_message_may_hold(message: dict[str, Any], names: set[str]) -> None:
    """Fields and parts without a place are named; an echoed answer is valid history."""
    assert names == misfits(HI, message)


@pytest.mark.parametrize("described", [1.5, ["d"], {"d": 1}])
def test_a_schema_whose_description_is_no_text_is_refused(described: Any) -> None:
    """Limits are told in the description, which must be one to tell them in."""
    schema = {"minimum": 1, "description": described}
    with pytest.raises(InvalidRequest, match="`description`"):
        body_of(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})


def test_labels_and_tiers_have_their_place() -> None:
    """Metadata and the user are labels of the request; the tier is named as it is here."""
    body = body_of(metadata={"team": "x"}, user="u-1", service_tier="priority")
    assert ({"team": "x", "user": "u-1"}, {"type": "priority"}) == (body["requestMetadata"], body["serviceTier"])
    assert {"messages"} == set(body_of(metadata={}, service_tier="auto"))


def test_effort_is_a_level_where_the_model_takes_levels() -> None:
    """The levels are the API's, whose lowest stands for the least; none asks for what happens anyway."""
    levels = {wanted: body_of(reasoning_effort=wanted, quirks=EFFORT) for wanted in ("none", "minimal", "high", "max")}
    assert {"none": None, "minimal": {"effort": "low"}, "high": {"effort": "high"}, "max": {"effort": "max"}} == {
        wanted: body.get("outputConfig") for wanted, body in levels.items()
    }
    assert {"reasoning_effort"} == misfits(reasoning_effort="low", quirks=Quirks())


BUDGETS: list[tuple[dict[str, Any], int | None, int | None]] = [
    ({"reasoning_effort": "low"}, 2048, 10_240),
    ({"reasoning_effort": "high", "max_tokens": 40_000}, 16_384, 40_000),
    ({"reasoning_effort": "high", "max_tokens": 5000}, 4000, 5000),
    ({"reasoning_effort": "low", "max_tokens": 1200}, None, 1200),
    ({"reasoning_effort": "none"}, None, None),
    ({"reasoning_effort": "low", "temperature": 0.2}, None, None),
    ({"reasoning_effort": "low", "temperature": 1}, 2048, 10_240),
    ({"reasoning_effort": "low", "top_p": 0.5}, None, None),
    ({"reasoning_effort": "low", "tools": [function()]}, 2048, 10_240),
    ({"reasoning_effort": "low", "tools": [function()], "tool_choice": "required"}, None, None),
    ({"reasoning_effort": "low", "tools": [function()], "tool_choice": "none"}, 2048, 10_240),
]


@pytest.mark.parametrize(("fields", "budget", "limit"), BUDGETS)
def test_effort_is_a_budget_where_the_model_takes_tokens(
    fields: dict[str, Any], budget: int | None, limit: int | None
) -> None:
    """The budget leaves room for the answer, and yields to what it cannot go with."""
    body = body_of(**fields)
    thinking = body.get("additionalModelRequestFields", {}).get("thinking", {})
    assert (budget, limit) == (thinking.get("budget_tokens"), body.get("inferenceConfig", {}).get("maxTokens"))


def test_thinking_is_never_switched_on_in_the_middle() -> None:
    """Calls in the conversation, or an answer that is begun, exclude a budget to think."""
    for messages in ([HI, called("a"), result("a")], [HI, {"role": "assistant", "content": "so far"}]):
        assert "additionalModelRequestFields" not in body_of(*messages, reasoning_effort="high")


BAD: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([HI, called("t", arguments="{bad"), result("t")], {}, "messages[1].tool_calls[0].function.arguments"),
    ([HI, called("t", arguments="[1]"), result("t")], {}, "messages[1].tool_calls[0].function.arguments"),
    ([HI, {"role": "assistant", "tool_calls": [function()]}], {}, "messages[1].tool_calls[0].id"),
    ([HI], {"tools": [function(parameters=[1])]}, "tools[0].function.parameters"),
    ([HI], {"tools": [function(description=[1])]}, "tools[0].function.description"),
    ([HI, {"role": "assistant", "content": "a", "refusal": 5}], {}, "messages[1].refusal"),
]


@pytest.mark.parametrize(("messages", "fields", "param"), BAD)
def test_a_wrong_value_is_refused_by_name(messages: list[dict[str, Any]], fields: dict[str, Any], param: str) -> None:
    """What cannot be read is the caller's mistake, with its path; asking what can be carried never raises."""
    misfits(*messages, **fields)
    with pytest.raises(InvalidRequest) as refused:
        body_of(*messages, **fields)
    assert param == refused.value.param
