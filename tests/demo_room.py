"""A room that does what its event says; for tests and benchmarks of the runtime that calls it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

from understudy.runtime.gateway import Answer
from understudy.runtime.loop import LoopThread

SSE = {"content-type": "text/event-stream"}
ended: list[str] = []
"""Answers whose work was ended, by request id."""


@cache
def loop() -> LoopThread:
    return LoopThread()


def handler(event: Any, context: Any) -> Any:
    given = json.loads(event["body"]) if "body" in event else event
    return globals()[given["do"]](given, context)


def stream(event: Any, context: Any) -> Answer:
    """`count` chunks of `size` bytes, `gap` seconds apart; each begins with the moment it was made.  `fail_at`: the
    chunk in whose place an error comes."""

    def close() -> None:
        ended.append(context.aws_request_id)

    return Answer(200, SSE, chunks=_pieces(event), close=close)


def looped(event: Any, context: Any) -> Answer:
    """The same from the event loop's thread."""
    chunks, close = loop().iterate(_source(event, context))
    return Answer(200, SSE, chunks=chunks, close=close)


async def _source(event: Any, context: Any) -> AsyncIterator[bytes]:
    try:
        for number in range(event.get("count", 3)):
            if number:
                await asyncio.sleep(event.get("gap", 0))
            yield _piece(event.get("size", 0))
    finally:
        ended.append(context.aws_request_id)


def _pieces(event: Any) -> Iterator[bytes]:
    for number in range(event.get("count", 3)):
        if number == event.get("fail_at"):
            raise ValueError("a bug, mid-stream: größer")
        if number and (gap := event.get("gap")):
            time.sleep(gap)
        yield _piece(event.get("size", 0))


def _piece(size: int) -> bytes:
    return (b"%d " % time.monotonic_ns()).ljust(size, b".")


def said(event: Any, context: Any) -> Answer:
    """An answer made of what the event gives."""
    chunks = event.get("chunks")
    body = event.get("text", "").encode()
    pieces = None if chunks is None else iter([text.encode() for text in chunks])
    return Answer(event.get("status", 200), event.get("headers", {}), body, pieces)


def plain(event: Any, context: Any) -> Any:
    """A result that is no answer."""
    return event.get("result")


def fail(event: Any, context: Any) -> Any:
    raise KeyError("a bug, before the prelude")


def unfit(event: Any, context: Any) -> Any:
    """A result that is no JSON."""
    return {"of": object()}


def asked(event: Any, context: Any) -> Any:
    """What the room sees of its invocation and its process."""
    return {
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "function": context.function_name,
        "left": context.get_remaining_time_in_millis(),
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "ended": ended,
        "pid": os.getpid(),
    }


def timed(event: Any, context: Any) -> Answer:
    """As `stream`; the last chunk says what they cost this process: processor and wall nanoseconds, in JSON."""
    return Answer(200, SSE, chunks=_timed(_pieces(event)))


def timed_loop(event: Any, context: Any) -> Answer:
    """As `looped`, with the same last chunk."""
    chunks, close = loop().iterate(_source(event, context))
    return Answer(200, SSE, chunks=_timed(chunks), close=close)


def _timed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    cpu, wall = time.process_time_ns(), time.monotonic_ns()
    yield from chunks
    yield json.dumps({"cpu": time.process_time_ns() - cpu, "wall": time.monotonic_ns() - wall}).encode()
