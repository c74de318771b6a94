"""What a limited or scoped key's caller gets, through the whole data plane but for its providers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from tests.providers import Provider, Providers
from tests.unit.services.worlds import DOCUMENT, LoopClock, World
from tests.virtual import run
from understudy.keys import ClientKey, KeyLimits, hash_key
from understudy.ports import Charge, Token
from understudy.runtime.gateway import ApiRequest
from understudy.services.admission import Admissions
from understudy.services.feedback import Feedback
from understudy.services.handling import Answered
from understudy.services.keepsakes import Keepsakes
from understudy.services.metering import Metering
from understudy.services.outcomes import LocalOutcomes
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest

KEY = "us-key"
TWO_ROUTES = DOCUMENT.replace("routes:\n", "routes:\n  other: {targets: [spare]}\n").replace(
    "model: large}", 'model: large, price: {input_per_million: "1000", output_per_million: "1000"}}'
)
MESSAGES = [{"role": "user", "content": "count"}]
T = TypeVar("T")


class Plane:
    """The data plane of some environments over one table; `calls` are those that the lead got."""

    def __init__(self, environments: int = 1, **limits: Any) -> None:
        self.world = World(LoopClock(), TWO_ROUTES)
        self.lead = Provider("word " * 20)
        self.providers = Providers({"lead": self.lead, "spare": Provider()})
        self.change(limits=KeyLimits(**limits))
        self.rooms = [self._room(f"environment {n}") for n in range(environments)]

    def change(self, **fields: Any) -> ClientKey:
        """The client key is another way from now on."""
        known = self.world.store.key(hash_key(KEY))
        assert known is not None
        return self.world.store.put_key(replace(known, **fields))

    def _room(self, name: str) -> RouteRequest:
        store, clock, log, rng = self.world.store, self.world.clock, self.world.log, random.Random(name)
        metering, outcomes = Metering(store, clock, log), LocalOutcomes(store, clock, log, rng)
        return RouteRequest(
            ReadModel(store, clock, log),
            outcomes,
            self.providers.asked_by(name),  # type: ignore[arg-type]
            Keepsakes(store, clock, log),
            Feedback(store, outcomes, clock, log),
            clock=clock,
            logger=log,
            rng=rng,
            admissions=Admissions(store, clock, log, written=metering.written),
            metering=metering,
        )

    async def ask(
        self, path: str = "/chat/completions", *, room: int = 0, method: str = "POST", **body: Any
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body; of a stream its bytes."""
        asked = {"input": "count"} if path == "/responses" else {"messages": MESSAGES, "max_tokens": 30}
        sent = json.dumps({"model": "chat", **asked, **body}).encode()
        request = ApiRequest(method, path, {"authorization": f"Bearer {KEY}"}, sent, "")
        answered: Answered = await self.rooms[room].answer(request)
        if isinstance(answered.body, bytes):
            return answered.status, answered.headers, json.loads(answered.body)
        return answered.status, answered.headers, b"".join([piece async for piece in answered.body])

    @property
    def paid(self) -> Decimal:
        key = self.world.store.key(hash_key(KEY))
        assert key is not None
        return self.world.store.spent(key.account, self.world.clock()).day


def play(story: Callable[[Plane], Awaitable[T]], environments: int = 1, **limits: Any) -> T:
    async def told() -> T:
        return await story(Plane(environments, **limits))

    return run(told())


class TestScope:
    def test_a_key_sees_its_routes_alone(self) -> None:
        """They are listed; another one is unknown, as if there were none, and its name is not told."""

        async def story(plane: Plane) -> list[Any]:
            everything = await plane.ask("/models", method="GET")
            plane.change(routes=frozenset({"other"}))
            await asyncio.sleep(2.1)
            own = await plane.ask("/models", method="GET")
            found = [await plane.ask(f"/models/{name}", method="GET") for name in ("chat", "other")]
            asked = await plane.ask()
            lists = [[one["id"] for one in body["data"]] for _, _, body in (everything, own)]
            return [lists, [status for status, _, _ in found], asked[0], asked[2]["error"]]

        lists, found, status, error = play(story)
        assert ([["chat", "other"], ["other"]], [404, 200], 404) == (lists, found, status)
        assert ("model_not_found", "There is no model 'chat' here; there are: other.") == (
            error["code"],
            error["message"],
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "where"),
        [
            ("/chat/completions", lambda body: (body["error"]["type"], body["error"]["code"])),
            ("/messages", lambda body: (body["error"]["type"], body["error"]["details"]["error_code"])),
            ("/responses", lambda body: (body["error"]["type"], body["error"]["code"])),
        ],
    )
    def test_every_api_has_its_own_shape(self, path: str, where: Callable[[Any], tuple[str, str]]) -> None:
        """429 with the code that the API's clients know, when to come again, and what is left."""

        async def story(plane: Plane) -> Any:
            await plane.ask(path)
            return await plane.ask(path)

        status, headers, told = play(story, requests_per_minute=1)
        assert (429, ("rate_limit_error", "rate_limit_exceeded")) == (status, where(told))
        assert (True, "0") == (0 < int(headers["retry-after"]) <= 60, headers["x-ratelimit-remaining-requests"])
        status, headers, told = play(story, usd_per_day=Decimal("0.000001"))
        quota = "rate_limit_error" if path == "/messages" else "insufficient_quota"
        assert (429, (quota, "insufficient_quota"), "false") == (status, where(told), headers["x-should-retry"])
        assert "retry-after" not in headers

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_call_that_was_begun_is_broken_off(self, stream: bool) -> None:
        """Where only the table knows that the budget is spent: the caller gets no word of an answer, the provider is
        left, and what that cost is charged."""

        async def story(plane: Plane) -> tuple[int, str, str, bool]:
            await plane.ask()
            spend(plane, "1000")
            plane.world.table.delay = 0.05
            before = plane.paid
            status, _, body = await plane.ask(stream=stream)
            call = plane.lead.calls[-1]
            await asyncio.sleep(1)
            assert call.ended_at - call.began_at < plane.lead.first_token
            return status, body["error"]["code"], call.outcome, plane.paid > before

        assert (429, "insufficient_quota", "given up", True) == play(story, usd_per_day=Decimal(1000))

    def test_a_refused_request_is_logged_without_a_decision(self) -> None:
        """One short line, so that a caller who hammers fills no log."""

        async def story(plane: Plane) -> list[str]:
            for _ in range(3):
                await plane.ask()
            return [message for message, _ in plane.world.log.lines if message in ("decision", "refused")]

        assert ["decision", "refused", "refused"] == play(story, requests_per_minute=1)

    def test_a_stream_frees_its_place_at_its_end(self) -> None:
        """The next request is answered as soon as the one before has ended, streamed or not."""

        async def story(plane: Plane) -> list[int]:
            first = asyncio.create_task(plane.ask(stream=True))
            await asyncio.sleep(0.1)
            second = await plane.ask(room=1)
            await first
            return [second[0], (await plane.ask(room=1))[0]]

        assert [429, 200] == play(story, environments=2, concurrent=1)


def test_a_rotated_key_spends_the_money_of_its_line() -> None:
    """What its requests cost is charged to the account of the first key."""
    first = "c" * 64

    async def story(plane: Plane) -> tuple[Decimal, Decimal]:
        plane.change(line=first)
        await plane.ask()
        now = plane.world.clock()
        return plane.world.store.spent(first, now).day, plane.world.store.spent(hash_key(KEY), now).day

    assert (Decimal("0.029"), Decimal(0)) == play(story)


class TestEnding:
    def test_a_revoked_key_is_refused_within_five_seconds(self) -> None:
        """By an environment that is busy all the time."""

        async def story(plane: Plane) -> float:
            await plane.ask()
            plane.change(revoked_at=plane.world.clock())
            revoked, status = plane.world.clock(), 200
            while status == 200:
                status, _, _ = await plane.ask()
            return plane.world.clock() - revoked

        assert play(story) <= 5.0

    @pytest.mark.parametrize(("delay", "status"), [(0.0, 401), (0.1, 401), (0.4, 401), (5.0, 200)])
    def test_an_environment_that_was_asleep_asks_before_it_serves(self, delay: float, status: int) -> None:
        """A key that was revoked while it slept is refused at once, as long as the table answers within half a second;
        a table that is slower is treated like a dead one."""

        async def story(plane: Plane) -> int:
            await plane.ask()
            await asyncio.sleep(3600)
            plane.change(revoked_at=plane.world.clock())
            plane.world.table.delay = delay
            return (await plane.ask())[0]

        assert status == play(story)

    def test_without_a_table_a_revocation_is_not_seen_and_an_expiry_is(self) -> None:
        """Expiry needs the environment's own clock alone."""

        async def story(plane: Plane) -> list[int]:
            plane.change(expires_at=plane.world.clock() + 100)
            await plane.ask()
            plane.world.table.down = True
            seen = []
            for seconds in (50, 45, 5):
                await asyncio.sleep(seconds)
                seen.append((await plane.ask())[0])
            return seen

        assert [200, 200, 401] == play(story)


def test_fifty_environments_go_beyond_a_budget_by_one_request_each_at_most() -> None:
    """Through the whole data plane, with what is really charged; afterwards no provider is asked any more."""
    budget, one = Decimal(2), Decimal("0.029")

    async def story(plane: Plane) -> tuple[Decimal, int]:
        async def busy(room: int, rng: random.Random) -> None:
            await asyncio.sleep(rng.random())
            status = 200
            while status == 200:
                status, _, _ = await plane.ask(room=room, stream=room % 2 == 0)
                await asyncio.sleep(rng.random() / 10)

        await asyncio.gather(*(busy(n, random.Random(n)) for n in range(50)))
        await asyncio.sleep(1)
        calls = len(plane.lead.calls)
        await asyncio.gather(*(plane.ask(room=n) for n in range(50)))
        return plane.paid - budget, len(plane.lead.calls) - calls

    over, calls = play(story, environments=50, usd_per_day=budget)
    assert (True, 0) == (Decimal(0) <= over <= 50 * one, calls)


def spend(plane: Plane, usd: str) -> None:
    """Somebody else spends."""
    charge = Charge("traffic", "chat", "x", Decimal(usd))
    plane.world.store.charge(hash_key(KEY), [charge], Token("other", 1), plane.world.clock())
