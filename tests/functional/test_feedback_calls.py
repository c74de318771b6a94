"""Feedback over HTTP, through the real handlers and a real table: from an answer to a value of its target."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.stack import LocalStack
from tests.e2e.clients.document import ACCESS
from tests.local_stacks import local_stack

DOCUMENT = {
    "schema": 1,
    "providers": {"openai": {"wire": "openai", "base_url": "${openai_url}", "simulated": True, **ACCESS["openai"]}},
    "targets": {"lead": {"provider": "openai", "model": "simulated-m"}},
    "routes": {"judged": {"targets": ["lead"], "feedback": True}, "plain": {"targets": ["lead"]}},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with local_stack(Path(tmp_path_factory.mktemp("feedback")), json.dumps(DOCUMENT)) as stack:
        yield stack


def post(stack: LocalStack, path: str, body: object, key: str = "us-test") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{stack.base_url}{path}", json=body, headers=headers, trust_env=False)


def asked(stack: LocalStack, route: str, **fields: Any) -> str:
    """The id of a request that was answered."""
    body = {"model": route, "messages": [{"role": "user", "content": "Are you there?"}], **fields}
    answer = post(stack, "/chat/completions", body)
    assert 200 == answer.status_code
    return answer.headers["x-request-id"]


def judged(stack: LocalStack, request_id: str, score: object, key: str = "us-test") -> httpx.Response:
    """The answer to feedback; the note of the request itself may come a moment after its answer."""
    for _ in range(40):
        answer = post(stack, "/feedback", {"request_id": request_id, "score": score}, key)
        if answer.status_code != 404:
            break
        time.sleep(0.05)
    return answer


def values(stack: LocalStack) -> list[list[Any]]:
    """The kinds, values and streams of feedback in the table."""
    assert stack.store is not None
    found = stack.store._table.query("target#lead", prefix="observation#")
    samples = [sample for item in found for sample in item.body["samples"] if "feedback" in str(sample)]
    return [[kind, value, stream] for kind, value, _, stream in samples]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["param"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_is_judged_once(stack: LocalStack, stream: bool) -> None:
    """A streamed answer and a whole one alike; the same judgement again is taken for the same one."""
    before = values(stack)
    request_id = asked(stack, "judged", stream=stream)
    first, again = judged(stack, request_id, "good"), judged(stack, request_id, 1)
    assert (204, b"", 204) == (first.status_code, first.content, again.status_code)
    assert (409, "feedback_given", None) == error(judged(stack, request_id, "bad"))
    assert [*before, ["quality", 1.0, "feedback:judged"]] == values(stack)


def test_who_may_not_judge_is_told_so_in_openais_shape(stack: LocalStack) -> None:
    """An unknown id, a route that does not ask for feedback, a missing or unknown key, a wrong body or method."""
    unknown = post(stack, "/feedback", {"request_id": "nobody's", "score": 1})
    assert (400, "invalid_type", "request_id") == error(unknown)
    assert (404, "answer_not_found", "request_id") == error(post(stack, "/feedback", {"request_id": "x", "score": 1}))
    plain = asked(stack, "plain")
    assert (404, "answer_not_found", "request_id") == error(post(stack, "/feedback", {"request_id": plain, "score": 1}))
    for key in ("", "us-other"):
        assert 401 == post(stack, "/feedback", {"request_id": plain, "score": 1}, key).status_code
    assert (400, "invalid_type", "score") == error(post(stack, "/feedback", {"request_id": plain}))
    got = httpx.get(f"{stack.base_url}/feedback", headers={"authorization": "Bearer us-test"}, trust_env=False)
    assert (405, "POST, OPTIONS") == (got.status_code, got.headers["allow"])
