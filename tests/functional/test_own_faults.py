"""A fault of our own in the middle of an answer: the caller is told, the log has it, and it does not pass unnoticed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tests.one_router import Router, Told, document, read
from tests.played import PROVIDERS, Playing
from understudy.runtime.gateway import Answer
from understudy.runtime.loop import LoopThread

FAILED = "the router failed"


def router() -> Router:
    return Router(document(PROVIDERS), transport=Playing())


def says(play: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": play}]


def test_a_bug_is_said_logged_and_raised() -> None:
    """The stream ends with an error event, the log has the fault and the request's id, the reader gets the fault."""
    made, said = router(), bytearray()

    async def story() -> None:
        answered = await made.answer(stream=True, messages=says("bug"))
        assert not isinstance(answered.body, bytes)
        async with aclosing(answered.body) as pieces:
            async for piece in pieces:
                said.extend(piece)

    with pytest.raises(RuntimeError, match="a bug in our own parser"):
        asyncio.run(story())
    assert (True, False, False) == (b"router_failed" in said, b"[DONE]" in said, b"parser" in said)
    lines = [fields for message, fields in made.log.lines if message == FAILED]
    assert ([made.decision["request_id"]], "RuntimeError") == (
        [line["request_id"] for line in lines],
        made.decision["outcome"],
    )


def test_what_a_provider_does_wrong_is_no_fault_of_ours() -> None:
    """A stream that runs out of time ends with an error event too, but nothing is raised, and no fault is logged."""
    made = router()

    async def story() -> Told:
        headers = {"x-understudy-deadline-ms": "200"}
        return await read(await made.answer(stream=True, headers=headers, messages=says("trickle")))

    told = asyncio.run(story())
    assert (True, "StreamBroken") == (told.broken, made.decision["outcome"])
    assert [] == [message for message, _ in made.log.lines if message == FAILED]


def test_a_whole_answer_keeps_what_was_said_before_a_bug() -> None:
    """Where answers are returned whole, text and error event are in the body, not lost to an error of the gateway."""
    loop, made = LoopThread(), router()
    answered = loop.run(made.answer(stream=True, messages=says("bug")))
    assert not isinstance(answered.body, bytes)
    chunks, close = loop.iterate(answered.body)
    body = Answer(answered.status, answered.headers, chunks=chunks, close=close).proxy()["body"]
    loop.stop()
    assert (True, True) == ('"content":"Hel"' in body, body.endswith('"code":"router_failed"}}\n\n'))
