"""Every fault that a provider can commit before the first token: what the caller sees of it, and what the provider.

Real sockets, both wires as lead and as understudy, callers that stream and callers that do not.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.one_router import Case, play, play_all, routed
from tests.raw_provider import RawProvider, Reply, closed_port
from tests.spoken import CROSSED, JSON, SSE, Speaker, event, refused, streamed
from understudy.health.item import Health
from understudy.health.latency import bucket

TEXT = "Grüße 🙂 無限"
NOTHING = Reply(status=None, ending="hang")
"""Accepted, and never answered."""

crossed = pytest.mark.parametrize(("lead", "spare"), CROSSED, ids=[lead.wire for lead, _ in CROSSED])
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine(speaker: Speaker, text: str = TEXT) -> Reply:
    return streamed(speaker.pieces([text[:3], text[3:]]))


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# rate limits


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_short_retry_after_is_waited_out_on_the_same_target(form: str) -> None:
    """429 with a Retry-After of two seconds: the second call comes when it is over, on the lead, and is the answer."""

    async def gap(lead: Speaker, spare: Speaker, stream: bool) -> tuple[bool, tuple[int, int], bool]:
        def limited(body: dict[str, Any]) -> Reply:
            now = datetime.now(UTC).replace(microsecond=0)
            until = format_datetime(now + timedelta(seconds=2), usegmt=True)
            hint = {"retry_after": "2"} if form == "seconds" else {"retry_after": until}
            return refused(429, lead.problem("rate_limit_error", "slow down"), date=format_datetime(now, True), **hint)

        first, second = RawProvider(limited, fine(lead)), RawProvider(fine(spare))
        async with routed((lead, first), (spare, second)) as router:
            told = await router.ask(stream=stream)
        calls = len(first.calls), len(second.calls)
        return told.whole(TEXT), calls, 1.8 <= first.calls[1].at - first.calls[0].at <= 2.6

    async def all_at_once() -> list[tuple[bool, tuple[int, int], bool]]:
        cases = [gap(lead, spare, stream) for lead, spare in CROSSED for stream in (False, True)]
        return await asyncio.gather(*cases)

    assert [(True, (2, 0), True)] * 2 * len(CROSSED) == asyncio.run(all_at_once())


HINTS: dict[str, Callable[[], dict[str, str]]] = {
    "seconds": lambda: {"retry_after": "30"},
    "date": lambda: {"retry_after": format_datetime(seconds_from_now(30), usegmt=True)},
    "requests": lambda: {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "30s"},
    "tokens": lambda: {
        "x_ratelimit_remaining_requests": "9",
        "x_ratelimit_reset_requests": "6m0s",
        "x_ratelimit_remaining_tokens": "0",
        "x_ratelimit_reset_tokens": "29.5s",
    },
    "rfc3339": lambda: {
        "anthropic_ratelimit_requests_remaining": "0",
        "anthropic_ratelimit_requests_reset": seconds_from_now(30).isoformat(),
    },
}


@crossed
@pytest.mark.parametrize("hint", HINTS)
def test_a_long_hint_fails_over_now_and_benches_the_target_for_all(hint: str, lead: Speaker, spare: Speaker) -> None:
    """A hint above the cap is not waited for: the understudy answers, and until then no instance asks the lead."""

    async def scene() -> None:
        limited = refused(429, lead.problem("rate_limit_error", "slow down"), **HINTS[hint]())
        first, second = RawProvider(limited, fine(lead)), RawProvider(fine(spare))
        async with routed((lead, first), (spare, second)) as router:
            told = [await router.ask(stream=stream) for stream in (True, False)]
            assert [True, True] == [one.whole(TEXT) and one.seconds < 1 for one in told]
            assert (1, 2) == (len(first.calls), len(second.calls))
            effect = router.decision["candidates"][-1]["reason"]
            # An answer's own date has no fractions of a second.
            assert re.match(r"last resort: benched by the provider for (2[789]|3[01])\.", effect)
            until = router.fold()["lead"].benched_until - time.time()
            assert 27 < until <= 31
            other = router.beside()
            assert (await other.ask(stream=True)).whole(TEXT)
            await other.transport.close()
            assert (1, 3) == (len(first.calls), len(second.calls))

    asyncio.run(scene())


# overload and blips

BUSY = [(429, "rate_limit_error"), (503, "overloaded_error"), (529, "overloaded_error")]


@crossed
@pytest.mark.parametrize(("status", "kind"), BUSY)
def test_a_persistent_overload_costs_few_attempts(status: int, kind: str, lead: Speaker, spare: Speaker) -> None:
    """Twelve requests, of which the lead can serve none: all are answered, and it is asked four times at most."""

    async def scene() -> None:
        first, second = RawProvider(refused(status, lead.problem(kind, "busy"))), RawProvider(fine(spare))
        async with routed((lead, first), (spare, second)) as router:
            told = [await router.ask(stream=n % 2 == 0) for n in range(12)]
        assert [True] * 12 == [one.whole(TEXT) for one in told]
        assert 1 <= len(first.calls) <= 4

    asyncio.run(scene())


BLIPS: dict[str, Callable[[Speaker], Reply]] = {
    "500": lambda speaker: refused(500, speaker.problem("server_error", "oops")),
    "502 without words": lambda speaker: refused(502, b"<html><h1>Bad gateway</h1></html>", content_type="text/html"),
    "reset": lambda speaker: Reply(status=None, ending="reset"),
    "closed": lambda speaker: Reply(status=None, ending="close"),
    "closed in the head": lambda speaker: Reply(headers=SSE, ending="close"),
    "error event first": lambda speaker: streamed([speaker.error("api_error")]),
}


@crossed
@both
@pytest.mark.parametrize("blip", BLIPS)
def test_a_blip_is_retried_once_on_the_same_target(blip: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A server error or a broken connection that happens once: exactly one more call, on the lead, and its answer."""
    scene = play((lead, [BLIPS[blip](lead), fine(lead)]), (spare, [fine(spare, "spare")]), stream=stream)
    assert scene.told.whole(TEXT)
    assert ((2, 0), "lead") == (scene.calls, scene.told.target)


@crossed
@both
def test_a_refused_connection_fails_over(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """Nobody listens at the lead's address: the understudy answers."""

    async def scene() -> None:
        second = RawProvider(fine(spare))
        async with routed((lead, closed_port()), (spare, second)) as router:
            assert (await router.ask(stream=stream)).whole(TEXT)
            assert ["transient", "transient", "ok"] == [one["outcome"] for one in router.decision["attempts"]]

    asyncio.run(scene())


# silence

SILENCES: dict[str, Callable[[Speaker], Reply]] = {
    "never answers": lambda speaker: NOTHING,
    "head only": lambda speaker: Reply(headers=SSE, ending="hang"),
    "role only": lambda speaker: streamed(speaker.pieces(["x"])[:2]).broken("hang", after=2),
    "keep-alives": lambda speaker: streamed([b": still here\n\n"] * 99, gap=0.02),
    "late": lambda speaker: fine(speaker).late(20),
    "late after the head": lambda speaker: Reply(headers=SSE, pieces=[(20.0, b"".join(speaker.pieces(["x"])))]),
}


@crossed
@both
def test_silence_is_left_at_the_first_token_limit(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """Whatever keeps the line open without a token: the call is given up at the limit, once, and the lead not asked
    again."""
    cases = {
        silence: Case((lead, [SILENCES[silence](lead)]), (spare, [fine(spare)]), stream=stream) for silence in SILENCES
    }
    for scene in play_all(cases).values():
        assert scene.told.whole(TEXT)
        assert ((1, 1), ["silent", "ok"]) == (scene.calls, scene.outcomes)
        assert (True, True) == (scene.lead.calls[0].aborted, 1 <= scene.told.seconds < 2.5)


@crossed
def test_a_known_target_is_left_sooner(lead: Speaker, spare: Speaker) -> None:
    """Once the lead's own first tokens are known, a third of a second is long for it, whatever the route allows."""

    async def scene() -> None:
        first, second = RawProvider(NOTHING), RawProvider(fine(spare))
        limits = {"first_token_s": 30, "first_token_min_s": 0.2, "request_s": 60}
        async with routed((lead, first), (spare, second), limits=limits) as router:
            router.store.put_health(Health("lead", first_tokens=((bucket(0.08), 50.0),)))
            told = await router.ask(stream=True)
        assert told.whole(TEXT)
        assert 0.2 <= told.seconds < 1
        assert ["silent", "ok"] == [one["outcome"] for one in router.decision["attempts"]]

    asyncio.run(scene())


# what is no answer

HTML = b"<!DOCTYPE html><html><body>Welcome</body></html>"
Garbage = Callable[[Speaker], Reply]
GARBAGE: dict[str, Garbage] = {
    "html": lambda speaker: Reply(headers={"content-type": "text/html"}, pieces=[(0.0, HTML)]),
    "html as json": lambda speaker: Reply(headers=JSON, pieces=[(0.0, HTML)]),
    "html as events": lambda speaker: streamed([HTML]),
    "no content type": lambda speaker: Reply(pieces=[(0.0, speaker.whole("hello"))]),
    "wrong content type": lambda speaker: Reply(
        headers={"content-type": "text/plain"}, pieces=[(0.0, speaker.whole("hello"))]
    ),
    "no choices": lambda speaker: Reply(headers=JSON, pieces=[(0.0, b'{"id":"x","choices":[],"content":[]}')]),
    "null choices": lambda speaker: Reply(headers=JSON, pieces=[(0.0, b'{"id":"x","choices":null}')]),
    "an empty answer": lambda speaker: Reply(headers=JSON, pieces=[(0.0, speaker.whole(""))]),
    "an empty stream of pieces": lambda speaker: streamed(speaker.pieces(["", ""])),
    "an empty body": lambda speaker: Reply(headers=JSON),
    "an empty stream": lambda speaker: Reply(headers=SSE),
    "a bare end marker": lambda speaker: streamed([event("[DONE]")]),
    "truncated json": lambda speaker: Reply(headers=JSON, pieces=[(0.0, speaker.whole("hello")[:-40])]),
    "json cut by the connection": lambda speaker: Reply(
        headers=JSON, pieces=[(0.0, speaker.whole("hello")[:-40])], ending="close"
    ),
    "json shorter than its length": lambda speaker: Reply(
        headers=JSON | {"content-length": "9999", "transfer-encoding": "identity"}, ending="close"
    ),
    "an error with status 200": lambda speaker: Reply(
        headers=JSON, pieces=[(0.0, speaker.problem("api_error", "sorry"))]
    ),
    "an error as first event": lambda speaker: streamed([speaker.error("api_error")]),
    "an overload as first event": lambda speaker: streamed([speaker.error("overloaded_error")]),
    "no stop reason": lambda speaker: streamed(speaker.pieces(["hello"])[:2]),
    "a redirect": lambda speaker: Reply(302, {"location": "http://127.0.0.1:1/"}),
    "no content": lambda speaker: Reply(204, {"content-length": "0", "transfer-encoding": "identity"}),
}


@crossed
@both
@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_answer_is_never_given(garbage: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A 200 that holds no answer is tried once more and then the understudy answers; the caller sees only that."""
    scene = play((lead, [GARBAGE[garbage](lead)]), (spare, [fine(spare)]), stream=stream)
    assert scene.told.whole(TEXT)
    assert (2, 1) == scene.calls
    assert {"garbage", "transient", "overloaded"} >= set(scene.outcomes[:2])


@crossed
@pytest.mark.parametrize("stream", [False])
def test_a_clean_end_without_a_stop_reason_is_no_answer(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """All text but no stop reason, and then a clean end: nobody knows whether it is whole, so it is not given."""
    unfinished = streamed(lead.pieces([TEXT])[:3])
    scene = play((lead, [unfinished]), (spare, [fine(spare)]), stream=stream)
    assert scene.told.whole(TEXT)
    assert ["garbage", "garbage", "ok"] == scene.outcomes


# blemishes


@crossed
@both
@pytest.mark.parametrize("bad", [b'data: {"choices": [{"del\n\n', b"data: \xff\xfe\n\n", b"data: [1, 2]\n\n"])
def test_one_malformed_event_is_skipped(bad: bytes, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """One event that cannot be read costs nothing: the answer is complete, from the lead, in one call."""
    pieces = lead.pieces([TEXT[:3], TEXT[3:]])
    scene = play((lead, [streamed([*pieces[:3], bad, *pieces[3:]])]), (spare, [fine(spare)]), stream=stream)
    assert scene.told.whole(TEXT)
    assert (1, 0) == scene.calls


@crossed
@both
@pytest.mark.parametrize("ending", ["clean", "close", "hang"])
def test_a_missing_end_marker_costs_a_second_at_most(ending: Any, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """The stop reason and the counts came, the end marker never: the answer is whole, with its usage, within 1.2 s."""
    pieces = lead.pieces([TEXT])[:-1]
    scene = play(
        (lead, [streamed(pieces).broken(ending, after=len(pieces))]),
        (spare, [fine(spare)]),
        stream=stream,
        body={"stream_options": {"include_usage": True}} if stream else None,
        limits={"stall_s": 10},
    )
    assert scene.told.whole(TEXT)
    assert ((1, 0), True) == (scene.calls, scene.told.seconds < 1.2)
    assert scene.told.usage is not None
    assert (11, 7) == (scene.told.usage["prompt_tokens"], scene.told.usage["completion_tokens"])


@crossed
@pytest.mark.parametrize(("gap", "stall"), [(0.2, 10), (30.0, 0.3)], ids=["keep-alives", "stall limit"])
def test_nothing_after_the_stop_reason_breaks_the_answer(
    gap: float, stall: float, lead: Speaker, spare: Speaker
) -> None:
    """Neither keep-alives without end nor a short stall limit turn a finished answer into a failure."""
    pieces = lead.pieces([TEXT])[:-1]
    endless = Reply(headers=SSE, pieces=[*((0.0, piece) for piece in pieces), *([(gap, b": still here\n\n")] * 50)])
    scene = play((lead, [endless]), (spare, [fine(spare)]), limits={"stall_s": stall})
    assert scene.told.whole(TEXT)
    assert ((1, 0), ["ok"], True) == (scene.calls, scene.outcomes, scene.told.seconds < 1.3)
