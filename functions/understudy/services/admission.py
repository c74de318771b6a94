"""Whether a client key may have one more request: its rates, the requests it has under way, its money.

Keys without limits pay nothing.  For the others the table is asked while the provider thinks, and its answer awaited
before the caller gets a word; where little may be left it is asked first.  What this environment knows to be used up is
refused without asking.  Where the table does not answer in time, or not at all, requests go on by what is known here:
rates by what this environment counted itself, money by the last look and what was spent here since.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from understudy.chat.usage import Usage
from understudy.errors import RequestError, StoreError
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.routing.limits import estimated_usage
from understudy.services import allowance
from understudy.services.allowance import Known, Ticket
from understudy.services.budget_alerts import BudgetAlerts, Standing
from understudy.services.handling import Handling
from understudy.services.spend import counted, estimated
from understudy.store_ports import IncidentStore, LedgerStore, Use, UseStore

PATIENCE = 0.25
"""Seconds a request waits for the table in all, from the moment at which it was asked."""
DISTRUST = 5.0
"""Seconds after a failed or late answer in which nobody waits."""
SETTLED = 0.1
"""Seconds that a look at an account waits for what was spent here to be written."""
LEASE = 60.0
"""Seconds that a request counts as under way beyond its own time, where nobody says that it has ended."""
REMEMBERED = 500
"""Accounts that one environment knows something of."""

T = TypeVar("T")
Written = Callable[[str, float], Awaitable[bool]]
"""Waits so many seconds for the charges of an account that are being written; returns whether all are."""


class Store(UseStore, LedgerStore, IncidentStore, Protocol):
    """The part of the store that admissions need."""


class Admissions:
    """One for each execution environment; used from one event loop."""

    def __init__(self, store: Store, clock: Clock, logger: Logger, *, written: Written | None = None) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._written = written or _at_once
        self._threads = ThreadPoolExecutor(4, "understudy-admission")
        self._accounts: OrderedDict[str, Known] = OrderedDict()
        self._alerts = BudgetAlerts(store, clock)
        self._distrust_until = 0.0
        self._running: set[asyncio.Task[Any]] = set()

    async def enter(self, handling: Handling) -> None:
        """Begin to ask for a request.  Raises RateExceeded or QuotaExceeded where it is known to be in vain, or where
        the table says so and little was left.  `first` must follow before the caller gets anything, and `leave`."""
        client = handling.client
        if not client.limits:
            return
        now, known = self._clock(), self._known(client.account)
        if (refused := self._by_what_is_known(client, known, now)) is not None:
            raise refused
        price = _price(handling)
        scarce = allowance.scarce(client.limits, known, price, now)
        ends = now + handling.limits.request + LEASE
        leased = client.limits.concurrent is not None
        prompt = estimated_usage(handling.request, 0).prompt_tokens if client.limits.tokens_per_minute else 0
        ticket = handling.ticket = Ticket(client, known, prompt, ends, leased, now)
        known.count(now, requests=1, tokens=prompt)
        known.under_way[ticket] = price
        ticket.asked = self._start(self._ask(ticket))
        if scarce:
            try:
                await self.confirm(handling)
            except BaseException:
                self.leave(handling)
                raise

    async def first(self, handling: Handling, coming: Awaitable[T]) -> T:
        """What `coming` brings once the table has said yes; it is cancelled as soon as it says no.  Raises what `enter`
        raises."""
        ticket, waiting = handling.ticket, asyncio.current_task()
        if ticket is None or ticket.asked is None or ticket.settled or waiting is None:
            return await coming
        before, stopped, over = waiting.cancelling(), False, False

        def stop(asked: asyncio.Task[RequestError | None]) -> None:
            nonlocal stopped
            if not over and not asked.cancelled() and asked.result() is not None:
                stopped = True
                waiting.cancel()

        ticket.asked.add_done_callback(stop)
        try:
            brought = await coming
        except asyncio.CancelledError:
            if not stopped or waiting.uncancel() > before:
                raise
            # Raises, for the table has said no.
            await self.confirm(handling)
            raise
        finally:
            # It may be on its way already, when it can no longer be taken back.
            over = True
            ticket.asked.remove_done_callback(stop)
        await self.confirm(handling)
        return brought

    async def confirm(self, handling: Handling) -> None:
        """Wait for the answer, but not long.  Raises what `enter` raises."""
        ticket = handling.ticket
        if ticket is None or ticket.asked is None or ticket.settled:
            return
        now = self._clock()
        if not ticket.asked.done() and now >= self._distrust_until and (left := ticket.began + PATIENCE - now) > 0:
            await asyncio.wait({ticket.asked}, timeout=left)
        if ticket.asked.done():
            ticket.settled = True
            if (refused := ticket.asked.result()) is not None:
                raise refused
        elif self._clock() >= self._distrust_until:
            self._failed("the table answers late; a key's limits are held by what is known here", late=True)

    def leave(self, handling: Handling) -> None:
        """The request has ended: its cost is known, its place is free."""
        ticket, handling.ticket = handling.ticket, None
        if ticket is None:
            return
        limits, known = ticket.client.limits, ticket.known
        known.under_way.pop(ticket, None)
        known.own = known.own.plus(counted(handling.journal.attempts), self._clock())
        answering = handling.journal.answering
        usage = answering.usage if answering else None
        if not handling.journal.attempts:
            # Nobody was asked.
            usage = Usage()
        used = usage.prompt_tokens + usage.completion_tokens if usage and limits.tokens_per_minute else ticket.prompt
        self._start(self._give_back(ticket, used))
        self._look(ticket.client, known)

    async def settle(self, patience: float) -> None:
        """Wait for writes under way, but not long: the caller waits too."""
        if self._running and self._clock() >= self._distrust_until:
            await asyncio.wait(self._running, timeout=patience)

    def _known(self, account: str) -> Known:
        known = self._accounts.get(account)
        if known is None:
            known = self._accounts[account] = Known()
            if len(self._accounts) > REMEMBERED:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(account)
        return known

    def _by_what_is_known(self, client: ClientKey, known: Known, now: float) -> RequestError | None:
        use = known.of_minute(now)
        # How many are under way elsewhere changes by the moment: of them only those of this environment are known.
        before, limits = Use(use.requests, use.tokens, known.running(now)), client.limits
        if not known.sure and now - known.read_at >= DISTRUST:
            # Some money may count twice, and nothing but a new look says so.
            limits = replace(limits, usd_per_day=None, usd_per_month=None)
        return allowance.refusal(limits, known, before, now)

    async def _ask(self, ticket: Ticket) -> RequestError | None:
        """Why the request may not go on, as the table says; never raises."""
        client, known, limits = ticket.client, ticket.known, ticket.client.limits
        try:
            spent, taken = self._spent(client, known), self._take(ticket)
            _, use = await asyncio.gather(spent, taken)
            now = self._clock()
            before = Use(use.requests - 1, use.tokens - ticket.prompt, use.concurrent - 1)
            refused = allowance.refusal(limits, known, before, now, mine=ticket)
            ticket.headers = allowance.headers(limits, use, now) if ticket.taken else {}
            self._look(client, known)
        except Exception:
            self._logger.exception("a key's limits could not be checked", metrics=[own_failure("RouterErrors")])
            return None
        return refused

    async def _take(self, ticket: Ticket) -> Use:
        """What the fleet has taken with this request; what is known here where the table cannot say."""
        limits, known, now = ticket.client.limits, ticket.known, self._clock()
        rated = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
        own = known.running(now)
        if not rated and limits.concurrent is None:
            return Use(1, 0, own)
        try:
            use = await self._in_thread(
                lambda: self._store.take(
                    ticket.client.account, now, requests=int(rated), tokens=ticket.prompt, lease=ticket.lease
                )
            )
        except StoreError as error:
            self._failed("a key's use cannot be counted; its limits are held by what is known here", error)
            use = known.of_minute(now)
            return Use(use.requests, use.tokens, own)
        ticket.taken = True
        known.told(use, now)
        return use

    async def _spent(self, client: ClientKey, known: Known) -> None:
        """Look at what the account has spent."""
        if next(allowance.budgets(client.limits), None) is None:
            return
        # What was spent here and is not written yet, nobody else can see.
        all_written = await self._written(client.account, SETTLED)
        began, own = self._clock(), known.own
        try:
            spent = await self._in_thread(lambda: self._store.spent(client.account, began))
        except StoreError as error:
            self._failed("what a key has spent cannot be read; its budget is held by what is known here", error)
            return
        # Of what is perhaps not written, too much is counted rather than too little.
        known.read(spent, began, own if all_written else known.seen, sure=all_written)

    async def _give_back(self, ticket: Ticket, used: int) -> None:
        if ticket.asked is not None:
            await asyncio.wait({ticket.asked})
        now, known = self._clock(), ticket.known
        counted = ticket.prompt if ticket.taken else 0
        # What was counted too high is given back in its own minute only.
        same = now // allowance.MINUTE == ticket.began // allowance.MINUTE
        tokens = used - counted if same else max(0, used - counted)
        lease = ticket.lease if ticket.taken else None
        known.count(now, tokens=tokens)
        if not tokens and lease is None:
            return
        try:
            use = await self._in_thread(
                lambda: self._store.take(ticket.client.account, now, tokens=tokens, returned=lease)
            )
        except StoreError as error:
            self._failed("a key's use cannot be counted; its limits are held by what is known here", error)
        else:
            known.told(use, now)

    def _look(self, client: ClientKey, known: Known) -> None:
        """Tell of a budget that is almost spent, or spent; in the background."""
        if known.sure and (found := self._alerts.found(client, known)):
            self._start(self._tell(client, found))

    async def _tell(self, client: ClientKey, found: Sequence[Standing]) -> None:
        try:
            await self._in_thread(lambda: self._alerts.tell(client, found))
        except StoreError as error:
            self._alerts.forget(client, found)
            self._failed("that a key's budget is almost spent could not be told", error)

    def _failed(self, message: str, error: Exception | None = None, *, late: bool = False) -> None:
        self._distrust_until = self._clock() + DISTRUST
        told = str(error) if error else f"not within {PATIENCE:g} s"
        metrics = [own_failure("StoreLate" if late else "StoreErrors")]
        self._logger.warning(message, error=told, metrics=metrics)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _price(handling: Handling) -> Decimal:
    """US dollars that the request may cost at most: one call on its dearest candidate."""
    if next(allowance.budgets(handling.client.limits), None) is None:
        return Decimal(0)
    asked = (one.target for one in handling.decision.candidates)
    worst = max((estimated([handling.request], target) for target in asked), default=Decimal(0))
    return worst if handling.limits.max_cost is None else min(worst, handling.limits.max_cost)


async def _at_once(_account: str, _patience: float) -> bool:
    """Nothing is written in the background."""
    return True
