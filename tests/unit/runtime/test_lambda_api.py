"""The parts of our Lambda runtime that need no platform."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.raw_provider import closed_port
from understudy.runtime.gateway import Answer, takes_pieces
from understudy.runtime.lambda_api import (
    MESSAGE_LIMIT,
    WAITS,
    ApiFailed,
    HungUp,
    Invocation,
    RuntimeApi,
    described,
    error_type,
)
from understudy.runtime.lambda_context import Context, context_from
from understudy.runtime.lambda_loop import load, prelude

HEADERS = {
    "lambda-runtime-aws-request-id": "r-1",
    "lambda-runtime-invoked-function-arn": "arn:f",
    "lambda-runtime-deadline-ms": "1800000010500",
    "lambda-runtime-aws-tenant-id": "t-1",
    "lambda-runtime-invocation-id": "i-1",
}
ENVIRON = {
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_VERSION": "7",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/group",
    "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
}


class größer(Exception):  # noqa: N801 - a name that is not ASCII
    """An error whose name no header can carry."""


def nowhere(waited: list[float]) -> RuntimeApi:
    return RuntimeApi(closed_port().removeprefix("http://"), waited.append)


def test_a_context_has_what_the_managed_one_has() -> None:
    """Ids, function, memory and logs come from the headers of the invocation and from the environment."""
    expected = Context("r-1", "arn:f", 1800000010500, "f", "7", "1024", "/group", "stream", "t-1")
    assert expected == context_from(HEADERS, ENVIRON)
    assert (None, None) == (expected.client_context, expected.identity)


@pytest.mark.parametrize(("now", "left"), [(1800000000.0, 10500), (1800000010.4996, 1), (1800000020.0, 0)])
def test_the_time_left_is_until_the_deadline(now: float, left: int) -> None:
    """Milliseconds until the deadline, and none after it."""
    context = Context("", "", 1800000010500, "", "", "", "", "", clock=lambda: now)
    assert left == context.get_remaining_time_in_millis()


@pytest.mark.parametrize("deadline", ["", "soon", "-1", None])
def test_without_a_deadline_no_time_is_left(deadline: str | None) -> None:
    """A deadline that cannot be read is one that is over: nobody waits for what may never be allowed to end."""
    headers = {} if deadline is None else {"lambda-runtime-deadline-ms": deadline}
    assert 0 == context_from(headers, {}).get_remaining_time_in_millis()


def test_an_invocation_knows_its_ids() -> None:
    """The request id names it; the invocation id is what is echoed, where there is one."""
    assert ("r-1", {"Lambda-Runtime-Invocation-Id": "i-1"}) == (
        Invocation(HEADERS, b"").id,
        Invocation(HEADERS, b"").echo,
    )
    assert ("", {}) == (Invocation({}, b"").id, Invocation({}, b"").echo)


def test_waits_between_polls_are_bounded() -> None:
    """A platform that is not there is asked again a few times, ever more slowly, and then given up."""
    waited: list[float] = []
    with pytest.raises(ApiFailed, match="ConnectionRefusedError"):
        nowhere(waited).next()
    assert (list(WAITS), True, True) == (waited, waited == sorted(waited), sum(waited) < 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda api, one: api.answer(one, b"{}"),
        lambda api, one: api.in_pieces(one),
        lambda api, one: api.fail(one, ValueError("x")),
        lambda api, one: api.fail_at("init", ValueError("x"), "Runtime.X"),
        lambda api, one: api.wait_for_restore(),
    ],
    ids=["answer", "pieces", "error", "init error", "restore"],
)
def test_a_platform_that_is_gone_has_hung_up(call: Any) -> None:
    """Whatever is told to a platform that is not there raises one error, and is not tried again."""
    waited: list[float] = []
    with pytest.raises(HungUp):
        call(nowhere(waited), Invocation(HEADERS, b""))
    assert [] == waited


@pytest.mark.parametrize(
    ("error", "expected"), [(ValueError("x"), "Runtime.ValueError"), (größer(), "Runtime.Unknown")]
)
def test_an_error_has_a_category_and_a_name(error: Exception, expected: str) -> None:
    """What the platform reads is `Runtime.Name`, in ASCII."""
    assert expected == error_type(error)


def test_a_long_error_is_cut() -> None:
    """A message of any length and language fits into a trailer, and reads the same after it."""
    told = json.loads(base64.b64decode(base64.b64encode(described(ValueError("ü" * 5000)))))
    assert {"errorType": "ValueError", "errorMessage": "ü" * MESSAGE_LIMIT} == told


def test_a_prelude_is_json_and_eight_nul_bytes() -> None:
    """Status and headers, in ASCII, without a NUL of their own."""
    head = prelude(Answer(200, {"a": "größer\0"}))
    assert ({"statusCode": 200, "headers": {"a": "größer\0"}}, b"\0" * 8) == (json.loads(head[:-8]), head[-8:])
    assert (8, True) == (head.count(b"\0"), head.isascii())


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"httpMethod": "GET", "stageVariables": {"stream": "on"}}, True),
        ({"httpMethod": "GET", "stageVariables": {"stream": "off"}}, False),
        ({"httpMethod": "GET", "stageVariables": None}, False),
        ({"httpMethod": "GET"}, False),
        ({"Records": []}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_stage_says_how_it_takes_answers(event: Any, expected: bool) -> None:
    """Only the events of a stage that streams are answered behind a prelude."""
    assert expected is takes_pieces(event)


@pytest.mark.parametrize("name", ["json.dumps", "os.path.join", "os/path.join"])
def test_a_handler_is_loaded_by_its_name(name: str) -> None:
    """Module and function are parted by the last dot; folders may be parted by slashes."""
    assert True is callable(load(name)[0])
