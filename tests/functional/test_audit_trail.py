"""What the audit has of a request when its answer is over: one record, whatever became of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.audited import verified
from tests.one_router import KEY, Router, play, read, routed
from tests.raw_provider import RawProvider, Reply
from tests.spoken import OPENAI, refused, streamed
from understudy.keys import hash_key
from understudy.runtime.gateway import ApiRequest

TEXT = "a long answer"
SECRET_WORDS = "my diagnosis"
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine() -> Reply:
    return streamed(OPENAI.pieces([TEXT[:3], TEXT[3:]]))


def floats(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [one for inner in (value.values() if isinstance(value, dict) else value) for one in floats(inner)]
    return [value] if isinstance(value, float) else []


def only(router: Router) -> dict[str, Any]:
    (record,) = router.records
    assert [] == floats(record), "what reads and writes a float may write another text"
    day = json.loads(router.audit[0])["audit"]["segment"].partition("/")[0]
    assert () == verified(router.audit, router.store.heads(day)).flaws
    return record


@both
def test_an_answer_leaves_one_record(stream: bool) -> None:
    """Who asked, which route and document, what was in force, who was asked and who answered; no word of either."""
    body = {"messages": [{"role": "user", "content": SECRET_WORDS}]}
    price = {"price": {"input_per_million": "1", "output_per_million": "2"}}
    scene = play(
        (OPENAI, [refused(500, b"")]),
        (OPENAI, [fine()]),
        stream=stream,
        body=body,
        spare_has=price,
        limits={"retries_per_target": 0},
    )
    record = only(scene.router)
    assert {"name": "app", "key": hash_key(KEY)[:12], "owner": ""} == record["client"]
    assert ("chat", 1, "ok", {}) == tuple(record[n] for n in ("route", "document_version", "outcome", "constraints"))
    assert ["lead", "spare"] == record["candidates"]
    tried = [(a["target"], a["model"], a["outcome"], a["status"]) for a in record["attempts"]]
    assert [("lead", "model-lead", "transient", 500), ("spare", "model-spare", "ok", None)] == tried
    assert ("spare", []) == (record["target"], record["resumed"])
    assert scene.told.headers["x-understudy-request-id"] == record["request_id"]
    assert record["cost_usd"] == scene.router.decision["cost_usd"]
    assert record["attempts"][1]["reported_model"] == record["reported_model"]
    assert not any(word in line for line in scene.router.audit for word in (SECRET_WORDS, TEXT, KEY))


@both
def test_a_request_that_nobody_answers_leaves_one_record(stream: bool) -> None:
    """It says what came of it."""
    scene = play((OPENAI, [refused(500, b"")]), (OPENAI, [refused(500, b"")]), stream=stream)
    assert ("NoTargetAnswered", None) == tuple(only(scene.router)[n] for n in ("outcome", "target"))


def test_an_answer_that_changed_hands_says_where() -> None:
    """From which target to which, at which character; a stream that nobody could go on with says that it broke."""
    cut = OPENAI.pieces([TEXT[:6], TEXT[6:]])[:3]
    resumed = play((OPENAI, [streamed(cut)]), (OPENAI, [fine()]), stream=True, limits={"retries_per_target": 0})
    record = only(resumed.router)
    (told,) = record["resumed"]
    assert ("ok", "spare", "lead", "spare", 6) == (
        record["outcome"],
        record["target"],
        told["from"],
        told["to"],
        told["at"],
    )
    broken = play((OPENAI, [streamed(cut)]), (OPENAI, [refused(500, b"")]), stream=True)
    assert "StreamBroken" == only(broken.router)["outcome"]


def test_denials_name_their_rules() -> None:
    """Where constraints leave nobody, the record says who asked, what was in force, and which rule denied each."""
    route = {"constraints": {"no_training": True}}
    lead = {"data": {"trains_on_data": False}}

    async def story() -> Router:
        one, other = RawProvider(fine()), RawProvider(fine())
        async with routed((OPENAI, one), (OPENAI, other), lead_has=lead, **route) as router:
            await router.ask(stream=False)
            return router

    record = only(asyncio.run(story()))
    assert ("lead", {"no_training": True}) == (record["target"], record["constraints"])
    assert [("spare", "no_training")] == [(one["target"], one["rule"]) for one in record["denied"]]


@pytest.mark.parametrize(
    ("headers", "body", "outcome", "status", "who"),
    [
        ({}, {}, "Unauthenticated", 401, None),
        ({"authorization": "Bearer us-other"}, {}, "Unauthenticated", 401, {"key": hash_key("us-other")[:12]}),
        ({"authorization": f"Bearer {KEY}"}, {"model": "nobody"}, "UnknownModel", 404, "app"),
        ({"authorization": f"Bearer {KEY}"}, {"messages": 7}, "InvalidRequest", 400, "app"),
    ],
    ids=["no key", "unknown key", "unknown model", "malformed"],
)
def test_a_request_that_is_turned_away_leaves_a_record(
    headers: dict[str, str], body: dict[str, Any], outcome: str, status: int, who: Any
) -> None:
    """Who asked, as far as it is known, by which rule, and nothing that the caller wrote."""

    async def story() -> Router:
        async with routed((OPENAI, RawProvider(fine())), (OPENAI, RawProvider(fine()))) as router:
            whole = {"model": "chat", "messages": [{"role": "user", "content": SECRET_WORDS}], **body}
            asked = ApiRequest("POST", "/chat/completions", headers, json.dumps(whole).encode(), "")
            await read(await router.service.answer(asked))
            return router

    router = asyncio.run(story())
    record = only(router)
    assert (outcome, status) == (record["outcome"], record["status"])
    assert who == (record["client"]["name"] if who == "app" else record["client"])
    assert not any(word in router.audit[0] for word in (SECRET_WORDS, KEY, "us-other"))


@both
def test_content_is_kept_where_a_route_asks_for_it(stream: bool) -> None:
    """Prompt and answer, cut where they are too long, and only there."""
    body = {"messages": [{"role": "user", "content": SECRET_WORDS + " x" * 20_000}]}
    scene = play((OPENAI, [fine()]), (OPENAI, [fine()]), stream=stream, body=body, audit_content=True)
    content = only(scene.router)["content"]
    assert (TEXT, True, 32_000) == (content["answer"], content["cut"], len(content["prompt"]))
    assert SECRET_WORDS in content["prompt"]
