"""What calls cost is written down: every attempt of a request, every copy of one, every probe, in the background.

Charges wait by account, merged by line, and one write at a time is under way for each account: so a slow table makes
writes larger and not more.  A write that fails is tried again with its token, which counts once however often it is
written; what an environment that froze has not finished it finishes with its next invocation.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from understudy.errors import StoreError
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Charge, Clock, Logger, Token
from understudy.pricing.ledger import ROUTER, Purpose, day_of, plain_measures
from understudy.routing.journal import Attempt
from understudy.store_ports import LedgerStore

if TYPE_CHECKING:
    from understudy.services.handling import Handling

PATH = "/usage"
"""Where a client reads what its key has spent."""
READ_PATIENCE = 5.0
"""Seconds that a client waits for it."""
WAITING = 1000
"""Lines that wait for a table that does not answer; what is charged beyond them is logged and lost."""
GIVEN_UP = 4 * 3600.0
"""Seconds after which a write is tried no more: the table forgets who wrote what two hours later."""
PAUSES = (0.2, 1.0, 5.0, 30.0)
"""Seconds before the next try; the last one for every further one."""


@dataclass(slots=True)
class _Batch:
    """What is written in one go: charges of one account and day, the first of them at `at`."""

    account: str
    charges: Sequence[Charge]
    at: float
    token: Token


@dataclass(slots=True)
class _Account:
    """How far one account has come: the number of its last token, and its writer while there is something to write."""

    number: int = 0
    writing: asyncio.Task[None] | None = None
    trouble: bool = False
    waiting: OrderedDict[tuple[str, Purpose, str, str], tuple[float, Charge]] = field(default_factory=OrderedDict)


class Metering:
    """One for each execution environment; used from one event loop."""

    def __init__(self, store: LedgerStore, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._threads = ThreadPoolExecutor(2, "understudy-metering")
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._writer = ""

    def request(self, handling: Handling) -> None:
        """Charge a finished request to its caller."""
        self.charge(handling.client.account, charges_of(handling))

    def own(self, purpose: Purpose, attempts: Iterable[Attempt], route: str = "") -> None:
        """Charge the router's own calls to itself."""
        self.charge(ROUTER, merged(charge_of(purpose, route, attempt) for attempt in attempts))

    def charge(self, account: str, charges: Sequence[Charge]) -> None:
        """Have charges written; never raises."""
        now = self._clock()
        known = self._accounts.setdefault(account, _Account())
        self._accounts.move_to_end(account)
        day = day_of(now)
        for one in charges:
            line = (day, *one.line)
            before = known.waiting.get(line)
            if before is None and self._lines() >= WAITING:
                self._lost([one], "too much waits for the table")
                continue
            known.waiting[line] = (now, one) if before is None else (before[0], before[1].plus(one))
        if known.waiting and known.writing is None:
            known.writing = asyncio.get_running_loop().create_task(self._write(account, known))

    async def usage(self, client: ClientKey) -> dict[str, Any]:
        """What a client has spent this month (UTC), in all, by day, and line by line.  Raises StoreError."""
        loop, now = asyncio.get_running_loop(), self._clock()
        reading = loop.run_in_executor(self._threads, _usage, self._store, client.account, now)
        try:
            return await asyncio.wait_for(reading, READ_PATIENCE)
        except TimeoutError as error:
            raise StoreError("the ledger could not be read in time") from error

    async def settle(self, patience: float) -> None:
        """Wait for writes under way, but not long: the caller waits too.  Nobody waits for those that failed before."""
        tasks = {one.writing for one in self._accounts.values() if one.writing is not None and not one.trouble}
        if tasks:
            await asyncio.wait(tasks, timeout=patience)

    async def written(self, account: str, patience: float) -> bool:
        """Wait until all that was charged to an account here is in the table, but not long; whether it is."""
        known = self._accounts.get(account)
        task = known.writing if known else None
        if known is None or task is None:
            return True
        if not known.trouble:
            await asyncio.wait({task}, timeout=patience)
        return task.done()

    async def _write(self, account: str, known: _Account) -> None:
        """Write what waits for one account, until nothing does."""
        try:
            while known.waiting:
                await self._insist(self._next(account, known), known)
        except Exception:  # a charge must not cost an answer
            self._logger.exception("charges were not written", metrics=[own_failure("RouterErrors")])
        finally:
            known.writing, known.trouble = None, False
            if not known.waiting and len(self._accounts) > WAITING:
                self._forget()

    def _next(self, account: str, known: _Account) -> _Batch:
        day = next(iter(known.waiting))[0]
        lines = [line for line in known.waiting if line[0] == day]
        taken = [known.waiting.pop(line) for line in lines]
        at = taken[0][0]
        # Never below the one before, whatever the clock says.
        known.number = max(known.number + 1, int(self._clock() * 1000))
        if not self._writer:
            # Drawn with the first charge: environments that were restored from one snapshot must differ.
            self._writer = secrets.token_hex(5)
        return _Batch(account, [charge for _, charge in taken], at, Token(self._writer, known.number))

    async def _insist(self, batch: _Batch, known: _Account) -> None:
        """Write one batch, however often it takes."""
        tries, why = 0, ""
        while True:
            if tries and self._clock() - batch.at >= GIVEN_UP:
                # However long this environment was frozen: the table may have forgotten the token.
                self._lost(batch.charges, why)
                return
            try:
                await self._in_thread(batch)
            except StoreError as error:
                known.trouble, why = True, str(error)
                failed = [own_failure("StoreErrors")]
                self._logger.warning("charges could not be written yet", error=str(error), tries=tries, metrics=failed)
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
            else:
                known.trouble = False
                return

    async def _in_thread(self, batch: _Batch) -> None:
        loop = asyncio.get_running_loop()
        call = self._store.charge
        await loop.run_in_executor(self._threads, call, batch.account, batch.charges, batch.token, batch.at)

    def _lines(self) -> int:
        return sum(len(one.waiting) for one in self._accounts.values())

    def _forget(self) -> None:
        """Accounts that have nothing to write and were not heard of for long; their numbers go on by the clock."""
        for name in [name for name, one in self._accounts.items() if one.writing is None and not one.waiting]:
            if len(self._accounts) <= WAITING // 2:
                return
            del self._accounts[name]

    def _lost(self, charges: Sequence[Charge], why: str) -> None:
        usd = sum((one.usd for one in charges), Decimal(0))
        targets = ", ".join(sorted({one.target for one in charges}))[:500]
        self._logger.warning(
            "charges are lost", usd=str(usd), targets=targets, error=why, metrics=[own_failure("StoreErrors")]
        )


def _usage(store: LedgerStore, account: str, now: float) -> dict[str, Any]:
    today = day_of(now)
    month = today[:7]
    days, lines = store.daily(account, [month]), store.ledger([account], f"{month}-01", today)
    return {
        "object": "usage",
        "currency": "usd",
        "day": today,
        "day_usd": format(days.get(today, Decimal(0)), "f"),
        "month": month,
        "month_usd": format(sum(days.values(), Decimal(0)), "f"),
        "lines": [
            {
                "day": line.day,
                "purpose": line.charge.purpose,
                "route": line.charge.route,
                "target": line.charge.target,
                **plain_measures(line.charge),
            }
            for line in lines
        ],
    }


def charges_of(handling: Handling) -> list[Charge]:
    """All attempts of a request, by target.  The request itself counts for the target that answered, else for the last
    one that was asked, else for none."""
    journal, route = handling.journal, handling.route.name
    last = journal.answering or (journal.attempts[-1] if journal.attempts else None)
    asked = Charge("traffic", route, last.target.name if last else "", requests=1)
    return merged([*(charge_of("traffic", route, attempt) for attempt in journal.attempts), asked])


def charge_of(purpose: Purpose, route: str, attempt: Attempt) -> Charge:
    """One upstream call."""
    usage, usd = attempt.usage, attempt.cost or Decimal(0)
    if usage is None:
        return Charge(purpose, route, attempt.target.name, attempts=1)
    return Charge(
        purpose,
        route,
        attempt.target.name,
        usd=usd,
        usd_estimated=usd if attempt.guessed else Decimal(0),
        attempts=1,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def merged(charges: Iterable[Charge]) -> list[Charge]:
    """One charge for each line."""
    found: dict[tuple[Purpose, str, str], Charge] = {}
    for one in charges:
        before = found.get(one.line)
        found[one.line] = one if before is None else before.plus(one)
    return list(found.values())
