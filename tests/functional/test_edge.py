"""The HTTP edge as clients meet it: odd bodies, odd requests, and what never crosses the router."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fronted import Fronted, fronted, said
from tests.one_router import KEY, SECRET
from tests.spoken import OPENAI, Reply, refused
from understudy.services.request_parts import BODY_LIMIT

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
LEAKY = {
    "openai-organization": "org-1234",
    "openai-processing-ms": "12",
    "cf-ray": "8c",
    "x-amzn-requestid": "a",
    "server-timing": "x",
    "set-cookie": "a=b",
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-tokens": "1234",
    "x-ratelimit-org": "org-1234",
}


def leaky(body: dict[str, Any]) -> Reply:
    reply = said()(body)  # type: ignore[operator]
    return Reply(reply.status, {**reply.headers, **LEAKY}, reply.pieces)


@pytest.fixture(scope="module")
def front() -> Iterator[Fronted]:
    """A front that the tests of this module share; both providers answer."""
    with fronted((OPENAI, [leaky]), (OPENAI, [leaky])) as one:
        yield one


def nested(depth: int) -> bytes:
    return json.dumps(ASK).encode()[:-1] + b',"zzz":' + b"[" * depth + b"]" * depth + b"}"


def with_text(raw: bytes) -> bytes:
    return b'{"model":"chat","messages":[{"role":"user","content":"' + raw + b'"}]}'


WRONG: dict[str, bytes] = {
    "nothing": b"",
    "half": b'{"model"',
    "a list": b"[]",
    "a text": b'"chat"',
    "null": b"null",
    "a number": b"7",
    "bad UTF-8": with_text(b"\xff\xfe\x00"),
    "half a surrogate pair": with_text(b"\\ud800"),
    "a raw NUL": with_text(b"\x00"),
    "nested 100,000 deep": nested(100_000),
    "nested without an end": b"[" * 100_000,
    "no number": with_text(b"x")[:-1] + b',"zzz":NaN}',
    "a number without end": with_text(b"x")[:-1] + b',"seed":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", WRONG)
def test_what_cannot_be_read_is_a_400(front: Fronted, body: str) -> None:
    """Never a 5xx, which SDKs would send again; the object has its four fields."""
    answer = front.post(WRONG[body])
    error = answer.json()["error"]
    assert (400, ["message", "type", "param", "code"]) == (answer.status_code, list(error))
    assert "invalid_request_error" == error["type"]


READ: dict[str, bytes] = {
    "an escaped NUL": with_text(b"a\\u0000b"),
    "a byte order mark": b"\xef\xbb\xbf" + with_text(b"x"),
    "a key twice": b'{"model":"zzz","model":"chat","messages":[{"role":"user","content":"x"}]}',
    "a whole surrogate pair": with_text(b"\\ud83d\\ude42"),
    "nested 50 deep": nested(50),
    "nulls": b'{"model":"chat","messages":[{"role":"user","content":"x","name":null}],"n":null,"stream":null,'
    b'"stop":null,"tools":null,"stream_options":null,"response_format":null,"max_tokens":null,"zzz":null}',
}


@pytest.mark.parametrize("body", READ)
def test_odd_bodies_are_read(front: Fronted, body: str) -> None:
    """What JSON allows is answered, and explicit nulls are absent fields."""
    assert (200, "hello") == spoken(front.post(READ[body]))


def spoken(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["choices"][0]["message"]["content"]


WHOLE = json.dumps(ASK).encode()
COMPRESSED = {
    "gzip": ("gzip", gzip.compress(WHOLE)),
    "in other letters": ("GZIP", gzip.compress(WHOLE)),
    "deflate": ("deflate", zlib.compress(WHOLE)),
    "not at all": ("identity", WHOLE),
    "by whom the gateway has decompressed": ("gzip", WHOLE),
}


@pytest.mark.parametrize("how", COMPRESSED)
def test_a_compressed_body_is_read(front: Fronted, how: str) -> None:
    """Whether the gateway has decompressed it already or not; what goes on is not compressed."""
    coding, body = COMPRESSED[how]
    assert (200, "hello") == spoken(front.post(body, content_encoding=coding))
    assert "content-encoding" not in front.lead.calls[-1].headers


TWISTED = {
    "an unknown way": ("br", WHOLE, 415, "unsupported_content_encoding"),
    "two ways": ("gzip, gzip", gzip.compress(gzip.compress(WHOLE)), 415, "unsupported_content_encoding"),
    "half": ("gzip", gzip.compress(WHOLE)[:-9], 400, "invalid_request"),
    "broken": ("gzip", b"\x1f\x8b" + b"x" * 40, 400, "invalid_request"),
    "no JSON inside": ("gzip", gzip.compress(b"{"), 400, "invalid_json"),
    "a bomb": ("gzip", gzip.compress(b" " * 3 * BODY_LIMIT), 413, "request_too_large"),
}


@pytest.mark.parametrize("how", TWISTED)
def test_a_body_that_cannot_be_decompressed_is_refused(front: Fronted, how: str) -> None:
    """Never a 5xx, and no more of it is inflated than shows that it is too large."""
    coding, body, status, code = TWISTED[how]
    answer = front.post(body, content_encoding=coding)
    assert (status, code) == (answer.status_code, answer.json()["error"]["code"])
    assert ("gzip, deflate, identity" if status == 415 else None) == answer.headers.get("accept-encoding")


def test_a_body_above_the_limit_is_a_413(front: Fronted) -> None:
    """By the router up to API Gateway's own limit, beyond that by the gateway; both in one form."""
    for size in (BODY_LIMIT + 1, 10 * 1024 * 1024 + 1):
        answer = front.post(b" " * size)
        assert (413, "request_too_large") == (answer.status_code, answer.json()["error"]["code"])


def test_a_chunked_upload_is_read(front: Fronted) -> None:
    """Without a length, in pieces, with an extension and a trailer."""
    body = json.dumps(ASK).encode()
    assert (200, "hello") == spoken(front.post(iter([body[:9], body[9:]])))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
    pieces = b"%x;a=b\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(body), body)
    connection = front.raw(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + pieces)
    assert all_of(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("broken", [b"zz\r\n", b"-5\r\nhello\r\n", b"\r\n"])
def test_a_broken_chunked_upload_is_a_400(front: Fronted, broken: bytes) -> None:
    """An error object, and the connection ends."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    said = all_of(front.raw(head + broken))
    assert (True, True) == (said.startswith(b"HTTP/1.1 400"), b'{"error"' in said)


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(front: Fronted) -> None:
    """`Expect: 100-continue`: first the 100, then the answer."""
    body = json.dumps(ASK).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
        f"expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection = front.raw(head.encode())
    assert connection.recv(65536).startswith(b"HTTP/1.1 100")
    connection.sendall(body)
    assert b"HTTP/1.1 200" in all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_query_strings_say_nothing(front: Fronted) -> None:
    """Some clients add an API version; it changes nothing, nor does a slash at the end."""
    assert (200, "hello") == spoken(front.post(ASK, "/chat/completions?api-version=2026-01-01&x=%ff"))
    assert 200 == front.send("GET", "/models/?limit=1").status_code


PLACES = [
    ("GET", "/chat/completions", 405, "POST, OPTIONS"),
    ("GET", "/embeddings", 405, "POST, OPTIONS"),
    ("POST", "/models", 405, "GET, OPTIONS"),
    ("POST", "/nope", 404, None),
    ("GET", "/", 404, None),
    ("GET", "/chat", 404, None),
    ("PUT", "/models", 404, None),
    ("DELETE", "/chat/completions", 404, None),
    ("PURGE", "/chat/completions", 404, None),
]


@pytest.mark.parametrize(("method", "path", "status", "allow"), PLACES)
def test_unknown_places_and_methods(front: Fronted, method: str, path: str, status: int, allow: str | None) -> None:
    """OpenAI's object, and for a known place the methods that it takes; methods that the API does not have are 404."""
    answer = front.send(method, path, key="")
    assert (status, allow) == (answer.status_code, answer.headers.get("allow"))
    assert ("invalid_request_error", "*") == (
        answer.json()["error"]["type"],
        answer.headers["access-control-allow-origin"],
    )


def test_a_head_has_no_body(front: Fronted) -> None:
    """It is no method of the API; its connection can be used on."""
    answer = front.send("HEAD", "/models")
    assert (404, b"") == (answer.status_code, answer.content)
    assert 200 == front.send("GET", "/models").status_code


KEYS = ["", " ", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY} x", "é"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", ["/models", "/chat/completions", "/embeddings"])
def test_only_the_whole_key_opens(front: Fronted, key: str, path: str) -> None:
    """Empty, cut and longer keys are 401 with a request id, on every path, and are not repeated."""
    method = "GET" if path == "/models" else "POST"
    head = f"{method} /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    told = all_of(front.raw(head.encode()))
    head_told, _, body = told.partition(b"\r\n\r\n")
    assert (True, True) == (head_told.startswith(b"HTTP/1.1 401"), b"x-request-id: " in head_told)
    error = json.loads(body)["error"]
    assert ("invalid_api_key", "authentication_error") == (error["code"], error["type"])
    assert key.strip() == "" or key not in error["message"].split("KEY")[0]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(front: Fronted, scheme: str) -> None:
    """As HTTP has it; the other family's header is a key too."""
    assert 200 == front.send("GET", "/models", key="", authorization=f"{scheme} {KEY}").status_code
    assert 200 == front.send("GET", "/models", key="", x_api_key=KEY).status_code


def test_nothing_of_the_caller_goes_to_the_provider(front: Fronted) -> None:
    """Not its key, its cookies or any other header; the provider has its own key and our name."""
    private = {"cookie": "session=1", "x_internal_user": "alice", "x_forwarded_for": "10.0.0.1", "user_agent": "spy/1"}
    assert 200 == front.post(ASK, x_api_key=KEY, openai_organization="org-mine", **private).status_code
    call = front.lead.calls[-1]
    known = {"host", "content-type", "accept", "accept-encoding", "user-agent", "x-api-key", "content-length"}
    assert known | {"connection"} == set(call.headers) | {"connection"}
    assert (SECRET, "understudy/test") == (call.headers["x-api-key"], call.headers["user-agent"])
    assert KEY not in repr(call)


@pytest.mark.parametrize("stream", [False, True])
def test_of_the_providers_headers_only_its_limits_are_shown(front: Fronted, stream: bool) -> None:
    """No cookies, no ids of its organisations or its network."""
    answer = front.post({**ASK, "stream": stream})
    kept = {name: value for name, value in LEAKY.items() if name in answer.headers}
    assert {name: LEAKY[name] for name in ("x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens")} == kept
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == answer.headers["x-understudy-request-id"]


def test_a_stream_says_what_it_is(front: Fronted) -> None:
    """Server-sent events that no cache keeps."""
    answer = front.post({**ASK, "stream": True})
    assert ("text/event-stream; charset=utf-8", "no-cache") == (
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    assert {"data: "} == {line[:6] for line in answer.text.split("\n") if line}
    assert (True, 1) == (answer.text.endswith("data: [DONE]\n\n"), answer.text.count("[DONE]"))


def test_pages_may_call(front: Fronted) -> None:
    """A browser's preflight is answered without a key for any path, and what it then reads is open to it."""
    asked = {"origin": "https://page.example", "access_control_request_method": "POST"}
    answer = front.send("OPTIONS", "/chat/completions", key="", **asked)
    assert (204, b"", "*") == (answer.status_code, answer.content, answer.headers["access-control-allow-origin"])
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert ("GET, POST, OPTIONS", True) == (answer.headers["access-control-allow-methods"], "authorization" in allowed)
    assert "*" == front.post(ASK, origin="https://page.example").headers["access-control-allow-origin"]


def test_no_address_of_a_provider_is_told() -> None:
    """Neither its URL nor its key nor a trace is in what a caller reads of a failure."""
    echo = refused(500, f'{{"error":{{"message":"key {SECRET} failed"}}}}'.encode())
    with fronted((OPENAI, [echo]), (OPENAI, [Reply(status=None, ending="reset")])) as front:
        answer = front.post(ASK)
        assert 503 == answer.status_code
        whole = answer.text + repr(answer.headers)
        assert [] == [
            word for word in (SECRET, "127.0.0.1", "Traceback", "httpx", ".py", front.lead.url) if word in whole
        ]


def test_a_model_is_found_by_any_name_a_route_may_have() -> None:
    """With slashes and colons, as they are or quoted for a path; an unknown one is 404 with its code and field."""
    with fronted(documented=NAMED) as front:
        for path in ("/models/org/model:1", "/models/org%2Fmodel%3A1", "/models/org%2fmodel:1"):
            answer = front.send("GET", path)
            assert (200, "org/model:1", "model") == (
                answer.status_code,
                answer.json()["id"],
                answer.json()["object"],
            )
        assert "org/model:1" == front.client().models.retrieve("org/model:1").id
        assert ["org/model:1"] == [one.id for one in front.client().models.list()]
        for answer in (front.send("GET", "/models/org%2Fother"), front.post({**ASK, "model": "org/other"})):
            error = answer.json()["error"]
            assert (404, "model_not_found", "model") == (answer.status_code, error["code"], error["param"])


NAMED = json.dumps(
    {
        "schema": 1,
        "providers": {"one": {"wire": "openai", "base_url": "http://127.0.0.1:9", "simulated": True}},
        "targets": {"lead": {"provider": "one", "model": "m"}},
        "routes": {"org/model:1": {"targets": ["lead"]}},
    }
)
