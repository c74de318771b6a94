"""What a request demands, over every API: refused with the rules where nobody meets it, logged where somebody does."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.one_router import KEY, Router
from tests.played import Playing
from understudy.explain import explain
from understudy.facts import Constraints
from understudy.keys import hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.demands import HEADER
from understudy.services.handling import Answered
from understudy.wire.fronts import FRONTS

DOCUMENT = """
schema: 1
providers:
  a: {wire: openai, base_url: "https://a.invalid"}
  b: {wire: openai, base_url: "https://b.invalid"}
targets:
  here: {provider: a, model: x, capabilities: {embeddings: true}, data: {jurisdictions: [de], retention_days: 30}}
  there: {provider: b, model: y, capabilities: {embeddings: true}, data: {jurisdictions: [us], retention_days: 0}}
routes: {chat: {targets: [there, here]}}
data_classes: {health: {max_retention_days: 0}}
"""
SAID = [{"role": "user", "content": "short"}]
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": SAID},
    "/embeddings": {"input": "short"},
    "/messages": {"messages": SAID, "max_tokens": 9},
    "/messages/count_tokens": {"messages": SAID},
    "/responses": {"input": "short"},
}


class Counting(Playing):
    """Knows how often it was asked."""

    asked = 0

    def send(self, *given: Any, **named: Any) -> Any:
        self.asked += 1
        return super().send(*given, **named)


def asked(router: Router, header: str | None, path: str = "/chat/completions") -> tuple[Answered, dict[str, Any]]:
    headers = {"authorization": f"Bearer {KEY}"} | ({} if header is None else {HEADER: header})
    content = json.dumps({"model": "chat", **BODIES[path]}).encode()
    answered = asyncio.run(router.service.answer(ApiRequest("POST", path, headers, content, "r-1")))
    assert isinstance(answered.body, bytes)
    return answered, json.loads(answered.body)


@pytest.fixture
def router() -> Router:
    return Router(DOCUMENT, transport=Counting())


@pytest.mark.parametrize("path", FRONTS)
def test_nobody_left_is_a_403_that_names_the_rules(router: Router, path: str) -> None:
    """Whatever API the caller speaks, its own shape of error names each candidate's rule, and nothing is sent."""
    answered, body = asked(router, "jurisdictions=eu; max_retention_days=0", path)
    text = body["error"]["message"]
    rules = (
        "there: denied by jurisdictions: us not allowed",
        "here: denied by max_retention_days: keeps data for 30 days",
    )
    assert (403, [True, True], 0) == (answered.status, [rule in text for rule in rules], router.transport.asked)


@pytest.mark.parametrize("path", FRONTS)
def test_a_wrong_header_is_a_400_that_names_it(router: Router, path: str) -> None:
    """What cannot be read is refused before anybody is asked."""
    answered, body = asked(router, "region=eu", path)
    assert (400, True, 0) == (answered.status, f"`{HEADER}` has the unknown word" in body["error"]["message"],
                              router.transport.asked)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "header", "target"),
    [
        (Constraints(), None, "there"),
        (Constraints(), "jurisdictions=eu", "here"),
        (Constraints(frozenset({"eu"})), None, "here"),
        (Constraints(max_retention_days=0), None, "there"),
        (Constraints(classes=frozenset({"health"})), None, "there"),
        (Constraints(denied_models=frozenset({"y"})), "max_retention_days=60", "here"),
    ],
)
def test_the_request_goes_to_whoever_meets_it(
    router: Router, key: Constraints, header: str | None, target: str
) -> None:
    """What the key or the header demands chooses among the route's targets; the others are told with their rule."""
    known = router.store.key(hash_key(KEY))
    router.store.put_key(replace(known, constraints=key))
    answered, _ = asked(router, header)
    assert (200, target) == (answered.status, answered.headers["x-understudy-target"])
    denied = [] if key == Constraints() and header is None else [{"here", "there"} - {target}]
    assert denied == [{one["target"]} for one in router.decision["denied"]]


def test_the_constraints_in_force_are_told(router: Router) -> None:
    """The decision has what was demanded of whoever saw the request, and `explain` says it with the denials."""
    asked(router, "jurisdictions=eu; data_class=health; max_retention_days=90")
    asked(router, "jurisdictions=eu")
    refused = next(fields for message, fields in router.log.lines if message == "refused")
    assert {"jurisdictions": ["eu"], "max_retention_days": 0, "classes": ["health"]} == refused["constraints"]
    told = explain([{"message": "decision", "at": time.time(), **router.decision}]).splitlines()
    assert "constraints: jurisdictions eu" in told
    assert "denied:      there  denied by jurisdictions: us not allowed" in told
    words = explain([{"message": "refused", "at": time.time(), **refused}])
    assert "constraints: jurisdictions eu, max retention days 0, classes health" in words
