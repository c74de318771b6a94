"""Any request becomes a body that botocore's own validation takes, or is refused by name; every answer can be read."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.simulators import bedrock_rules
from infra.local.simulators.replies import RejectedError
from understudy.chat.request import chat_request
from understudy.chat.response import completion_from_chunks
from understudy.errors import AttemptFailed, InvalidRequest
from understudy.wire import WIRES
from understudy.wire.base import Event, Quirks

WIRE = WIRES["bedrock"]
QUIRKS = [Quirks(reasoning_control=control) for control in ("none", "effort", "budget")]


@cache
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def report_on(body: dict[str, Any]) -> str:
    """What botocore finds wrong with a body, for either operation."""
    found = [
        ParamValidator().validate({"modelId": "m", **body}, service().operation_model(name).input_shape)
        for name in ("Converse", "ConverseStream")
    ]
    return "\n".join(report.generate_report() for report in found)


WORDS = st.text(max_size=12)
NAMES = st.sampled_from(["look", "g-1", "a.b", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
URLS = st.sampled_from(
    ["data:image/png;base64,AA==", "https://h/i", "data:application/pdf;base64,JVBE", "data:,x", "é"]
)
PARTS = st.one_of(
    st.builds(lambda said: {"type": "text", "text": said}, WORDS),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, URLS),
    st.builds(lambda url, name: {"type": "file", "file": {"file_data": url, "filename": name}}, URLS, WORDS),
    st.builds(
        lambda form: {"type": "input_audio", "input_audio": {"data": "AA==", "format": form}}, WORDS | st.just("wav")
    ),
    st.builds(lambda kind, value: {"type": kind, kind: value}, st.sampled_from(["refusal", "image_url", "x"]), JSON),
)
CONTENT = WORDS | st.lists(PARTS, max_size=3)
CALLS = st.lists(
    st.builds(
        lambda identifier, name, arguments: {
            "id": identifier,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        },
        WORDS,
        NAMES,
        st.sampled_from(["{}", "", '{"a":1}', "{bad", "[1]"]),
    ),
    max_size=2,
)
MESSAGES = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant"]),
        CONTENT,
    ),
    st.builds(lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls}, CONTENT, CALLS),
    st.builds(
        lambda identifier, content: {"role": "tool", "tool_call_id": identifier, "content": content}, WORDS, CONTENT
    ),
)
TOOLS = st.lists(
    st.builds(
        lambda name, more: {"type": "function", "function": {"name": name, **more}},
        NAMES,
        st.fixed_dictionaries({}, optional={"description": JSON, "parameters": JSON, "strict": st.booleans()}),
    ),
    max_size=2,
)
FORMATS = st.one_of(
    st.just({"type": "text"}),
    st.just({"type": "json_object"}),
    st.builds(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
        st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "minimum", "description"]), JSON),
    ),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 10**6),
        "temperature": st.floats(),
        "top_p": st.floats(),
        "stop": WORDS | st.lists(WORDS, max_size=3),
        "tools": TOOLS,
        "tool_choice": st.sampled_from(["auto", "none", "required", "zzz"]) | st.dictionaries(WORDS, JSON, max_size=1),
        "response_format": FORMATS,
        "metadata": st.dictionaries(WORDS, JSON, max_size=2),
        "user": WORDS,
        "service_tier": st.sampled_from(["auto", "default", "flex", "zzz"]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "zzz"]),
        "parallel_tool_calls": st.booleans(),
    },
)


@settings(max_examples=120, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=6), FIELDS, st.sampled_from(QUIRKS), st.booleans())
def test_any_request_is_a_valid_body_or_refused_by_name(
    messages: list[dict[str, Any]], fields: dict[str, Any], quirks: Quirks, stream: bool
) -> None:
    """Whatever a caller sends, botocore finds nothing wrong with what is sent on; nothing else is ever raised."""
    try:
        request = chat_request({"model": "r", "messages": messages, **fields})
    except InvalidRequest:
        return
    names = WIRE.cannot_carry(request, quirks)
    try:
        call = WIRE.call(request, model="m", stream=stream, drop=frozenset(), max_output_tokens=None, quirks=quirks)
    except InvalidRequest as refused:
        assert refused.message
        return
    assert (frozenset(), "") == (frozenset(names), report_on(json.loads(call.body)).strip())


SAID = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Conversations as well-behaved clients have them: a user first, every call answered, odd ids, blank texts."""
    messages = [{"role": "system", "content": draw(SAID)}] * draw(st.integers(0, 2))
    messages.append({"role": "user", "content": "hi"})
    for turn in range(draw(st.integers(0, 3))):
        ids = [f"{turn}{one}" for one in draw(st.lists(SAID, max_size=3, unique=True))]
        calls = [{"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}} for i in ids]
        messages.append({"role": "assistant", "content": draw(SAID), **({"tool_calls": calls} if calls else {})})
        messages += [{"role": "tool", "tool_call_id": i, "content": draw(SAID)} for i in ids]
        messages += [{"role": "user", "content": draw(SAID)}] * draw(st.integers(0, 2))
    return messages


@settings(max_examples=80, deadline=None)
@given(conversations(), st.sampled_from([{}, {"tool_choice": "none"}, {"reasoning_effort": "high"}]), st.booleans())
def test_every_sound_conversation_is_taken(messages: list[dict[str, Any]], more: dict[str, Any], tools: bool) -> None:
    """Merged, matched and cleaned as Converse wants it, however a client wrote it."""
    offered = {"tools": [{"type": "function", "function": {"name": "look"}}]} if tools else {}
    request = chat_request({"model": "r", "messages": messages, **offered, **more})
    call = WIRE.call(request, model="m", stream=False, drop=frozenset(), max_output_tokens=None, quirks=QUIRKS[2])
    try:
        bedrock_rules.check("m", json.loads(call.body))
    except RejectedError as rejected:
        pytest.fail(rejected.reply.pieces[0].data.decode())
    sent = json.loads(call.body)
    texts = [m["content"] for m in messages if m["content"].strip() and m["role"] != "assistant"]
    assert [] == [text for text in texts if json.dumps(text) not in json.dumps(sent)]


EVENTS = st.one_of(
    st.just(("messageStart", {"role": "assistant"})),
    st.builds(
        lambda name, index, one: (name, {"contentBlockIndex": index, "delta": one, "start": one}),
        st.sampled_from(["contentBlockStart", "contentBlockDelta", "contentBlockStop"]),
        st.integers(0, 2),
        st.one_of(
            st.builds(lambda said: {"text": said}, WORDS),
            st.just({"toolUse": {"toolUseId": "t", "name": "look"}}),
            st.just({"toolUse": {"input": "{}"}}),
            st.builds(lambda said: {"reasoningContent": {"text": said}}, WORDS),
            JSON,
        ),
    ),
    st.builds(lambda reason: ("messageStop", {"stopReason": reason}), st.sampled_from(["end_turn", "tool_use"]) | JSON),
    st.builds(lambda usage: ("metadata", {"usage": usage}), JSON),
    st.builds(lambda name, data: (name, data), WORDS, JSON),
    st.builds(lambda name, data: (f"exception:{name}", data), WORDS, JSON),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(EVENTS, max_size=8))
def test_any_event_is_read_or_raises_what_the_engine_knows(events: list[tuple[str, Any]]) -> None:
    """A stream of whatever gives chunks, ValueError or a failure of the attempt, and nothing else."""
    decoder = WIRE.decoder()
    for name, data in events:
        try:
            decoder.feed(Event(name, json.dumps(data)))
        except (ValueError, AttemptFailed):
            continue


BLOCKS = st.one_of(
    st.builds(lambda said: {"text": said}, SAID.filter(bool)),
    st.builds(
        lambda given: {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": given}},
        st.dictionaries(SAID, st.integers() | SAID, max_size=2),
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=4))
def test_an_answer_goes_back_as_it_came(content: list[dict[str, Any]]) -> None:
    """An answer that a client echoes is the assistant's turn that the model gave: text, then calls."""
    output = {"message": {"role": "assistant", "content": content}}
    reason = "tool_use" if any("toolUse" in block for block in content) else "end_turn"
    answer = completion_from_chunks(WIRE.chunks({"output": output, "stopReason": reason}))["choices"][0]["message"]
    messages = [{"role": "user", "content": "hi"}, answer, {"role": "user", "content": "go on"}]
    request = chat_request({"model": "r", "messages": messages})
    sent = json.loads(WIRE.call(request, model="m", stream=False, drop=frozenset(), max_output_tokens=None).body)
    said = "".join(block.get("text", "") for block in content)
    calls = [block for block in content if "toolUse" in block]
    expected = ([{"text": said}] if said.strip() else []) + calls
    turns = [turn["content"] for turn in sent["messages"] if turn["role"] == "assistant"]
    assert ([expected] if expected else []) == turns
