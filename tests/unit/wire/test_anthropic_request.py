"""What the Anthropic wire sends, and what it says it cannot send."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulators import anthropic_rules
from understudy.chat.request import chat_request
from understudy.errors import ContextTooLong, InvalidRequest, Overloaded
from understudy.wire.anthropic import AnthropicWire
from understudy.wire.anthropic_request import tool_id

WIRE = AnthropicWire()
HELLO: dict[str, Any] = {"role": "user", "content": "Which bird is this?"}
SCHEMA = {"type": "object", "properties": {"bird": {"type": "string"}}, "required": ["bird"]}
TOOL = {"type": "function", "function": {"name": "find_nest", "description": "Finds it.", "parameters": SCHEMA}}
SENT_TOOL = {"name": "find_nest", "description": "Finds it.", "input_schema": SCHEMA}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def asked(*calls: tuple[str, str]) -> dict[str, Any]:
    """An assistant message that calls `find_nest` with these ids and arguments."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "find_nest", "arguments": arguments}}
            for id, arguments in calls
        ],
    }


def used(id: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "find_nest", "input": given}


def answered(id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def result(id: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    found = {"type": "tool_result", "tool_use_id": id}
    return {**found, "content": list(blocks)} if blocks else found


def ask(messages: list[dict[str, Any]] | None = None, **fields: Any) -> Any:
    return chat_request({"model": "birds", "messages": messages or [HELLO], **fields})


def sent(
    messages: list[dict[str, Any]] | None = None,
    *,
    drop: frozenset[str] = frozenset(),
    own_limit: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The body that goes out."""
    request = ask(messages, **fields)
    call = WIRE.call(request, model="claude-x", stream=request.stream, drop=drop, max_output_tokens=own_limit)
    body: dict[str, Any] = json.loads(call.body)
    return body


def test_smallest_request() -> None:
    """A single question goes out with the model of the target, a limit and the version header."""
    call = WIRE.call(ask(), model="claude-x", stream=False, drop=frozenset(), max_output_tokens=None)
    assert ("/v1/messages", {"anthropic-version": "2023-06-01"}) == (call.path, call.headers)
    assert {
        "model": "claude-x",
        "max_tokens": 8192,
        "messages": [user(text("Which bird is this?"))],
        "stream": False,
    } == json.loads(call.body)


CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[str], list[dict[str, Any]]]] = {
    "leading instructions become the system prompt": (
        [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": [text("Be kind.")]}, HELLO],
        ["Be brief.", "Be kind."],
        [user(text("Which bird is this?"))],
    ),
    "later instructions stay in place": (
        [HELLO, {"role": "assistant", "content": "A wren."}, {"role": "system", "content": "Now in French."}, HELLO],
        [],
        [
            user(text("Which bird is this?")),
            assistant(text("A wren.")),
            user(text("Now in French."), text("Which bird is this?")),
        ],
    ),
    "consecutive roles are merged": (
        [HELLO, HELLO, {"role": "assistant", "content": "A"}, {"role": "assistant", "content": "wren."}, HELLO],
        [],
        [
            user(text("Which bird is this?"), text("Which bird is this?")),
            assistant(text("A"), text("wren.")),
            user(text("Which bird is this?")),
        ],
    ),
    "blank texts are left out": (
        [
            {"role": "system", "content": " \n"},
            {"role": "user", "content": [text(""), text("Hm?")]},
            {"role": "assistant", "content": "  "},
            HELLO,
        ],
        [],
        [user(text("Hm?"), text("Which bird is this?"))],
    ),
    "instructions alone are asked": (
        [{"role": "system", "content": "Name a bird."}],
        [],
        [user(text("Name a bird."))],
    ),
    "an answer to continue does not end in white space": (
        [HELLO, {"role": "assistant", "content": "It is a "}],
        [],
        [user(text("Which bird is this?")), assistant(text("It is a"))],
    ),
    "results of a turn come together and before text": (
        [
            HELLO,
            asked(("call_1", '{"bird": "wren"}'), ("call_2", "")),
            {"role": "system", "content": "Hurry."},
            answered("call_1", "In the hedge."),
            answered("call_2", ""),
            {"role": "user", "content": "Well?"},
        ],
        [],
        [
            user(text("Which bird is this?")),
            assistant(used("call_1", bird="wren"), used("call_2")),
            user(result("call_1", text("In the hedge.")), result("call_2"), text("Hurry."), text("Well?")),
        ],
    ),
    "an echoed answer is valid history": (
        [
            HELLO,
            {
                "role": "assistant",
                "content": "A wren.",
                "refusal": None,
                "audio": None,
                "annotations": [],
                "function_call": None,
                "tool_calls": None,
                "reasoning_content": "Small, brown.",
            },
            HELLO,
        ],
        [],
        [user(text("Which bird is this?")), assistant(text("A wren.")), user(text("Which bird is this?"))],
    ),
    "an earlier refusal is kept as text": (
        [HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}, HELLO],
        [],
        [user(text("Which bird is this?")), assistant(text("I will not.")), user(text("Which bird is this?"))],
    ),
    "images by value and by address": (
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}},
                    {"type": "image_url", "image_url": {"url": "https://birds.example/wren.jpg"}},
                    text("Same bird?"),
                ],
            }
        ],
        [],
        [
            user(
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                },
                {"type": "image", "source": {"type": "url", "url": "https://birds.example/wren.jpg"}},
                text("Same bird?"),
            )
        ],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(name: str) -> None:
    """Each conversation arrives as system texts and alternating turns that the API accepts."""
    messages, system, turns = CONVERSATIONS[name]
    body = sent(messages)
    assert (system, turns) == ([block["text"] for block in body.get("system", [])], body["messages"])
    assert body == anthropic_rules.check(body)


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "max_tokens": ({"max_tokens": 9}, {"max_tokens": 9}),
    "max_completion_tokens": ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_tokens": 7}),
    "the target's own limit": ({"own_limit": 64000}, {"max_tokens": 64000}),
    "the caller's limit goes first": ({"own_limit": 64000, "max_tokens": 5}, {"max_tokens": 5}),
    "sampling": ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}),
    "one stop": ({"stop": "END"}, {"stop_sequences": ["END"]}),
    "several stops": ({"stop": ["END", "\n", "."]}, {"stop_sequences": ["END", "."]}),
    "blank stop": ({"stop": "\n\n"}, {}),
    "user": ({"user": "u-17"}, {"metadata": {"user_id": "u-17"}}),
    "stream": ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
    "text format": ({"response_format": {"type": "text"}}, {}),
    "no tools": ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}, {}),
    "tools": ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [SENT_TOOL]}),
    "tool without parameters": (
        {"tools": [{"type": "function", "function": {"name": "now"}}]},
        {"tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]},
    ),
    "tool with empty parameters": (
        {"tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}]},
        {"tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]},
    ),
    "strict tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]},
        {"tools": [{"name": "f", "strict": True, "input_schema": {**SCHEMA, "additionalProperties": False}}]},
    ),
    "required": (
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [SENT_TOOL], "tool_choice": {"type": "any"}},
    ),
    "named": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "find_nest"}}},
        {"tools": [SENT_TOOL], "tool_choice": {"type": "tool", "name": "find_nest"}},
    ),
    "none": (
        {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        {"tools": [SENT_TOOL], "tool_choice": {"type": "none"}},
    ),
    "one call at a time": (
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tools": [SENT_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    "constrained answer": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "b", "strict": True, "schema": SCHEMA}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}}},
    ),
    "what happens anyway": (
        {
            "n": 1,
            "logprobs": False,
            "frequency_penalty": 0,
            "presence_penalty": 0.0,
            "store": False,
            "service_tier": "auto",
            "logit_bias": {},
            "metadata": {},
            "parallel_tool_calls": True,
        },
        {},
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field(name: str) -> None:
    """Each field is carried under the API's own name, and nothing else is added."""
    fields, expected = FIELDS[name]
    body = sent(**fields)
    assert {**sent(), **expected} == body
    assert body == anthropic_rules.check(body)


def test_schema_limits_move_into_the_description() -> None:
    """Limits that structured outputs refuse are told in words, at every depth, and properties keep their names."""
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "maximum": 9, "description": "Eggs."},
            "seen": {"type": "array", "items": {"anyOf": [{"type": "string", "maxLength": 3}]}, "minItems": 2},
            "nest": {"$ref": "#/$defs/nest"},
        },
        "$defs": {"nest": {"type": "object", "properties": {}, "additionalProperties": False}},
    }
    expected = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "description": "Eggs.\n\n{minimum: 1, maximum: 9}"},
            "seen": {
                "type": "array",
                "items": {"anyOf": [{"type": "string", "description": "{maxLength: 3}"}]},
                "description": "{minItems: 2}",
            },
            "nest": {"$ref": "#/$defs/nest"},
        },
        "$defs": {"nest": {"type": "object", "properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
        "description": "A clutch.",
    }
    wanted = {"name": "clutch", "description": "A clutch.", "schema": schema}
    body = sent(response_format={"type": "json_schema", "json_schema": wanted})
    assert expected == body["output_config"]["format"]["schema"]


PICTURE = {"type": "image_url", "image_url": {"url": PIXEL}}
MISFITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "hot": ({"temperature": 1.2}, {"temperature"}),
    "several answers": ({"n": 2}, {"n"}),
    "penalties": (
        {"frequency_penalty": 0.1, "presence_penalty": -1},
        {"frequency_penalty", "presence_penalty"},
    ),
    "probabilities": ({"logprobs": True, "top_logprobs": 2}, {"logprobs", "top_logprobs"}),
    "values that are not empty": (
        {"logit_bias": {"5": 1}, "metadata": {"a": "b"}, "store": True, "service_tier": "flex"},
        {"logit_bias", "metadata", "store", "service_tier"},
    ),
    "other fields": ({"seed": 1, "reasoning_effort": "low", "crest": True}, {"seed", "reasoning_effort", "crest"}),
    "free JSON": ({"response_format": {"type": "json_object"}}, {"response_format"}),
    "schema without schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "b"}}},
        {"response_format"},
    ),
    "choice without tools": ({"tool_choice": "required"}, {"tool_choice"}),
    "unknown choice": ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, {"tool_choice"}),
    "unknown tool": ({"tools": [TOOL, {"type": "custom", "custom": {"name": "x"}}]}, {"tools[1]"}),
    "unknown part": (
        {"messages": [HELLO, HELLO, {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"messages[2].content[0]"},
    ),
    "picture in instructions": (
        {"messages": [{"role": "system", "content": [text("Look."), PICTURE]}, HELLO]},
        {"messages[0].content[1]"},
    ),
    "coarse picture": (
        {"messages": [user({"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}})]},
        {"messages[0].content[0].image_url.detail"},
    ),
    "field of a part": (
        {"messages": [user({**text("Hm?"), "cache_control": {"type": "ephemeral"}})]},
        {"messages[0].content[0].cache_control"},
    ),
    "field of a message": ({"messages": [{**HELLO, "name": "Ann"}]}, {"messages[0].name"}),
    "old role": ({"messages": [HELLO, {"role": "function", "name": "f", "content": "1"}]}, {"messages[1]"}),
    "custom call": (
        {
            "messages": [
                HELLO,
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "function": {"name": "x"}}]},
            ]
        },
        {"messages[1].tool_calls[0]"},
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_cannot_carry(name: str) -> None:
    """Everything that has no place is named by its path in the caller's body."""
    fields, expected = MISFITS[name]
    assert expected == WIRE.cannot_carry(ask(**fields))


@pytest.mark.parametrize("name", [name for name, (_, misfits) in MISFITS.items() if misfits])
def test_nothing_is_lost_unasked(name: str) -> None:
    """A request with a field that nobody agreed to lose is refused by that field's name."""
    fields, misfits = MISFITS[name]
    with pytest.raises(InvalidRequest) as refused:
        sent(**fields)
    assert min(misfits) == refused.value.param


def test_agreed_fields_are_dropped() -> None:
    """Fields that the route agreed to lose are left out, and the rest arrives."""
    drop = frozenset({"seed", "temperature", "response_format"})
    body = sent(seed=1, temperature=1.5, response_format={"type": "json_object"}, top_p=0.5, drop=drop)
    assert {**sent(), "top_p": 0.5} == body


def test_parts_cannot_be_dropped() -> None:
    """A part of a message is never lost, even where its name is among the dropped ones."""
    messages = [user({"type": "file", "file": {"file_id": "f"}})]
    with pytest.raises(InvalidRequest) as refused:
        sent(messages, drop=frozenset({"messages[0].content[0]"}))
    assert "messages[0].content[0]" == refused.value.param


def picture(url: object) -> list[dict[str, Any]]:
    return [user({"type": "image_url", "image_url": {"url": url}})]


DEEP = "[" * 20_000 + "]" * 20_000
UNREADABLE: dict[str, tuple[list[dict[str, Any]], str]] = {
    "broken arguments": ([HELLO, asked(("c", '{"bird": '))], "messages[1].tool_calls[0].function.arguments"),
    "a list": ([HELLO, asked(("b", "{}"), ("c", "[1]"))], "messages[1].tool_calls[1].function.arguments"),
    "deep arguments": ([HELLO, asked(("c", DEEP))], "messages[1].tool_calls[0].function.arguments"),
    "call without id": (
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}],
        "messages[0].tool_calls[0].id",
    ),
    "unknown scheme": (picture("ftp://birds.example/wren.jpg"), "messages[0].content[0].image_url.url"),
    "picture not in base64": (picture("data:image/svg+xml,<svg/>"), "messages[0].content[0].image_url.url"),
    "picture without address": (picture(None), "messages[0].content[0].image_url.url"),
    "nothing but blanks": ([{"role": "user", "content": " "}], "messages"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name: str) -> None:
    """What cannot be translated is refused by its path."""
    messages, path = UNREADABLE[name]
    with pytest.raises(InvalidRequest) as refused:
        sent(messages)
    assert path == refused.value.param


def test_parameters_of_a_wrong_type() -> None:
    """Parameters that are no schema are refused by their path."""
    with pytest.raises(InvalidRequest) as refused:
        sent(tools=[{"type": "function", "function": {"name": "f", "parameters": "none"}}])
    assert "tools[0].function.parameters" == refused.value.param


def test_deep_schema() -> None:
    """A schema nested beyond reason is refused, not crashed on."""
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"items": schema}
    with pytest.raises(InvalidRequest):
        sent(response_format={"type": "json_schema", "json_schema": {"name": "d", "schema": schema}})


def test_half_a_surrogate_pair() -> None:
    """A text that has no UTF-8 form is refused as the caller's mistake."""
    with pytest.raises(InvalidRequest):
        sent([{"role": "user", "content": "wren \ud83d"}])


def test_foreign_ids_still_match() -> None:
    """A call and its result keep one id, also where the API refuses the caller's."""
    id = "functions.find_nest:0|" + "x" * 60
    body = sent([HELLO, asked((id, "{}")), answered(id, "Here.")])
    assert tool_id(id) == body["messages"][1]["content"][0]["id"] == body["messages"][2]["content"][0]["tool_use_id"]
    assert body == anthropic_rules.check(body)


ODD_IDS = st.one_of(st.text(), st.from_regex(r"[a-zA-Z0-9_-]{60,70}", fullmatch=True))


@given(st.sets(ODD_IDS, max_size=20))
def test_tool_ids_fit_and_stay_distinct(ids: set[str]) -> None:
    """Whatever the ids are, what is sent fits the pattern and is distinct, made ids given as ids included."""
    ids = ids | {tool_id(id) for id in ids}
    made = [tool_id(id) for id in ids]
    assert (len(ids), made) == (len(set(made)), [id for id in made if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id)])


FAILURES = [
    (529, "overloaded_error", "Overloaded", Overloaded),
    (400, "invalid_request_error", "prompt is too long: 300 tokens > 200 maximum", ContextTooLong),
]


@pytest.mark.parametrize(("status", "kind", "message", "expected"), FAILURES)
def test_failure(status: int, kind: str, message: str, expected: type[Exception]) -> None:
    """An error body is classified by the failure table."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    assert expected is type(WIRE.failure(status, {}, body))
