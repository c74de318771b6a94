"""What one request is counted as, and on how many lines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest

from tests.builders import Log, piece
from tests.one_router import KEY, Case, KeptTable, document, play_all, read
from tests.raw_provider import Reply
from tests.spoken import COMPLETION, OPENAI, PROMPT, refused, streamed
from understudy.keys import ClientKey, hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.feedback import Feedback
from understudy.services.keepsakes import Keepsakes
from understudy.services.outcomes import LocalOutcomes
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.store.store import Store

PRICE = {"price": {"input_per_million": "1", "output_per_million": "2"}}
BODY = b'{"model": "chat", "messages": [{"role": "user", "content": "hello"}], "stream": %s}'
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def fine() -> Reply:
    return streamed(OPENAI.pieces(["Hel", "lo"]))


def measured(log: Log) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Every line that counts for a route or a target: its message, and its values by what they are of.  What a busy
    machine makes late is counted for the service itself, and is no part of a request."""
    told = [(message, fields["metrics"]) for message, fields in log.lines if fields.get("metrics")]
    values = [
        (message, {f"{one.by} {one.of}".strip(): dict(one.values) for one in metrics}) for message, metrics in told
    ]
    return [(message, found) for message, found in values if found.get("service") != {"StoreLate": 1}]


def test_a_healthy_request_is_one_line() -> None:
    """The decision itself counts for the route and for the target; whole answers and streams alike."""
    cases = {name: Case((OPENAI, [fine()]), (OPENAI, [fine()]), stream=name == "s", lead_has=PRICE) for name in "ws"}
    for scene in play_all(cases).values():
        ((message, found),) = measured(scene.router.log)
        assert ("decision", {"route chat", "target lead"}) == (message, found.keys())
        lead, route = found["target lead"], found["route chat"]
        assert (0, (PROMPT + 2 * COMPLETION) / 1_000_000) == (lead["Failures"], lead["Cost"])
        assert {"Failures", "FirstToken", "Cost"} == lead.keys()
        assert 0 < lead["FirstToken"] <= route.pop("Latency")
        assert {"Errors": 0, "Failovers": 0, "Resumed": 0} == route


def test_a_target_that_was_asked_in_vain_has_a_line_of_its_own() -> None:
    """The route's failover is no error; when nobody answers it is one, and no target has the decision."""
    down = refused(500, OPENAI.problem("server_error", "down"))
    cases = {
        "failover": Case((OPENAI, [down]), (OPENAI, [fine()])),
        "nobody": Case((OPENAI, [down]), (OPENAI, [down])),
    }
    found = {name: measured(scene.router.log) for name, scene in play_all(cases).items()}
    vain, decision = found["failover"]
    assert ("asked in vain", {"target lead": {"Failures": [1, 1]}}) == vain
    assert (0, 1, 0) == (
        decision[1]["route chat"]["Errors"],
        decision[1]["route chat"]["Failovers"],
        decision[1]["target spare"]["Failures"],
    )
    *vain, decision = found["nobody"]
    assert [{"target lead"}, {"target spare"}] == [set(values) for _, values in vain]
    assert ({"route chat"}, 1) == (decision[1].keys(), decision[1]["route chat"]["Errors"])


async def broken_at_once(*_: Any, **__: Any) -> AsyncGenerator[Any, None]:
    raise KeyError("a bug")
    yield


async def broken_midway(*_: Any, **__: Any) -> AsyncGenerator[Any, None]:
    yield piece("Hello")
    raise KeyError("a bug")


@both
@pytest.mark.parametrize("upstream", [broken_at_once, broken_midway], ids=["at once", "midway"])
def test_a_bug_is_counted_once_as_ours(upstream: Any, stream: bool) -> None:
    """Whether the caller gets a 500 or a stream that ends in an error, the alarm for our own failures hears of it."""

    async def story() -> list[tuple[str, dict[str, dict[str, Any]]]]:
        store, log, rng = Store(KeptTable()), Log(), random.Random(1)
        publish(store, document([("openai", "https://a.example")] * 2), now=0.0, by="test")
        store.put_key(ClientKey(hash_key(KEY), "app", 0.0))
        outcomes = LocalOutcomes(store, lambda: 0.0, log, rng)
        model = ReadModel(store, lambda: 0.0, log)
        keepsakes = Keepsakes(store, lambda: 0.0, log)
        feedback = Feedback(store, outcomes, lambda: 0.0, log)
        service = RouteRequest(model, outcomes, upstream, keepsakes, feedback, clock=lambda: 0.0, logger=log, rng=rng)
        body = BODY % (b"true" if stream else b"false")
        request = ApiRequest("POST", "/chat/completions", {"authorization": f"Bearer {KEY}"}, body, "")
        with suppress(KeyError):
            # A stream that breaks off by a bug of ours is raised too, for Lambda to count.
            await read(await service.answer(request))
        return measured(log)

    found = asyncio.run(story())
    assert 1 == sum("RouterErrors" in values.get("service", {}) for _, values in found)
    assert [1] == [values["route chat"]["Errors"] for _, values in found if "route chat" in values]
