"""One audit record for each request, also those that were turned away, chained in this environment's segment.

A request pays for hashing and for one line of its own; nobody waits for the table.  How far the segment has come is
noted there beside requests, at its first record and then now and then, so that what is cut off later is missed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from understudy.audit.chain import Head, canonical, day_of, line_of, linked, opened
from understudy.errors import StoreError
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.services.audit_records import of_refused, of_request
from understudy.services.handling import Asked, Handling
from understudy.store_ports import HeadStore

NOTED = 30.0
"""Seconds between two notes of how far the segment has come."""
SERVICE = "route_request"


class Audit:
    """One for each execution environment; used from one event loop.  `write` takes a line."""

    def __init__(
        self, store: HeadStore, write: Callable[[str], None], *, clock: Clock, logger: Logger, rng: random.Random
    ) -> None:
        self._store = store
        self._write = write
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._threads = ThreadPoolExecutor(1, "understudy-audit")
        self._head: Head | None = None
        self._day = ""
        self._noted_at = float("-inf")
        self._noting: asyncio.Task[None] | None = None

    def answered(self, handling: Handling, error: BaseException | None, now: float) -> None:
        """Record a request that came to its end, answered or not; never raises."""
        try:
            self._add(of_request(handling, error, now), now)
            handling.recorded = True
        except Exception:  # noqa: BLE001 - a record must not cost the answer
            self._failed(handling.id)

    def refused(self, asked: Asked, error: BaseException, status: int) -> None:
        """Record a request that was turned away, where it is not recorded yet; never raises."""
        if asked.handling is not None and asked.handling.recorded:
            return
        try:
            now = self._clock()
            self._add(of_refused(asked, error, status, now), now)
        except Exception:  # noqa: BLE001 - a record must not cost the answer
            self._failed(asked.id)

    async def settle(self, patience: float) -> None:
        """Wait for a note under way, but not long: the caller waits too."""
        if self._noting is not None and not self._noting.done():
            await asyncio.wait({self._noting}, timeout=patience)

    def _add(self, record: dict[str, object], now: float) -> None:
        text, head = canonical(record), self._segment(now)
        link = linked(head, text)
        self._write(line_of(link, text, now, SERVICE))
        # Only now: what could not be written has no number.
        self._head = link.head
        if link.seq == 1 or now - self._noted_at >= NOTED:
            self._note(link.head, now)

    def _segment(self, now: float) -> Head:
        """The segment of the day, begun where there is none yet.  A clock that goes back begins none."""
        day = day_of(now)
        if self._head is None or day > self._day:
            # Drawn here and not when the environment is made: copies of one snapshot must not share a segment.
            self._head, self._day = opened(day, f"{self._rng.getrandbits(64):016x}", self._head), day
        return self._head

    def _note(self, head: Head, now: float) -> None:
        if self._noting is not None and not self._noting.done():
            # One at a time, so that none is overtaken; the next record asks again.
            return
        self._noted_at = now
        self._noting = asyncio.get_running_loop().create_task(self._tell(head, now))

    async def _tell(self, head: Head, now: float) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._store.note_head, head, now)
        except StoreError as error:
            self._noted_at = float("-inf")
            failed = [own_failure("StoreErrors")]
            self._logger.warning("the head of an audit segment could not be noted", error=str(error), metrics=failed)

    def _failed(self, request_id: str) -> None:
        self._logger.exception(
            "a request has no audit record", request_id=request_id, metrics=[own_failure("RouterErrors")]
        )
