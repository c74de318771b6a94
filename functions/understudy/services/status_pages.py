"""What providers with trouble say of themselves: their status pages are read, at most every five minutes for each
provider by all environments together, and what they said is kept for whoever tells of the trouble.

It decides nothing.  A page that is slow, wrong or gone costs a line in the log, and no probe waits for it or fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from understudy import __version__
from understudy.catalog import Catalog, HealthSettings, Provider
from understudy.errors import AttemptFailed, Conflict
from understudy.health.item import Health, settled
from understudy.health.status_page import EVERY, MOST, Corroboration, StatusPage, corroboration
from understudy.ports import Clock, Logger, PageReader
from understudy.store_ports import StatusPageStore

CONNECT = 3.0
"""Seconds to connect."""
TOTAL = 5.0
"""Seconds for a whole page."""
AT_ONCE = 8
"""Pages of one look; the others are read by the next one."""
HEADERS = {
    "accept": "application/json",
    # What is bounded are bytes as they come: nothing is unpacked.
    "accept-encoding": "identity",
    "user-agent": f"understudy/{__version__}",
}


class StatusPages:
    """One for each execution environment; used from one event loop.  Without a `reader` no page is read."""

    def __init__(self, store: StatusPageStore, reader: PageReader | None, *, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._logger = logger
        self._asked: dict[tuple[str, str], float] = {}
        """When a page was asked for, by whomever, as far as this environment knows."""

    async def look(self, known: Mapping[str, Health | None], current: Catalog) -> None:
        """Read the pages that are due of the providers of those targets that are in trouble.  What a page or the table
        does wrong is not raised."""
        reader, now = self._reader, self._clock()
        if reader is None:
            return
        troubled = [name for name, health in known.items() if in_trouble(health, current.health)]
        targets = [current.targets[name] for name in troubled if name in current.targets]
        pages = {target.provider.name: target.provider for target in targets if target.provider.status_page}
        due = [one for one in pages.values() if abs(now - self._last(one)) >= EVERY]
        due = sorted(due, key=lambda one: (self._last(one), one.name))[:AT_ONCE]
        for one in due:
            # Before anything is awaited, so that the probes of one environment do not all look.
            self._asked[one.name, one.status_page] = now
        await asyncio.gather(*(self._look(one, reader) for one in due))

    @asynccontextmanager
    async def looking(self, known: Mapping[str, Health | None], current: Catalog | None) -> AsyncIterator[None]:
        """Look while something else is done."""
        task = asyncio.create_task(self.look(known, current)) if current is not None else None
        try:
            yield
        finally:
            if task is not None:
                await task

    def _last(self, provider: Provider) -> float:
        return self._asked.get((provider.name, provider.status_page), 0.0)

    async def _look(self, provider: Provider, reader: PageReader) -> None:
        try:
            mine = await self._taken(provider)
            if mine is not None:
                said = await self._read(provider, reader)
                await asyncio.to_thread(self._store.put_status_page, replace(mine, read_at=self._clock(), said=said))
        except Conflict:
            # Somebody else reads it.
            return
        except Exception:
            self._logger.exception("a status page was not looked at", provider=provider.name)

    async def _taken(self, provider: Provider) -> StatusPage | None:
        """The page's item with the right to read the page now; None where it is not due.  Raises Conflict."""
        known = await asyncio.to_thread(self._store.status_page, provider.name) or StatusPage(provider.name)
        url, now = provider.status_page, self._clock()
        if not known.due(url, now):
            self._asked[provider.name, url] = known.asked_at
            return None
        same = known if known.url == url else StatusPage(provider.name, url, rev=known.rev)
        return await asyncio.to_thread(self._store.put_status_page, replace(same, asked_at=now))

    async def _read(self, provider: Provider, reader: PageReader) -> Corroboration | None:
        """What the page says; None where it cannot be read, which says nothing of the provider."""
        try:
            async with asyncio.timeout(TOTAL):
                said = corroboration(await _body(provider.status_page, reader), self._clock())
        except TimeoutError:
            why = f"it took longer than {TOTAL:g} s"
        except (AttemptFailed, ValueError) as error:
            why = str(error)
        else:
            self._logger.info("status page", provider=provider.name, indicator=said.indicator, said=said.description)
            return said
        self._logger.warning("a status page could not be read", provider=provider.name, why=why)
        return None


def in_trouble(health: Health | None, settings: HealthSettings) -> bool:
    """Whether something is wrong with a target, so that it or its provider may have an open incident."""
    if health is None:
        return False
    recovering = bool(health.breaker.opens) and not settled(health, settings)
    return health.state != "closed" or recovering or health.credential_failed or bool(health.findings)


async def _body(url: str, reader: PageReader) -> bytes:
    """Raises AttemptFailed, and ValueError where there is none."""
    async with reader.get(url, HEADERS, connect=CONNECT) as reply:
        if 300 <= reply.status < 400:
            raise ValueError(f"it answered {reply.status}: write the address it moved to; redirects are not followed")
        if reply.status != 200:
            raise ValueError(f"it answered {reply.status}")
        body = bytearray()
        async for data in reply.body():
            body += data
            if len(body) > MOST:
                break
        return bytes(body)
