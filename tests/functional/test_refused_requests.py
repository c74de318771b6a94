"""Faults of the request itself and of our own credentials: who is asked, who is not, and what the caller is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.one_router import SECRET, play, routed
from tests.raw_provider import RawProvider, Reply
from tests.spoken import ANTHROPIC, CROSSED, OPENAI, Speaker, event, refused, streamed

TEXT = "Grüße 🙂 無限"

crossed = pytest.mark.parametrize(("lead", "spare"), CROSSED, ids=[lead.wire for lead, _ in CROSSED])
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine(speaker: Speaker, text: str = TEXT) -> Reply:
    return streamed(speaker.pieces([text[:3], text[3:]]))


# the caller's own faults

TOO_LONG: dict[str, Callable[[Speaker], Reply]] = {
    "code": lambda speaker: refused(400, speaker.problem("invalid_request_error", "x", code="context_length_exceeded")),
    "words": lambda speaker: refused(
        400,
        speaker.problem(
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum"
            if speaker is ANTHROPIC
            else "This model's maximum context length is 8192 tokens.",
        ),
    ),
    "413": lambda speaker: refused(413, speaker.problem("request_too_large", "Request exceeds the maximum size")),
    "413 without words": lambda speaker: refused(413, b""),
    "event": lambda speaker: streamed(
        [speaker.error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")]
    ),
}


@crossed
@both
@pytest.mark.parametrize("said", TOO_LONG)
@pytest.mark.parametrize(("window", "answered"), [(200_000, True), (8000, False), (None, False)])
def test_a_prompt_that_is_too_long_goes_only_to_a_larger_window(
    said: str, window: int | None, answered: bool, lead: Speaker, spare: Speaker, stream: bool
) -> None:
    """One call on the lead; then a target that declares a larger window, or the provider's own refusal."""
    scene = play(
        (lead, [TOO_LONG[said](lead)]),
        (spare, [fine(spare)]),
        stream=stream,
        lead_has={"capabilities": {"context_window": 8000}},
        spare_has={"capabilities": {"context_window": window}},
    )
    assert (1, int(answered)) == scene.calls
    if answered:
        assert scene.told.whole(TEXT)
        return
    error = json.loads(scene.told.raw)["error"]
    assert (400, "context_length_exceeded") == (scene.told.status, error["code"])
    assert "spare" in scene.router.decision["skipped"][0]["target"]


REFUSALS: dict[str, Callable[[Speaker], Reply]] = {
    "answer": lambda speaker: refused(
        400, speaker.problem("invalid_request_error", "Flagged by our policy.", code="content_filter")
    ),
    "event": lambda speaker: (
        streamed([event({"error": {"message": "Flagged by our policy.", "code": "content_filter"}})])
        if speaker is OPENAI
        else streamed(
            [
                event(
                    {"type": "error", "error": {"type": "content_filter", "message": "Flagged by our policy."}}, "error"
                )
            ]
        )
    ),
}


@crossed
@both
@pytest.mark.parametrize("said", REFUSALS)
def test_a_refusal_is_propagated_once(said: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """One call, nobody else is asked, and the caller gets the provider's own reason."""
    scene = play((lead, [REFUSALS[said](lead)]), (spare, [fine(spare)]), stream=stream)
    error = json.loads(scene.told.raw)["error"]
    assert (400, "content_filter", (1, 0)) == (scene.told.status, error["code"], scene.calls)
    assert "Flagged by our policy." == error["message"]


@crossed
@both
def test_a_route_may_opt_in_to_ask_another_after_a_refusal(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """The understudy answers, and the decision log has the refusal, not its words, and who answered instead."""
    scene = play((lead, [REFUSALS["answer"](lead)]), (spare, [fine(spare)]), stream=stream, reroute_refusals=True)
    assert scene.told.whole(TEXT)
    attempts = scene.router.decision["attempts"]
    assert [("lead", "refusal", "status 400, code content_filter"), ("spare", "ok", "")] == [
        (one["target"], one["outcome"], one["detail"]) for one in attempts
    ]


@crossed
@both
def test_a_callers_bad_request_is_asked_once(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A 400 for the caller's own mistake goes to nobody else and comes back as it was said."""
    bad = refused(400, lead.problem("invalid_request_error", "temperature: out of range"))
    scene = play((lead, [bad]), (spare, [fine(spare)]), stream=stream)
    error = json.loads(scene.told.raw)["error"]
    assert (400, "temperature: out of range", (1, 0)) == (scene.told.status, error["message"], scene.calls)


# our own credential

CREDENTIALS: dict[str, Callable[[Speaker], Reply]] = {
    "401": lambda speaker: refused(401, speaker.problem("authentication_error", "invalid key")),
    "402": lambda speaker: refused(402, speaker.problem("billing_error", "payment required")),
    "403": lambda speaker: refused(403, speaker.problem("permission_error", "not for you")),
    "404": lambda speaker: refused(404, speaker.problem("not_found_error", "no such model", code="model_not_found")),
    "insufficient_quota": lambda speaker: refused(
        429, speaker.problem("insufficient_quota", "You exceeded your quota", code="insufficient_quota")
    ),
    "out of credit": lambda speaker: refused(
        400, speaker.problem("invalid_request_error", "Your credit balance is too low to access the API.")
    ),
    "401 as first event": lambda speaker: streamed([speaker.error("authentication_error", "invalid key")]),
}


@crossed
@both
@pytest.mark.parametrize("said", CREDENTIALS)
def test_our_own_keys_fault_is_never_the_callers(said: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """One call, the understudy answers, the lead's breaker opens at once and an incident is due; the key is not
    told."""

    async def scene() -> None:
        first, second = RawProvider(CREDENTIALS[said](lead)), RawProvider(fine(spare))
        async with routed((lead, first), (spare, second)) as router:
            told = [await router.ask(stream=stream) for _ in range(3)]
            assert [True] * 3 == [one.whole(TEXT) for one in told]
            assert (1, 3) == (len(first.calls), len(second.calls))
            health = router.fold()["lead"]
            assert ("open", True) == (health.state, health.credential_failed)
            first_decision = next(fields for message, fields in router.log.lines if message == "decision")
            assert "its breaker opened for" in first_decision["attempts"][0]["effect"]
            assert SECRET not in repr(router.log.lines)

    asyncio.run(scene())


@both
def test_with_every_key_refused_the_error_is_no_401(stream: bool) -> None:
    """When no target may be used with our keys, the caller's key is not what is wrong: 503 and the causes."""
    replies = {speaker: [CREDENTIALS["401"](speaker)] for speaker in (OPENAI, ANTHROPIC)}
    scene = play((OPENAI, replies[OPENAI]), (ANTHROPIC, replies[ANTHROPIC]), stream=stream)
    error = json.loads(scene.told.raw)["error"]
    assert (503, "no_target_answered") == (scene.told.status, error["code"])
    assert "lead: credential: invalid key; spare: credential: invalid key" in error["message"]
