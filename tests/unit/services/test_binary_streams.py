"""A stream is read by the form that its content type names, and what comes after the stop reason breaks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from infra.local.simulators.bedrock_frames import event
from tests import builders
from understudy.errors import Garbage
from understudy.services.upstream import Upstream
from understudy.transport.eventstream import EventStream
from understudy.transport.secrets import ReferencedSecrets
from understudy.wire.base import Event
from understudy.wire.bedrock import EVENT_STREAM

START = event("messageStart", b'{"role":"assistant"}')
TEXT = event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"hello"}}')
STOP = event("messageStop", b'{"stopReason":"end_turn"}')
COUNTS = event("metadata", b'{"usage":{"inputTokens":1,"outputTokens":2}}')
UNREADABLE = event("contentBlockDelta", b"{")


def damaged(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


class Answering:
    """A reply in reads; satisfies `understudy.ports.Reply`."""

    status = 200

    def __init__(self, reads: tuple[bytes, ...], kind: str) -> None:
        self.headers: Mapping[str, str] = {"content-type": kind}
        self._reads = reads

    async def body(self) -> AsyncIterator[bytes]:
        for read in self._reads:
            yield read


class Provider:
    """Answers with these reads; `seen` are the headers it was sent."""

    def __init__(self, *reads: bytes, kind: str = EVENT_STREAM) -> None:
        self._reads, self._kind = reads, kind
        self.seen: list[Mapping[str, str]] = []

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AsyncIterator[Answering]:
        self.seen.append(headers)
        yield Answering(self._reads, self._kind)


async def told(provider: Provider, *, reads_frames: bool = True) -> tuple[str, int]:
    """The text, and the tokens of the answer that were counted."""
    framings = {EVENT_STREAM: partial(EventStream, Event)} if reads_frames else {}
    secrets = ReferencedSecrets({}, lambda _: None, lambda: 0.0)
    ask = Upstream(provider, secrets, "understudy/test", lambda: 0.0, framings=framings)
    made = builders.target("lead")
    target = replace(made, provider=replace(made.provider, wire="bedrock"))
    chunks = [chunk async for chunk in ask(builders.request(), target, connect=1)]
    # The protocol names neither the answer nor its model.
    assert ({target.model}, 1) == ({chunk.model for chunk in chunks}, len({c.payload["id"] for c in chunks}))
    return builders.text_of(chunks), sum(chunk.usage.completion_tokens for chunk in chunks if chunk.usage)


def test_frames_are_asked_for_and_read() -> None:
    """The call says what form it wants, and the answer in that form is the answer."""
    provider = Provider(START + TEXT[:9], TEXT[9:] + STOP, COUNTS)
    assert ("hello", 2) == asyncio.run(told(provider))
    assert EVENT_STREAM == provider.seen[0]["accept"]


@pytest.mark.parametrize("tail", [damaged(COUNTS), COUNTS[:-5], b"x" * 40, b""])
def test_what_is_damaged_behind_the_stop_reason_breaks_nothing(tail: bytes) -> None:
    """The answer is whole; only its counts are missing."""
    assert ("hello", 0) == asyncio.run(told(Provider(START, TEXT, STOP, tail)))
    assert ("hello", 0) == asyncio.run(told(Provider(START + TEXT + STOP + tail)))


@pytest.mark.parametrize(
    "reads",
    [
        (START, damaged(TEXT), STOP),
        (START + TEXT + damaged(STOP),),
        (START, TEXT, STOP[:-1]),
        (START, UNREADABLE, UNREADABLE, TEXT, STOP),
        (b"data: {}\n\n",),
    ],
)
def test_what_is_damaged_before_it_is_garbage(reads: tuple[bytes, ...]) -> None:
    """A checksum that does not fit, a frame that is cut, more than one event that cannot be read, another form."""
    with pytest.raises(Garbage):
        asyncio.run(told(Provider(*reads)))


def test_one_unreadable_event_is_skipped() -> None:
    """As in any stream."""
    assert ("hello", 2) == asyncio.run(told(Provider(START, UNREADABLE, TEXT, STOP, COUNTS)))


def test_a_form_that_nobody_reads_is_no_answer() -> None:
    """Without its framing the content type is as strange as any."""
    with pytest.raises(Garbage, match="instead of an answer"):
        asyncio.run(told(Provider(START, TEXT, STOP), reads_frames=False))
