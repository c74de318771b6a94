"""Each of our errors raises the class that OpenAI's SDK has for it, and its retries are what they should be."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.fronted import Fronted, fronted
from tests.one_router import KEY
from tests.raw_provider import Reply
from tests.spoken import OPENAI, refused
from understudy.errors import Cause, NoCompliantTarget
from understudy.wire.fronts.errors import error_answer

Told = openai.APIStatusError
NOTHING = Reply(status=None, ending="hang")
QUICK = {"connect_s": 2, "first_token_s": 1, "first_token_min_s": 1, "request_s": 6}


def problem(status: int, kind: str, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    return refused(status, OPENAI.problem(kind, message, code=code, param="messages"), **headers)


def ask(front: Fronted, *, key: str = KEY, retries: int = 0, **fields: Any) -> openai.APIStatusError:
    """What the SDK raises."""
    asked = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **fields}
    client = openai.OpenAI(api_key=key, base_url=front.url, max_retries=retries)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**asked)
    return caught.value


OURS: dict[str, tuple[dict[str, Any], type[Told], str]] = {
    "a wrong key": ({"key": "us-wrong"}, openai.AuthenticationError, "invalid_api_key"),
    "an unknown model": ({"model": "zzz"}, openai.NotFoundError, "model_not_found"),
    "a wrong type": ({"temperature": "hot"}, openai.BadRequestError, "invalid_type"),
}


@pytest.mark.parametrize("what", OURS)
def test_the_callers_own_mistakes_are_not_sent_again(what: str) -> None:
    """401, 404 and 400 raise their own classes, once, and no provider is asked."""
    asks, kind, code = OURS[what]
    with fronted() as front:
        error = ask(front, retries=2, **asks)
        assert (kind, code, (0, 0)) == (type(error), error.code, front.calls)
        assert 1 == sum(message == "refused" for message, _ in front.router.log.lines)


def test_a_forbidden_target_is_a_403() -> None:
    """What nobody may serve is no failure of the router or of a provider."""
    status, body = error_answer(NoCompliantTarget("chat", [Cause("lead", "denied by jurisdictions: not declared")]))
    error = body["error"]
    assert (403, "permission_error", "no_compliant_target") == (status, error["type"], error["code"])


THEIRS: list[tuple[Reply, type[Told], int, str | None, int]] = [
    # what every provider says, the class, its status, its code, calls that one request makes
    (problem(400, "invalid_request_error", code="zzz"), openai.BadRequestError, 400, "zzz", 1),
    (problem(400, "x", code="context_length_exceeded"), openai.BadRequestError, 400, "context_length_exceeded", 1),
    (problem(400, "x", code="content_filter"), openai.BadRequestError, 400, "content_filter", 1),
    (problem(422, "invalid_request_error"), openai.UnprocessableEntityError, 422, None, 1),
    (problem(401, "invalid_request_error"), openai.InternalServerError, 503, "no_target_answered", 2),
    (problem(403, "x"), openai.InternalServerError, 503, "no_target_answered", 2),
    (problem(404, "x"), openai.InternalServerError, 503, "no_target_answered", 2),
    (problem(429, "x", retry_after="77"), openai.RateLimitError, 429, "rate_limit_exceeded", 2),
    (problem(429, "x"), openai.RateLimitError, 429, "rate_limit_exceeded", 2),
    (problem(429, "x", code="insufficient_quota"), openai.RateLimitError, 429, "insufficient_quota", 2),
    (problem(500, "x"), openai.InternalServerError, 503, "no_target_answered", 2),
    (problem(503, "x"), openai.InternalServerError, 503, "no_target_answered", 2),
    (problem(529, "overloaded_error"), openai.InternalServerError, 503, "no_target_answered", 2),
    (NOTHING, openai.InternalServerError, 504, "no_target_answered", 2),
    (Reply(status=None, ending="reset"), openai.InternalServerError, 503, "no_target_answered", 2),
    (refused(502, b"<html>bad gateway</html>"), openai.InternalServerError, 503, "no_target_answered", 2),
]
NAMES = [f"{reply.status}-{code}-{n}" for n, (reply, _, _, code, _) in enumerate(THEIRS)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("reply", "kind", "status", "code", "calls"), THEIRS, ids=NAMES)
def test_what_providers_say_raises_the_right_class(
    reply: Reply, kind: type[Told], status: int, code: str | None, calls: int, stream: bool
) -> None:
    """The caller's own faults keep status, code, field and words; our keys' faults are never the caller's 401; silence
    is 504, a throttled provider 429, everything else 503."""
    limits = {"retries_per_target": 0, **QUICK}
    with fronted((OPENAI, [reply]), (OPENAI, [reply]), limits=limits) as front:
        error = ask(front, stream=stream)
        assert (kind, status, code) == (type(error), error.status_code, error.code)
        assert calls == sum(front.calls)
        if calls == 1:
            assert ("messages", "no") == (error.param, error.body["message"])  # type: ignore[index]
        assert {"message", "type", "param", "code"} == set(error.body)  # type: ignore[call-overload]


def test_a_long_wait_is_told_as_it_was_asked() -> None:
    """`retry-after` is what the provider wants, in whole seconds, however long."""
    for asked, expected in (("77", "77"), ("86400", "86400"), ("0.2", "1")):
        limited = problem(429, "x", retry_after=asked)
        with fronted((OPENAI, [limited]), (OPENAI, [limited]), limits={"retries_per_target": 0}) as front:
            assert expected == ask(front).response.headers["retry-after"]


RETRIED = [(429, 2), (500, 2), (503, 2), (529, 2), (400, 1), (422, 1)]


@pytest.mark.parametrize(("status", "times"), RETRIED)
def test_the_sdk_retries_what_may_pass(status: int, times: int) -> None:
    """One retry of the SDK's own: throttling and failures are asked again, the caller's faults are not."""
    reply = problem(status, "x", retry_after="0") if status == 429 else problem(status, "x")
    with fronted((OPENAI, [reply]), (OPENAI, [reply]), limits={"retries_per_target": 0, **QUICK}) as front:
        ask(front, retries=1)
        refused_ones = [fields for message, fields in front.router.log.lines if message == "decision"]
        assert times == len(refused_ones)


def test_a_broken_stream_raises_in_the_sdk() -> None:
    """Half an answer ends in the SDK's own exception with our code, after the text that came."""
    half = Reply(headers={"content-type": "text/event-stream"}, pieces=[(0.0, p) for p in OPENAI.pieces(["he", "llo"])])
    with fronted((OPENAI, [half.broken("close", after=3)]), (OPENAI, [problem(500, "x")]), limits=QUICK) as front:
        client, text = front.client(), ""
        asked = [{"role": "user", "content": "hi"}]
        with pytest.raises(openai.APIError) as caught:
            for chunk in client.chat.completions.create(model="chat", messages=asked, stream=True):  # type: ignore[call-overload]
                text += chunk.choices[0].delta.content or ""
        assert ("he", "stream_broken") == (text, caught.value.code)
