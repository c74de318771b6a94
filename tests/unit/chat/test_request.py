"""What is accepted as a chat request, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import request
from understudy.chat.request import GO_ON, ROLES, chat_request
from understudy.errors import InvalidRequest

HELLO = [{"role": "user", "content": "hello"}]
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def refused(body: object) -> tuple[str, str | None]:
    """The message and the field of the refusal."""
    with pytest.raises(InvalidRequest) as caught:
        chat_request(body)
    return caught.value.message, caught.value.param


def with_message(**message: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "hi"}, message]}


ROLE_WORDS = "one of assistant, developer, function, system, tool, user"
PART = [{"type": "text", "text": "a"}]
REFUSED: list[tuple[object, str, str | None]] = [
    ([], "The body must be a JSON object, not a list.", None),
    ("x", "The body must be a JSON object, not 'x'.", None),
    (None, "The body must be a JSON object, not null.", None),
    ({}, "`model` must be the name of a route; it is missing.", "model"),
    ({"model": 3}, "`model` must be the name of a route; it is an integer.", "model"),
    ({"model": ""}, "`model` must be the name of a route; it is ''.", "model"),
    ({"model": "c"}, "`messages` must be a list with at least one message; it is missing.", "messages"),
    ({"model": "c", "messages": []}, "`messages` must be a list with at least one message; it is a list.", "messages"),
    ({"model": "c", "messages": "hi"}, "`messages` must be a list with at least one message; it is 'hi'.", "messages"),
    ({"model": "c", "messages": ["hi"]}, "`messages[0]` must be an object; it is 'hi'.", "messages[0]"),
    (with_message(content="x"), f"`messages[1].role` must be {ROLE_WORDS}; it is missing.", "messages[1].role"),
    (with_message(role="bot"), f"`messages[1].role` must be {ROLE_WORDS}; it is 'bot'.", "messages[1].role"),
    (with_message(role=[]), f"`messages[1].role` must be {ROLE_WORDS}; it is a list.", "messages[1].role"),
    (
        with_message(role="user"),
        "`messages[1].content` must be a string or a list of parts; it is missing.",
        "messages[1].content",
    ),
    (
        with_message(role="user", content=1.5),
        "`messages[1].content` must be a string or a list of parts; it is a number.",
        "messages[1].content",
    ),
    (
        with_message(role="user", content=[*PART, {"text": "a"}]),
        "`messages[1].content[1]` must be an object with a `type`; it is an object.",
        "messages[1].content[1]",
    ),
    (
        with_message(role="user", content=[{"type": "text", "text": True}]),
        "`messages[1].content[0].text` must be a string; it is true or false.",
        "messages[1].content[0].text",
    ),
    (
        with_message(role="assistant", tool_calls={"id": "x"}),
        "`messages[1].tool_calls` must be a list; it is an object.",
        "messages[1].tool_calls",
    ),
    (
        with_message(role="assistant", tool_calls=[CALL, {"id": "x"}]),
        "`messages[1].tool_calls[1]` must be an object with `id` and `function.name`; it is an object.",
        "messages[1].tool_calls[1]",
    ),
    (
        with_message(role="tool", content="4"),
        "`messages[1].tool_call_id` must be the id of the call it answers; it is missing.",
        "messages[1].tool_call_id",
    ),
]
FIELDS: list[tuple[str, Any, str]] = [
    ("temperature", "hot", "`temperature` must be an integer or a number; it is 'hot'."),
    ("temperature", True, "`temperature` must be an integer or a number; it is true or false."),
    ("max_tokens", 1.5, "`max_tokens` must be an integer; it is a number."),
    ("max_tokens", 0, "`max_tokens` must be at least 1, not 0."),
    ("n", -1, "`n` must be at least 1, not -1."),
    ("stream", "yes", "`stream` must be true or false; it is 'yes'."),
    ("stop", 1, "`stop` must be a string or a list; it is an integer."),
    ("stop", ["a", 1], "`stop` must hold only strings."),
    ("tools", {}, "`tools` must be a list; it is an object."),
    ("tool_choice", [], "`tool_choice` must be a string or an object; it is a list."),
    ("user", "x" * 50, ""),
    ("response_format", "x" * 50, f"`response_format` must be an object; it is '{'x' * 37}...'."),
]
INNER: list[tuple[dict[str, Any], str, str]] = [
    (
        {"stream_options": {"include_usage": 1}},
        "`stream_options.include_usage` must be true or false; it is an integer.",
        "stream_options.include_usage",
    ),
    ({"tools": [3]}, "`tools[0]` must be an object; it is an integer.", "tools[0]"),
    (
        {"tools": [{"type": "function"}]},
        "`tools[0].function` must be an object; it is missing.",
        "tools[0].function",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": 5}}]},
        "`tools[0].function.name` must be a string; it is an integer.",
        "tools[0].function.name",
    ),
]


@pytest.mark.parametrize(("body", "message", "param"), REFUSED)
def test_refusals_name_path_and_type(body: object, message: str, param: str | None) -> None:
    """A refusal names the place in the caller's body, what should be there and what is there."""
    assert (message, param) == refused(body)


@pytest.mark.parametrize(("name", "value", "message"), FIELDS)
def test_fields_are_checked_by_type(name: str, value: Any, message: str) -> None:
    """A field of a wrong type is refused with its name; a right one is kept."""
    body = {"model": "chat", "messages": HELLO, name: value}
    assert (message, name) == (refused(body) if message else ("", name))
    if not message:
        assert body == chat_request(body).body


@pytest.mark.parametrize(("fields", "message", "param"), INNER)
def test_inner_fields_are_checked_by_type(fields: dict[str, Any], message: str, param: str) -> None:
    """Inside an object or a list the refusal names the whole path."""
    assert (message, param) == refused({"model": "chat", "messages": HELLO, **fields})


def test_nulls_are_absent() -> None:
    """An explicit null is the same as leaving the field out, in the body and in its messages."""
    body = {
        "model": "chat",
        "messages": [{"role": "assistant", "content": None, "tool_calls": [CALL], "name": None}],
        "temperature": None,
        "max_tokens": None,
        "stop": None,
        "stream": None,
        "stream_options": None,
        "tools": None,
        "x": None,
    }
    checked = chat_request(body)
    assert {"model": "chat", "messages": [{"role": "assistant", "tool_calls": [CALL]}]} == checked.body
    assert (False, False, None) == (checked.stream, checked.include_usage, checked.max_output_tokens)


def test_unknown_fields_are_kept() -> None:
    """What the router does not know is passed on as it is, and the caller's body is not changed."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi", "mood": [None, 1]}], "top_k": {"a": None}}
    before = repr(body)
    assert body == chat_request(body).body
    assert before == repr(body)


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}, *PART]}]
NEEDS = [
    ({}, (False, False, False)),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, (True, False, False)),
    ({"tools": []}, (False, False, False)),
    ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, (True, False, False)),
    ({"messages": IMAGE}, (False, True, False)),
    ({"response_format": {"type": "json_schema"}}, (False, False, True)),
    ({"response_format": {"type": "json_object"}}, (False, False, False)),
]


@pytest.mark.parametrize(("fields", "needs"), NEEDS)
def test_what_a_request_needs(fields: dict[str, Any], needs: tuple[bool, bool, bool]) -> None:
    """Tools, images and JSON schemas are seen wherever they stand."""
    one = request(**fields)
    assert needs == (one.needs_tools, "image_url" in one.part_types, one.needs_json_schema)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_output_limit(fields: dict[str, int], limit: int | None) -> None:
    """The newer name of the output limit wins over the older one."""
    assert limit == request(**fields).max_output_tokens


def test_the_size_is_the_text_of_all_messages() -> None:
    """Texts and text parts are counted, images and calls are not."""
    messages = [*HELLO, *IMAGE, {"role": "assistant", "tool_calls": [CALL]}]
    assert len("hello") + len("a") == request(messages=messages).size


def test_deep_nesting_is_no_trouble() -> None:
    """A hostile depth inside a part is not followed."""
    deep: Any = "x"
    for _ in range(5000):
        deep = [{"type": "y", "text": deep}]
    assert 0 == request(messages=[{"role": "user", "content": [{"type": "y", "text": deep}]}]).size


VALUES = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(["", "text", "function", *ROLES])
)
JSON = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "function", "name", "tool_calls", "id", "include_usage", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(sorted(ROLES)) | JSON},
    optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON, "name": JSON},
)
OPTIONAL = [
    "stream",
    "stream_options",
    "tools",
    "stop",
    "n",
    "max_tokens",
    "response_format",
    "tool_choice",
    "metadata",
]
BODIES = JSON | st.fixed_dictionaries(
    {"model": st.just("chat") | JSON, "messages": st.lists(MESSAGES, max_size=3) | JSON},
    optional=dict.fromkeys(OPTIONAL, JSON),
)


CONTINUED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("message", {}, {}),
    ("prefix", {"prefix": True}, {}),
    ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
]


@pytest.mark.parametrize(("prefill", "marked", "more"), CONTINUED)
def test_an_answer_is_continued_in_the_targets_own_way(
    prefill: str, marked: dict[str, Any], more: dict[str, Any]
) -> None:
    """What was written becomes the last message, marked as the target wants it; nothing else of the body changes."""
    one = request(temperature=0.5).continuing("So far", prefill, 2)
    begun = {"role": "assistant", "content": "So far", **marked}
    assert {**request(temperature=0.5).body, **more, "messages": [*HELLO, begun]} == one.body


def test_an_answer_is_continued_in_words() -> None:
    """What was written is followed by a user's turn that asks for the rest."""
    one = request().asking_to_go_on("So far", 2)
    assert ["user", "assistant", "user"] == [message["role"] for message in one.messages]
    assert ("So far", GO_ON) == (one.messages[1]["content"], one.messages[2]["content"])


@pytest.mark.parametrize(("limit", "left"), [(100, 90), (11, 1), (10, 1), (3, 1)])
def test_what_was_written_counts_against_the_limit(limit: int, left: int) -> None:
    """The tokens that the caller has already are taken off the answer's limit, which never falls below one."""
    one = request(max_tokens=limit, max_completion_tokens=limit)
    for asked in (one.continuing("x", "message", 10), one.asking_to_go_on("x", 10)):
        assert (left, left) == (asked.body["max_tokens"], asked.body["max_completion_tokens"])


def test_a_request_without_a_limit_is_continued_without_one() -> None:
    """No limit is made up for the rest of an answer."""
    assert {"model", "messages"} == set(request().continuing("x", "message", 10).body)


@pytest.mark.parametrize(("fields", "expected"), [({}, 1), ({"n": 1}, 1), ({"n": 3}, 3)])
def test_choices(fields: dict[str, Any], expected: int) -> None:
    """One answer is asked for unless the request says more."""
    assert expected == request(**fields).choices


FORMATS = [({}, False), ({"type": "text"}, False), ({"type": "json_object"}, True), ({"type": "json_schema"}, True)]


@pytest.mark.parametrize(("wanted", "structured"), FORMATS)
def test_structured_answers(wanted: dict[str, Any], structured: bool) -> None:
    """An answer that is to be JSON is structured; plain text is not."""
    assert structured is request(response_format=wanted).is_structured


@settings(deadline=None, max_examples=300)
@given(BODIES)
def test_any_json_is_a_request_or_refused(body: Any) -> None:
    """Whatever JSON comes, it is either refused as InvalidRequest, or a request whose every question has an answer."""
    try:
        one = chat_request(body)
    except InvalidRequest as error:
        assert error.message
        return
    answers = (one.stream, one.include_usage, one.needs_tools, "image_url" in one.part_types, one.needs_json_schema)
    assert (True, True) == (all(isinstance(a, bool) for a in answers), one.size >= 0)
    assert (one.body, one.messages) == (chat_request(one.body).body, one.body["messages"])
