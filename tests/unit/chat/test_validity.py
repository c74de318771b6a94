"""Whether an answer has the form that its request asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import request
from understudy.chat.validity import flaws

PLACE = {"type": "object", "required": ["place"], "properties": {"place": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": PLACE}}]
OBJECT = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "found", "schema": PLACE}}


def said(content: Any = "hello", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": finish, "message": {"content": content, **message}}]}


def called(arguments: Any, name: str = "look") -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return said(None, "tool_calls", tool_calls=[call])


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        ({}, said(), []),
        ({}, said(finish="length"), []),
        ({}, said(finish="content_filter"), ["it was held back"]),
        ({}, said(finish="bored"), ["its stop reason is not known"]),
        ({"tools": TOOLS}, called('{"place": "here"}'), []),
        ({"tools": TOOLS}, called("{}"), ["the arguments of a call: a required field is missing"]),
        ({"tools": TOOLS}, called('{"place"'), ["the arguments of a call: not JSON"]),
        ({"tools": TOOLS}, called("7"), ["the arguments of a call: not a JSON object"]),
        ({"tools": TOOLS}, called("{}", "jump"), ["it calls a tool that was not offered"]),
        ({"response_format": OBJECT}, said("{}"), []),
        ({"response_format": OBJECT}, said("Here it is: {}"), ["not JSON"]),
        ({"response_format": OBJECT}, said(None), ["not a JSON object"]),
        ({"response_format": OBJECT}, said('{"cut', "length"), []),
        ({"response_format": SCHEMA}, said('{"place": "here"}'), []),
        ({"response_format": SCHEMA}, said("{}"), ["a required field is missing"]),
    ],
)
def test_flaws_are_named_without_their_content(asked: dict[str, Any], answer: Any, expected: list[str]) -> None:
    """Each flaw is told in words of ours; what was merely cut at its length is none."""
    assert expected == flaws(request(**asked), answer)


JSON = st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(JSON, JSON, st.text())
def test_no_answer_breaks_the_judge(content: Any, schema: Any, arguments: str) -> None:
    """Whatever an answer says and whatever was asked for, judging it ends with a list."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = request(response_format=wanted) if isinstance(schema, dict) else request(response_format=OBJECT)
    assert isinstance(flaws(asked, said(content)), list)
    assert isinstance(flaws(request(tools=TOOLS), called(arguments)), list)
