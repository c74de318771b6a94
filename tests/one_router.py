"""One router in this process, as bootstrap wires it, over a table in memory: what goes out goes over real sockets."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from tests.builders import Log
from tests.raw_provider import RawProvider, Script
from tests.spoken import Speaker
from understudy.health.item import Health
from understudy.health.observation import observation_from
from understudy.keys import ClientKey, hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.audit import Audit
from understudy.services.feedback import Feedback
from understudy.services.guarding import Guarding
from understudy.services.handling import Answered
from understudy.services.keepsakes import Keepsakes
from understudy.services.metering import Metering
from understudy.services.outcomes import LocalOutcomes
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.services.update_health import UpdateHealth
from understudy.services.upstream import Upstream
from understudy.store import keys
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item
from understudy.transport.http import HttpTransport
from understudy.transport.secrets import ReferencedSecrets

KEY = "us-key"
LIMITS = {"first_token_s": 1, "stall_s": 0.5, "request_s": 8, "backoff_s": 0.01}
"""Of seconds as short as a busy machine allows."""
SECRET = "not-a-real-key"


class KeptTable(MemoryTable):
    """Keeps the observations that were written, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[dict[str, Any]] = []

    def put(self, item: Item, *, seen: int | None = None) -> None:
        super().put(item, seen=seen)
        if item.key[1].startswith(keys.OBSERVATION):
            self.observations.append(json.loads(json.dumps(item.body)))


class Nobody:
    """A probe queue that nobody reads."""

    def send(self, target: str, delay: float) -> None:
        """Nothing is probed."""


@dataclass(slots=True)
class Told:
    """An answer as its caller read it; `seconds` until its end.

    `text` is what was said, `finish` the stop reason, `done` whether the end marker came, `error` the error object,
    `events` all that a stream said.
    """

    status: int
    headers: dict[str, str]
    raw: bytes
    seconds: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    finish: str | None = None
    done: bool = False
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    model: str | None = None

    @property
    def target(self) -> str | None:
        return self.headers.get("x-understudy-target")

    @property
    def broken(self) -> bool:
        """Whether the caller was told by an error, and by nothing else, that there is no whole answer."""
        return self.error is not None and self.finish is None and not self.done

    def whole(self, text: str) -> bool:
        """Whether this is the whole answer, and nobody who reads it could think anything else."""
        return (200, text, "stop", None) == (self.status, self.text, self.finish, self.error) and self.done


class Router:
    """One execution environment over a table.  `log` has what it said, `outcomes` what it knows of its targets, `audit`
    the lines of its audit; `guard` loads what looks for personal data."""

    def __init__(self, document: str, table: KeptTable | None = None, transport: Any = None, guard: Any = None) -> None:
        self.table = table or KeptTable()
        self.store = Store(self.table)
        if table is None:
            publish(self.store, document, now=time.time(), by="test")
            self.store.put_key(ClientKey(hash_key(KEY), "app", time.time()))
        self.log = Log()
        self.audit: list[str] = []
        self.transport = transport or HttpTransport()
        self.outcomes = LocalOutcomes(self.store, time.time, self.log, random.Random(1))
        self._document = document
        secrets = ReferencedSecrets({"KEY": SECRET}, lambda service: None, time.time)
        self.service = RouteRequest(
            ReadModel(self.store, time.time, self.log),
            self.outcomes,
            Upstream(self.transport, secrets, "understudy/test", time.time),
            Keepsakes(self.store, time.time, self.log),
            Feedback(self.store, self.outcomes, time.time, self.log),
            clock=time.time,
            logger=self.log,
            rng=random.Random(2),
            metering=Metering(self.store, time.time, self.log),
            audit=Audit(self.store, self.audit.append, clock=time.time, logger=self.log, rng=random.Random()),
            guarding=guard and cache(partial(Guarding, guard, time.monotonic, self.log)),
        )

    def beside(self) -> Router:
        """Another execution environment over the same table."""
        return Router(self._document, self.table)

    def fold(self) -> dict[str, Health]:
        """What update_health makes of the observations so far; the health of every target."""
        update = UpdateHealth(self.store, Nobody(), clock=time.time, logger=self.log, rng=random.Random(3))
        while self.table.observations:
            update.observe(observation_from(self.table.observations.pop(0)))
        update.learn()
        return dict(self.store.health(["lead", "spare"]))

    @property
    def decision(self) -> dict[str, Any]:
        """The last decision that was logged."""
        return [fields for message, fields in self.log.lines if message == "decision"][-1]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of its audit."""
        return [json.loads(line)["record"] for line in self.audit]

    async def answer(self, *, stream: bool, headers: dict[str, str] | None = None, **body: Any) -> Answered:
        """What the router makes of a request: {"model": "chat", "messages": ...} unless `body` says more."""
        whole = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "stream": stream, **body}
        named = {"authorization": f"Bearer {KEY}", **(headers or {})}
        content = json.dumps(whole).encode()
        return await self.service.answer(ApiRequest("POST", "/chat/completions", named, content, ""))

    async def ask(self, *, stream: bool, headers: dict[str, str] | None = None, **body: Any) -> Told:
        """A request and its answer, read to the end."""
        began = time.monotonic()
        told = await read(await self.answer(stream=stream, headers=headers, **body))
        told.seconds = time.monotonic() - began
        return told


async def read(answered: Answered) -> Told:
    """An answer, read to its end."""
    if isinstance(answered.body, bytes):
        told = Told(answered.status, answered.headers, answered.body)
        _read_whole(told)
        return told
    async with aclosing(answered.body) as pieces:
        told = Told(answered.status, answered.headers, b"".join([piece async for piece in pieces]))
    _read_stream(told)
    return told


def _read_whole(told: Told) -> None:
    body = json.loads(told.raw)
    told.error = body.get("error")
    if told.error is None:
        choice = body["choices"][0]
        told.text, told.finish, told.done = choice["message"]["content"] or "", choice["finish_reason"], True
        told.usage, told.model, told.events = body.get("usage"), body["model"], [body]


def _read_stream(told: Told) -> None:
    for block in told.raw.decode().split("\n\n")[:-1]:
        data = block.removeprefix("data: ")
        assert not told.done, "nothing comes after the end marker"
        if data == "[DONE]":
            told.done = True
            continue
        payload = json.loads(data)
        told.events.append(payload)
        told.error = payload.get("error", told.error)
        told.usage, told.model = payload.get("usage") or told.usage, payload.get("model") or told.model
        for choice in payload.get("choices", ()):
            told.text += choice["delta"].get("content") or ""
            told.finish = choice.get("finish_reason") or told.finish


def document(
    providers: Sequence[tuple[str, str]],
    *,
    lead_has: dict[str, Any] | None = None,
    spare_has: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    **route: Any,
) -> str:
    """A control document of the route `chat` with a target for each (wire, address); `lead_has` and `spare_has` are
    fields of the first and the second target, `limits` of all requests, `route` of the route."""
    names = ["lead", "spare", *(f"target-{n}" for n in range(3, len(providers) + 1))]
    more = {"lead": lead_has or {}, "spare": spare_has or {}}
    # YAML reads JSON.
    return json.dumps(
        {
            "schema": 1,
            "defaults": {"limits": LIMITS | (limits or {})},
            "providers": {
                name: {
                    "wire": wire,
                    "base_url": url,
                    "simulated": True,
                    "auth": {"header": "x-api-key", "scheme": "", "secret": "env:KEY"},
                }
                for name, (wire, url) in zip(names, providers, strict=True)
            },
            "targets": {name: {"provider": name, "model": f"model-{name}"} | more.get(name, {}) for name in names},
            "routes": {"chat": {"targets": names} | route},
        }
    )


@asynccontextmanager
async def routed(*parties: tuple[Speaker, RawProvider | str], **fields: Any) -> AsyncGenerator[Router, None]:
    """A router whose route has these providers, the lead first; they are started here.  A string is an address."""
    async with AsyncExitStack() as started:
        for _, party in parties:
            if isinstance(party, RawProvider):
                await started.enter_async_context(party)
        addresses = [(speaker.wire, party if isinstance(party, str) else party.url) for speaker, party in parties]
        router = Router(document(addresses, **fields))
        started.push_async_callback(router.transport.close)
        yield router


@dataclass(slots=True)
class Scene:
    """What one request met: the answer, the router and the providers."""

    told: Told
    router: Router
    lead: RawProvider
    spare: RawProvider

    @property
    def calls(self) -> tuple[int, int]:
        """Calls that the lead and the understudy got."""
        return len(self.lead.calls), len(self.spare.calls)

    @property
    def outcomes(self) -> list[str]:
        """How the attempts ended, by the decision log."""
        return [attempt["outcome"] for attempt in self.router.decision["attempts"]]


class Case:
    """A lead, an understudy and one request; `fields` are those of `document`."""

    def __init__(
        self,
        lead: tuple[Speaker, Sequence[Script]],
        spare: tuple[Speaker, Sequence[Script]],
        *,
        stream: bool = True,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.lead, self.spare = RawProvider(*lead[1]), RawProvider(*spare[1])
        self._parties = (lead[0], self.lead), (spare[0], self.spare)
        self._ask: dict[str, Any] = {"stream": stream, "headers": headers, **(body or {})}
        self._fields = fields

    def routed(self) -> AbstractAsyncContextManager[Router]:
        return routed(*self._parties, **self._fields)

    async def scene(self, router: Router) -> Scene:
        told = await router.ask(**self._ask)
        # A provider sees a moment later that its client has gone.
        await asyncio.sleep(0.01)
        return Scene(told, router, self.lead, self.spare)


def play(*arguments: Any, **fields: Any) -> Scene:
    """One case, given as the arguments of `Case`, played by a router of its own."""
    return play_all({"": Case(*arguments, **fields)})[""]


def play_all(cases: Mapping[str, Case]) -> dict[str, Scene]:
    """Cases played at once, each by a router of its own, so that all wait together for their limits."""

    async def scenes() -> dict[str, Scene]:
        async with AsyncExitStack() as started:
            routers = [await started.enter_async_context(case.routed()) for case in cases.values()]
            played = zip(cases.values(), routers, strict=True)
            return dict(zip(cases, await asyncio.gather(*(case.scene(router) for case, router in played)), strict=True))

    return asyncio.run(scenes())
