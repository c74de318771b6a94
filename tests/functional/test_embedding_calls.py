"""Embeddings go through the same machine as chats: failover, retries, health, cost, and OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.fronted import Fronted, fronted, said
from tests.raw_provider import Reply
from tests.spoken import JSON, OPENAI, refused
from understudy.chat.embeddings import unpacked

CAN: dict[str, Any] = {"capabilities": {"embeddings": True, "chat": False}}
PRICED = CAN | {"price": {"input_per_million": "1000", "output_per_million": "0"}}
LIMITS = {"connect_s": 2, "first_token_s": 1, "first_token_min_s": 1, "request_s": 6, "retries_per_target": 1}


def vectors(body: dict[str, Any], *, model: str = "e-1", less: int = 0) -> Reply:
    """One vector of two numbers for each text."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [float(i), 0.5]} for i, _ in enumerate(texts)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    whole = {"object": "list", "data": data[: len(data) - less], "model": model, "usage": usage}
    return Reply(headers=JSON, pieces=[(0.0, json.dumps(whole).encode())])


def embed(front: Fronted, text: Any = "hello", **fields: Any) -> Any:
    return front.post({"model": "chat", "input": text, **fields}, "/embeddings")


def both(*lead: Any, **fields: Any) -> Any:
    options: dict[str, Any] = {"lead_has": PRICED, "spare_has": PRICED, "limits": LIMITS} | fields
    return fronted((OPENAI, lead), (OPENAI, [lambda body: vectors(body, model="e-2")]), **options)


def test_openais_client_reads_vectors() -> None:
    """Its default form, base64, and numbers; model, counts and order are the provider's."""
    with both(vectors) as front:
        client = front.client()
        for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            made = client.embeddings.create(model="chat", input=["a", "b"], **form)  # type: ignore[call-overload]
            assert ("list", "e-1", 2, 2) == (made.object, made.model, made.usage.prompt_tokens, made.usage.total_tokens)
            assert [(0, [0.0, 0.5]), (1, [1.0, 0.5])] == [
                (one.index, one.embedding if form.get("encoding_format") != "base64" else unpacked(one.embedding))
                for one in made.data
            ]


def test_the_request_is_the_callers_but_for_the_model() -> None:
    """Bytes as they were written, without nulls; the caller's key stays here."""
    with both(vectors) as front:
        assert 200 == embed(front, "é", dimensions=2, zzz={"b": 1, "a": 2}, user=None).status_code
        (call,) = front.lead.calls
        assert ("/embeddings", "application/json") == (call.path, call.headers["accept"])
        assert '{"model":"model-lead","input":"é","dimensions":2,"zzz":{"b":1,"a":2}}' == call.raw.decode()


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Reply] | Reply, int]] = {
    # what the lead does, calls that it gets
    "500": (refused(500, b""), 2),
    "503": (refused(503, b""), 2),
    "429": (refused(429, b"", retry_after="30"), 1),
    "401": (refused(401, b""), 1),
    "404": (refused(404, b""), 1),
    "silent": (Reply(status=None, ending="hang"), 1),
    "reset": (Reply(status=None, ending="reset"), 2),
    "cut": (Reply(headers=JSON, pieces=[(0.0, b'{"data": [')], ending="close"), 2),
    "a page": (Reply(headers={"content-type": "text/html"}, pieces=[(0.0, b"<html>")]), 2),
    "an error in a 200": (Reply(headers=JSON, pieces=[(0.0, b'{"error": {"message": "busy"}}')]), 2),
    "no vectors": (lambda body: vectors(body, less=1), 2),
    "empty vectors": (Reply(headers=JSON, pieces=[(0.0, b'{"data": [{"embedding": []}]}')]), 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_lead_stays_unseen(fault: str) -> None:
    """The understudy answers, after as many tries as the class of the failure has; the lead's health knows it."""
    reply, tries = FAULTS[fault]
    with both(reply) as front:
        answer = embed(front)
        assert (200, "spare", "e-2") == (
            answer.status_code,
            answer.headers["x-understudy-target"],
            answer.json()["model"],
        )
        assert (tries, 1) == front.calls
        decision = front.router.decision
        assert (["ok"], "/embeddings", False) == (
            [one["outcome"] for one in decision["attempts"] if one["target"] == "spare"],
            decision["front"],
            decision["stream"],
        )
        assert "0.001" == decision["cost_usd"].rstrip("0")


def test_failures_open_the_breaker_as_those_of_chats_do() -> None:
    """After a few of them the lead is not asked any more."""
    with both(refused(500, b"")) as front:
        for _ in range(8):
            assert 200 == embed(front).status_code
        before = len(front.lead.calls)
        assert (200, True, before) == (embed(front).status_code, before < 8, len(front.lead.calls))
        assert "last resort" in front.router.decision["candidates"][-1]["reason"]


def test_the_callers_own_fault_is_given_back() -> None:
    """A provider's 400 is asked once, and keeps its words."""
    with both(refused(400, OPENAI.problem("invalid_request_error", "too many inputs", param="input"))) as front:
        with pytest.raises(openai.BadRequestError, match="too many inputs") as caught:
            front.client().embeddings.create(model="chat", input="x")
        assert ("input", (1, 0)) == (caught.value.param, front.calls)


def test_with_nobody_left_the_error_is_clean() -> None:
    """As for chats: 503 with every cause."""
    with fronted(
        (OPENAI, [refused(500, b"")]), (OPENAI, [refused(500, b"")]), lead_has=CAN, spare_has=CAN, limits=LIMITS
    ) as front:
        answer = embed(front)
        assert (503, "no_target_answered") == (answer.status_code, answer.json()["error"]["code"])


def test_only_those_who_declare_embeddings_are_asked() -> None:
    """The lead does not: it gets no call; where nobody does, a 400 names the model."""
    with both(vectors, lead_has={}) as front:
        assert (200, (0, 1)) == (embed(front).status_code, front.calls)
    with both(vectors, lead_has={}, spare_has={}) as front:
        error = embed(front).json()["error"]
        assert ("unsupported_parameter", "model", (0, 0)) == (error["code"], error["param"], front.calls)


def test_those_who_only_embed_get_no_chats() -> None:
    """The other way round."""
    with fronted((OPENAI, [vectors]), (OPENAI, [said()]), lead_has=CAN) as front:
        answer = front.post({"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
        assert (200, (0, 1)) == (answer.status_code, front.calls)


def test_a_bad_request_calls_nobody() -> None:
    """400, in the same form as everywhere."""
    with both(vectors) as front:
        for body in (b"{", {"model": "chat"}, {"model": "chat", "input": []}, {"model": "chat", "input": {"a": 1}}):
            assert 400 == front.post(body, "/embeddings").status_code
        assert (0, 0) == front.calls


def test_a_failure_that_passes_is_tried_again() -> None:
    """On the same target, as for a chat."""
    with both(refused(500, b""), vectors) as front:
        answer = embed(front)
        assert ("lead", (2, 0)) == (answer.headers["x-understudy-target"], front.calls)
