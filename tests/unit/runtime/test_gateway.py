"""API Gateway events in, proxy answers out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from understudy.runtime.gateway import Answer, ApiRequest, api_request, filler


def event(**changes: Any) -> dict[str, Any]:
    """A REST proxy event as the developer guide shows it."""
    made: dict[str, Any] = {
        "resource": "/{proxy+}",
        "path": "/chat/completions",
        "httpMethod": "POST",
        "headers": {"Authorization": "Bearer k", "Content-Type": "application/json"},
        "multiValueHeaders": {"Authorization": ["Bearer k"], "Content-Type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": "chat/completions"},
        "stageVariables": None,
        "requestContext": {"requestId": "r-1", "stage": "v1", "path": "/v1/chat/completions"},
        "body": '{"model":"m"}',
        "isBase64Encoded": False,
    }
    return made | changes


def test_a_proxy_event_becomes_a_request() -> None:
    """Method, path, headers, body and request id are read from a proxy event; header names become lower case."""
    headers = {"authorization": "Bearer k", "content-type": "application/json"}
    assert ApiRequest("POST", "/chat/completions", headers, b'{"model":"m"}', "r-1") == api_request(event())


@pytest.mark.parametrize(
    ("proxy", "path", "expected"),
    [
        ("chat/completions", "/mapping/chat/completions", "/chat/completions"),
        ("v1/chat/completions", "/v1/chat/completions", "/chat/completions"),
        ("models/", "/models/", "/models"),
        ("v1/models/", "/v1/models/", "/models"),
        (None, "/v1/models", "/models"),
        (None, "/models", "/models"),
        (None, "/v1/", "/"),
        (None, "/", "/"),
        (None, None, "/"),
        ("", "/models", "/models"),
        ("v1beta/models", "/v1beta/models", "/v1beta/models"),
        ("v1/v1/models", "/v1/v1/models", "/v1/models"),
        ("models/v1/x", "/models/v1/x", "/models/v1/x"),
    ],
)
def test_the_path_has_neither_stage_nor_mapping(proxy: str | None, path: str | None, expected: str) -> None:
    """What the resource matched is the path, without one leading version and without a slash at its end."""
    parameters = None if proxy is None else {"proxy": proxy}
    assert expected == api_request(event(pathParameters=parameters, path=path)).path


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00\xff\xfe", "größer".encode()])
def test_a_base64_body_is_decoded(data: bytes) -> None:
    """A body that API Gateway has encoded arrives as the bytes that the caller sent."""
    encoded = event(body=base64.b64encode(data).decode(), isBase64Encoded=True)
    assert data == api_request(encoded).body


@pytest.mark.parametrize("body", ["%%%", "abc", "e30=\n!", "größer", "\ud800"])
def test_a_body_that_is_no_base64_is_refused(body: str) -> None:
    """A body that says it is base64 and is not is none, whatever it holds, so that its front can refuse it."""
    assert None is api_request(event(body=body, isBase64Encoded=True)).body


def test_a_text_body_is_utf8() -> None:
    """A body of text arrives as UTF-8, and one with half a character still arrives."""
    assert "größer 👍".encode() == api_request(event(body="größer 👍")).body
    assert b"a\xed\xa0\x80b" == api_request(event(body="a\ud800b")).body


@pytest.mark.parametrize("missing", ["headers", "body", "pathParameters", "requestContext", "isBase64Encoded"])
@pytest.mark.parametrize("absent", [False, True], ids=["null", "absent"])
def test_what_an_event_may_leave_out(missing: str, absent: bool) -> None:
    """A part of the event that is null or absent stands for an empty one."""
    given = event(**{missing: None})
    if absent:
        del given[missing]
    read = api_request(given)
    assert "/chat/completions" == read.path
    assert (b"" if missing == "body" else b'{"model":"m"}') == read.body
    assert ("" if missing == "requestContext" else "r-1") == read.request_id
    assert (missing == "headers") == (read.headers == {})


def test_an_empty_event_is_a_request() -> None:
    """An event with nothing in it is a GET of the root, not a crash."""
    assert ApiRequest("GET", "/", {}, b"", "") == api_request({})


def test_a_repeated_header_has_its_last_value() -> None:
    """A header that was sent twice has the value that API Gateway gives for one; null values are left out."""
    given = event(headers={"X-A": "2", "X-B": None}, multiValueHeaders={"X-A": ["1", "2"], "X-B": None})
    assert {"x-a": "2"} == api_request(given).headers


def test_no_value_of_an_own_header_is_lost() -> None:
    """The router's own headers tighten limits and constraints, so one that was sent twice has both values."""
    name = "X-Understudy-Constraints"
    given = event(headers={name: "b"}, multiValueHeaders={name: ["a", "b"]})
    assert {"x-understudy-constraints": "a, b"} == api_request(given).headers


def test_a_whole_answer_as_a_proxy_takes_it() -> None:
    """A whole answer becomes the four members of the proxy integration's output."""
    expected = {"statusCode": 200, "headers": {"a": "b"}, "body": "größer", "isBase64Encoded": False}
    assert expected == Answer(200, {"a": "b"}, "größer".encode()).proxy()


def test_an_answer_in_pieces_is_collected() -> None:
    """Pieces are joined before they are decoded, so that a character may lie across two of them."""
    data = "data: größer\n\n".encode()
    pieces = iter([data[:9], data[9:], b""])
    assert "data: größer\n\n" == Answer(200, {}, chunks=pieces).proxy()["body"]
    assert "" == Answer(200, {}, chunks=iter([])).proxy()["body"]


def test_bytes_that_are_no_text_do_not_break_the_answer() -> None:
    """An answer that is not UTF-8 is still given, with replacement characters."""
    assert "a\ufffdb" == Answer(200, {}, b"a\xffb").proxy()["body"]


def test_pieces_that_break_off_are_given_as_far_as_they_came() -> None:
    """What was said before a fault, and of it, is not lost to an error answer."""

    def pieces() -> Iterator[bytes]:
        yield b"a"
        yield b'data: {"error": {}}'
        raise RuntimeError("broken")

    assert 'adata: {"error": {}}' == Answer(200, {}, chunks=pieces()).proxy()["body"]


def test_a_failure_before_the_first_piece_is_raised() -> None:
    """An answer of which nothing came is no answer."""

    def pieces() -> Iterator[bytes]:
        raise RuntimeError("broken")
        yield b""

    with pytest.raises(RuntimeError, match="broken"):
        Answer(200, {}, chunks=pieces()).proxy()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream; charset=utf-8", (15.0, b": ping\n\n")),
        ("text/event-stream", (15.0, b": ping\n\n")),
        ("application/json", (None, b"")),
        (None, (None, b"")),
    ],
)
def test_only_server_sent_events_are_filled(content_type: str | None, expected: tuple[float | None, bytes]) -> None:
    """A silent stream of events gets a comment each 15 s; nothing else has a place for one."""
    assert expected == filler({} if content_type is None else {"content-type": content_type})


def test_closing_a_whole_answer_does_nothing() -> None:
    """Every answer may be closed, also one with nothing behind it."""
    assert None is Answer(200, {}).close()  # type: ignore[func-returns-value]


def test_the_routers_own_headers_are_never_lost_to_another_spelling() -> None:
    """Two that differ in case are one header with both of its values."""
    name = "x-understudy-constraints"
    given = event(headers={name: "a", name.title(): "b"}, multiValueHeaders={name: ["a"], name.title(): ["b"]})
    assert "a, b" == api_request(given).headers[name]
    assert "a, b" == api_request(event(headers={name: "a", name.upper(): "b"}, multiValueHeaders=None)).headers[name]
