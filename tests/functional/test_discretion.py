"""What callers write, what they are answered, and all keys stay out of logs, metrics, health and alerts."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.one_router import KEY, SECRET, Nobody, Router, read, routed
from tests.raw_provider import RawProvider, Reply
from tests.spoken import CROSSED, Speaker, refused, streamed
from understudy.incidents.incident import Notice
from understudy.runtime.gateway import ApiRequest
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.update_health import UpdateHealth

PROMPT, ANSWER, OTHER_KEY = "marked-prompt-7f3a", "marked-answer-91c2", "marked-key-44d0"
HIDDEN = (PROMPT, ANSWER, OTHER_KEY, SECRET, KEY)

crossed = pytest.mark.parametrize(("lead", "spare"), CROSSED, ids=[lead.wire for lead, _ in CROSSED])
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

ECHO = f"cannot do {PROMPT} with {SECRET}"


def fine(speaker: Speaker) -> Reply:
    return streamed(speaker.pieces([ANSWER[:5], ANSWER[5:]]))


def echo(status: int, kind: str, **fields: Any) -> Callable[[Speaker], Reply]:
    return lambda speaker: refused(status, speaker.problem(kind, ECHO, **fields))


LEADS: dict[str, Callable[[Speaker], Reply]] = {
    "an answer": fine,
    "an error that repeats the request": echo(500, "server_error"),
    "an error whose code repeats it": echo(500, "server_error", code=ECHO, param=ECHO),
    "too busy": echo(529, "overloaded_error"),
    "a refusal": echo(400, "invalid_request_error", code="content_filter"),
    "a bad request": echo(400, "invalid_request_error", param=ECHO),
    "a prompt that is too long": echo(413, "request_too_large"),
    "a refused key": echo(401, "authentication_error", code=SECRET),
    "plain text": lambda speaker: refused(500, ECHO.encode()),
    "another protocol": lambda speaker: streamed([f"data: {ECHO}\n\n".encode()] * 3),
    "an error as first event": lambda speaker: streamed([speaker.error("overloaded_error", ECHO)]),
    "an error in the middle": lambda speaker: streamed(
        [*speaker.pieces([ANSWER])[:3], speaker.error("overloaded_error", ECHO)]
    ),
}


class Box:
    """Satisfies `understudy.ports.AlertSink`."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)


def everything(router: Router) -> str:
    """All that was logged, measured, stored and told: the other rooms are played over what the router wrote."""
    box = Box()
    update = UpdateHealth(router.store, Nobody(), clock=time.time, logger=router.log, rng=random.Random(1))
    alerts = PublishAlerts(router.store, [("box", box)], clock=time.time, logger=router.log)
    for health in router.fold().values():
        update.react(None, health)
        kept = [router.store.incident(health.target, kind) for kind in ("outage", "credential")]
        for incident in kept:
            if incident is not None:
                alerts.publish(None, incident)
    health = router.store.health(["lead", "spare"])
    return repr((router.log.lines, health, router.store.incidents(), box.notices))


def leaked(text: str, hidden: tuple[str, ...] = HIDDEN) -> list[str]:
    return [marker for marker in hidden if marker in text]


@crossed
@both
@pytest.mark.parametrize("said", LEADS)
def test_nothing_that_is_said_is_kept(said: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """Whatever the lead says, no line, measure, health item or alert has the prompt, the answer or a key; and no
    caller is told the provider's key."""

    async def scene() -> tuple[bytes, str]:
        parties = (lead, RawProvider(LEADS[said](lead))), (spare, RawProvider(fine(spare)))
        async with routed(*parties) as router:
            messages = [{"role": "user", "content": PROMPT}]
            told = [await router.ask(stream=stream, messages=messages) for _ in range(3)]
            await asyncio.sleep(0.05)
            return b"".join(one.raw for one in told), await asyncio.to_thread(everything, router)

    told, kept = asyncio.run(scene())
    assert ([], []) == (leaked(kept), leaked(told.decode(), (SECRET,)))
    assert "'decision'" in kept


BODIES = {
    "no JSON": PROMPT.encode(),
    "a field that is not there": json.dumps({"model": "chat", "messages": [], PROMPT + " x": 1}).encode(),
    "a role that is not there": json.dumps({"model": "chat", "messages": [{"role": PROMPT, "content": ""}]}).encode(),
    "another model": json.dumps({"model": PROMPT, "messages": [{"role": "user", "content": PROMPT}]}).encode(),
    "wrong types": json.dumps({"model": "chat", "messages": PROMPT, "temperature": PROMPT}).encode(),
}


@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["known", "unknown"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_of_a_request_that_is_turned_away_is_kept(body: bytes, key: str) -> None:
    """A malformed request and a wrong key are logged as refused, with nothing of what they had in them."""
    lead, spare = CROSSED[0]

    async def scene() -> tuple[int, str]:
        async with routed((lead, RawProvider(fine(lead))), (spare, RawProvider(fine(spare)))) as router:
            request = ApiRequest("POST", "/chat/completions", {"authorization": f"Bearer {key}"}, body, "")
            told = await read(await router.service.answer(request))
            return told.status, await asyncio.to_thread(everything, router)

    status, kept = asyncio.run(scene())
    assert ([], True) == (leaked(kept), "'refused'" in kept)
    assert status in ((400, 404, 422) if key == KEY else (401,))
