"""Images, sounds and documents as Converse's content blocks, and the parts it has no place for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.chat.request import ChatRequest, chat_request
from understudy.errors import InvalidRequest
from understudy.wire import WIRES

WIRE = WIRES["bedrock"]
HI = {"role": "user", "content": "hi"}
CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
PNG = "data:image/png;base64,iVBORw0K"


def request(*messages: dict[str, Any]) -> ChatRequest:
    return chat_request({"model": "route", "messages": list(messages)})


def body_of(*messages: dict[str, Any], drop: frozenset[str] = frozenset()) -> dict[str, Any]:
    call = WIRE.call(request(*messages), model="m", stream=False, drop=drop, max_output_tokens=None)
    body: dict[str, Any] = json.loads(call.body)
    return body


def misfits(*messages: dict[str, Any]) -> set[str]:
    return set(WIRE.cannot_carry(request(*messages)))


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def test_parts_are_blocks() -> None:
    """Images, sounds and documents are sent as bytes with their format, in base64 as they came."""
    body = body_of(
        user(
            text("see"),
            {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "data:image/JPG;x=1;base64,AA=="}},
            {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            {"type": "file", "file": {"filename": "a_b  c.v2.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            {"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,eA=="}},
            {"type": "file", "file": {"filename": "t.MD", "file_data": "data:application/octet-stream;base64,eA=="}},
            {"type": "file", "file": {"filename": "t.csv", "file_data": "data:text/csv;base64,eA=="}},
        )
    )
    said, png, jpeg, audio, *documents = body["messages"][0]["content"]
    assert {"text": "see"} == said
    assert {"image": {"format": "png", "source": {"bytes": "iVBORw0K"}}} == png
    assert {"image": {"format": "jpeg", "source": {"bytes": "AA=="}}} == jpeg
    assert {"audio": {"format": "wav", "source": {"bytes": "UklG"}}} == audio
    assert [("pdf", "a-b c-v2"), ("txt", "document"), ("md", "t"), ("csv", "t 2")] == [
        (one["document"]["format"], one["document"]["name"]) for one in documents
    ]


def test_a_tool_may_answer_with_an_image_or_a_document() -> None:
    """What a tool shows stands in its result."""
    parts = [{"type": "image_url", "image_url": {"url": PNG}}, text("there"), text(" ")]
    body = body_of(HI, CALLED, {"role": "tool", "tool_call_id": "a", "content": parts})
    image = {"image": {"format": "png", "source": {"bytes": "iVBORw0K"}}}
    assert [image, {"text": "there"}] == body["messages"][2]["content"][0]["toolResult"]["content"]


PARTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "image_url", "image_url": {"url": "https://example.com/i.png"}}, ".image_url.url"),
    ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}, ".image_url.url"),
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, ".image_url.url"),
    ({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}, ".image_url.detail"),
    ({"type": "image_url", "image_url": "x"}, ".image_url"),
    ({"type": "input_audio", "input_audio": {"data": "x", "format": "midi"}}, ".input_audio"),
    ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, ".input_audio"),
    ({"type": "file", "file": {"file_data": "data:image/png;base64,AA=="}}, ".file"),
    ({"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBE"}}, ".file"),
    ({"type": "video_url", "video_url": {}}, ""),
    ({"type": "text", "text": "x", "zzz": 1}, ".zzz"),
]


@pytest.mark.parametrize(("part", "where"), PARTS)
def test_a_part_without_a_place_is_named(part: dict[str, Any], where: str) -> None:
    """Addresses, unknown formats, empty data and unknown parts are named by their path, and raise when sent."""
    path = f"messages[0].content[1]{where}"
    assert {path} == misfits(user(text("t"), part))
    with pytest.raises(InvalidRequest) as refused:
        body_of(user(text("t"), part), drop=frozenset({path}))
    assert path == refused.value.param


def test_a_file_by_id_is_named() -> None:
    """An id of another provider's store says nothing here."""
    part = {"type": "file", "file": {"file_id": "file-1"}}
    assert {"messages[0].content[0].file", "messages[0].content[0].file.file_id"} == misfits(user(part))
