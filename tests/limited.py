"""Execution environments as a limited client key sees them: they admit, ask a provider that takes its time, and charge.

In virtual time, over one table; each environment has a clock of its own, which may be wrong.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from tests.builders import Log, request, target
from understudy.catalog import Candidate, Limits, Route
from understudy.chat.usage import Usage
from understudy.errors import RequestError
from understudy.facts import NO_CONSTRAINTS
from understudy.keys import ClientKey, KeyLimits
from understudy.ports import Charge, Token
from understudy.prices import Price
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked
from understudy.services.admission import Admissions
from understudy.services.handling import Handling
from understudy.services.spend import counted
from understudy.store.store import Store

LEAD = target("lead", price=Price(Decimal(1000), Decimal(1000)))
"""A tenth of a cent for a token: 1,000 tokens are a dollar."""
ROUTE = Route("chat", (Candidate(LEAD, 1),))
PROMPT = 2
"""Tokens of the prompt, as they are counted ahead and in the end."""
THINKS = 0.4
WRITES = 0.6


def limited(**limits: Any) -> ClientKey:
    """A key with these limits."""
    return ClientKey("a" * 64, "app", 0.0, owner="team a", limits=KeyLimits(**limits))


@dataclass(slots=True)
class Asked:
    """How one request ended: `refused` is why it was not answered, `called` whether a provider was asked, `usd` what it
    cost, `waited` the seconds until a provider was asked, or it was refused."""

    environment: str
    refused: RequestError | None = None
    called: bool = False
    usd: Decimal = Decimal(0)
    waited: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    crashed: bool = False


class Environment:
    """One environment; `asked` has its requests in the order in which they ended."""

    def __init__(self, store: Store, clock: Callable[[], float], name: str = "one", *, log: Log | None = None) -> None:
        self.name = name
        self.store = store
        self.clock = clock
        self.log = log or Log()
        self.admissions = Admissions(store, clock, self.log, written=self._written)
        self.asked: list[Asked] = []
        self.mute = False
        """Whether its charges are never written."""
        self._numbers = count(1)
        self._charges: set[asyncio.Task[None]] = set()

    async def ask(self, client: ClientKey, *, tokens: int = 98, longest: int = 98, crashes: bool = False) -> Asked:
        """One request that is answered with so many tokens; it allows `longest`."""
        told, handling, began = Asked(self.name), self._handling(client, longest), self.clock()
        try:
            await self.admissions.enter(handling)
            told.called, told.waited = True, round(self.clock() - began, 6)
            attempt = handling.journal.begin(LEAD, self.clock())
            attempt.usage = Usage(PROMPT, 0)
            handling.journal.answering = attempt
            await asyncio.sleep(THINKS)
            await self.admissions.confirm(handling)
            told.headers = dict(handling.ticket.headers) if handling.ticket else {}
            await asyncio.sleep(WRITES)
            if crashes:
                told.crashed = True
                return told
            attempt.usage = Usage(PROMPT, tokens)
        except RequestError as refused:
            told.refused, told.waited = refused, told.waited or round(self.clock() - began, 6)
        self._charge(client, handling, told)
        self.admissions.leave(handling)
        await self.admissions.settle(0.02)
        self.asked.append(told)
        return told

    def _handling(self, client: ClientKey, longest: int) -> Handling:
        return Handling(
            id=f"{self.name} {next(self._numbers)}",
            front="/chat/completions",
            client=client,
            request=request(max_tokens=longest),
            route=ROUTE,
            decision=Decision("chat", (Ranked(LEAD, "healthy"),)),
            bound=frozenset(),
            journal=Journal(),
            version=1,
            limits=Limits(),
            constraints=NO_CONSTRAINTS,
            started_at=self.clock(),
        )

    def _charge(self, client: ClientKey, handling: Handling, told: Asked) -> None:
        """In the background, as the data plane does."""
        told.usd = counted(handling.journal.attempts)
        if told.usd:
            task = asyncio.get_running_loop().create_task(self._write(client, told.usd))
            self._charges.add(task)
            task.add_done_callback(self._charges.discard)

    async def _write(self, client: ClientKey, usd: Decimal) -> None:
        if self.mute:
            await asyncio.Event().wait()
        now = self.clock()
        charges, token = [Charge("traffic", "chat", "lead", usd)], Token(self.name, int(now * 1000))
        await asyncio.get_running_loop().run_in_executor(
            None, lambda: self.store.charge(client.account, charges, token, now)
        )

    async def _written(self, _account: str, patience: float) -> bool:
        if not self._charges:
            return True
        _, open_ones = await asyncio.wait(self._charges, timeout=patience)
        return not open_ones


@dataclass(frozen=True, slots=True)
class Overshoot:
    """How far a crowd went beyond a budget, in US dollars.  Paid for were `answered` requests and `broken` calls, which
    were begun and closed again since the budget was spent; `after` were begun once the ledger had all of it."""

    budget: Decimal
    paid: Decimal
    answered: int
    broken: int
    after: int
    dearest: Decimal

    @property
    def usd(self) -> Decimal:
        return max(Decimal(0), self.paid - self.budget)


async def crowd(
    store: Store, clock: Callable[[], float], budget: Decimal, environments: int, *, patience: int = 3, seed: int = 1
) -> Overshoot:
    """Environments that each ask one request after the other, of different lengths, until refused so often."""
    client, rng = limited(usd_per_day=budget), random.Random(seed)
    fleet = [Environment(store, clock, f"environment {n}") for n in range(environments)]
    late = 0

    async def busy(one: Environment, lengths: random.Random) -> None:
        nonlocal late
        refused = 0
        await asyncio.sleep(lengths.random())
        while refused < patience:
            full = store.spent(client.account, clock()).day >= budget
            tokens = lengths.randint(20, 98)
            told = await one.ask(client, tokens=tokens)
            late += full and told.called
            refused += told.refused is not None
            await asyncio.sleep(lengths.random() / 5)

    await asyncio.gather(*(busy(one, random.Random(rng.random())) for one in fleet))
    asked = [told for one in fleet for told in one.asked]
    return Overshoot(
        budget=budget,
        paid=sum((told.usd for told in asked), Decimal(0)),
        answered=sum(told.refused is None for told in asked),
        broken=sum(told.refused is not None and told.called for told in asked),
        after=late,
        dearest=max(told.usd for told in asked),
    )
