"""The real data plane behind our real runtime loop: what a caller of the deployed router gets, and what Lambda sees."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.one_router import KEY, Told, _read_stream, _read_whole
from tests.runtime_api import Posted, Runtime, RuntimeApi, running

ROOM = "tests.routed_room.handler"
PING = b": ping\n\n"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[RuntimeApi, Runtime]]:
    with RuntimeApi() as api, running(api.address, ROOM) as runtime:
        yield api, runtime


@pytest.fixture
def api(served: tuple[RuntimeApi, Runtime]) -> RuntimeApi:
    return served[0]


def chat(
    play: str, *, stream: bool = True, key: str = KEY, path: str = "/chat/completions", mode: str = "on"
) -> dict[str, Any]:
    """The event of a chat request, as API Gateway makes it."""
    body = {"model": "chat", "messages": [{"role": "user", "content": play}], "stream": stream}
    return {
        "httpMethod": "GET" if path == "/models" else "POST",
        "path": path,
        "headers": {"Authorization": f"Bearer {key}"},
        "pathParameters": {"proxy": path.removeprefix("/")},
        "requestContext": {"requestId": "api-request"},
        "stageVariables": {"stream": mode},
        "body": None if path == "/models" else json.dumps(body),
        "isBase64Encoded": False,
    }


def told(answer: Posted) -> Told:
    """An answer as the caller reads it, without the comments: on a busy machine any answer may have some."""
    head = answer.prelude
    read = Told(head["statusCode"], head["headers"], answer.body.replace(PING, b""))
    (_read_stream if "event-stream" in head["headers"]["content-type"] else _read_whole)(read)
    return read


def test_an_answer_is_streamed(api: RuntimeApi) -> None:
    """A stream comes whole, event by event, with the router's own headers in the prelude."""
    answer = api.invoke(chat("short"))
    read = told(answer)
    assert (True, "lead", "api-request") == (read.whole("Hello"), read.target, read.headers["x-request-id"])
    assert all(data.endswith(b"\n\n") for _, data in answer.chunks[1:])
    assert (None, True) == (answer.error, answer.ended)


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (chat("short", key="wrong"), 401, "invalid_api_key"),
        (chat("short", path="/nothing"), 404, "unknown_url"),
        (chat("short") | {"body": "{"}, 400, "invalid_json"),
        (chat("short") | {"body": "%", "isBase64Encoded": True}, 400, "invalid_request"),
    ],
)
def test_a_refusal_has_its_prelude(api: RuntimeApi, event: Any, status: int, code: str) -> None:
    """What is turned away is answered like everything else: prelude, JSON, end; it is no error of the function."""
    answer = api.invoke(event)
    assert (status, code) == (answer.prelude["statusCode"], json.loads(answer.body)["error"]["code"])
    assert ("application/json", None, True) == (answer.prelude["headers"]["content-type"], answer.error, answer.ended)


def test_whole_answers_have_their_prelude(api: RuntimeApi) -> None:
    """A caller that does not stream, and the list of models, are answered behind a prelude as well."""
    assert True is told(api.invoke(chat("short", stream=False))).whole("Hello")
    assert ["chat"] == [one["id"] for one in json.loads(api.invoke(chat("", path="/models")).body)["data"]]


def test_a_provider_that_thinks_is_filled_with_pings(api: RuntimeApi) -> None:
    """While a provider is silent in mid-answer, comments come in place of its words; readers see the same answer."""
    answer = api.invoke(chat("think"))
    pings = [data for _, data in answer.chunks].count(PING)
    assert (True, True) == (1 <= pings <= 4, told(answer).whole("Hello"))


def test_a_stream_that_runs_into_the_end_of_its_invocation_says_so(api: RuntimeApi) -> None:
    """Two seconds before Lambda ends the invocation a running stream ends with an error event and nothing after it."""
    ends = time.monotonic_ns() + 3.5e9
    answer = api.invoke(chat("trickle"), seconds=3.5)
    read = told(answer)
    assert (True, True) == (read.broken, len(read.text) >= 3)
    assert "the deadline of the whole request" in (read.error or {})["message"]
    # An end like any other, in time: neither a bug of ours, nor a connection that was cut.
    assert (True, None, True) == (answer.ended, answer.error, answer.chunks[-1][0] < ends)


def test_a_bug_in_mid_answer_is_told_to_caller_and_platform(served: tuple[RuntimeApi, Runtime]) -> None:
    """The caller gets an error event that tells nothing of our inside; Lambda gets the error, and the log the cause."""
    api, runtime = served
    answer = api.invoke(chat("bug"))
    read = told(answer)
    assert (True, "Hel", "router_failed") == (read.broken, read.text, (read.error or {})["code"])
    assert b"parser" not in answer.body
    assert answer.error is not None
    assert ("Runtime.RuntimeError", True) == (answer.error[0], answer.ended)
    assert "a bug in our own parser" in runtime.logged("an answer broke off")["exception"]


def test_a_bug_before_the_first_byte_is_told_to_both(api: RuntimeApi) -> None:
    """Where no byte of an answer is out the caller gets a 500, and Lambda counts the error all the same."""
    answer = api.invoke(chat("bug", stream=False))
    assert (500, "router_failed") == (answer.prelude["statusCode"], json.loads(answer.body)["error"]["code"])
    assert answer.error is not None
    assert ("Runtime.RuntimeError", True) == (answer.error[0], answer.ended)


def test_without_streaming_answers_are_whole() -> None:
    """With streaming off the same room returns the proxy integration's dictionary, errors in the stream included."""
    with RuntimeApi() as api, running(api.address, ROOM):
        for play, last in (("short", "data: [DONE]\n\n"), ("bug", '"code":"router_failed"}}\n\n')):
            answer = api.invoke(chat(play, mode="off"))
            given = json.loads(answer.body)
            assert {"statusCode", "headers", "body", "isBase64Encoded"} == set(given)
            assert (200, False, True) == (given["statusCode"], answer.streamed, given["body"].endswith(last))


def test_a_restored_environment_starts_anew() -> None:
    """Before the snapshot everything slow was done once and let go; what serves events was made after the restore."""
    environ = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with RuntimeApi() as api, running(api.address, ROOM, environ=environ):
        restored = json.loads(api.invoke({"inside": True}).body)
        assert {"built": 1, "loops": 0, "boto3": True} == restored
        assert True is told(api.invoke(chat("short"))).whole("Hello")
        assert {"built": 2, "loops": 1, "boto3": True} == json.loads(api.invoke({"inside": True}).body)
        assert ["GET /restore/next", "GET /invocation/next"] == api.paths[:2]
