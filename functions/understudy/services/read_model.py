"""What a router knows without asking: the catalog, the fleet's view of health, the client keys.

Read in one batch at most every two seconds, while a provider is thinking; served stale when the store is slow or
down.  A slow store is treated like a dead one: after one late read nobody waits for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from understudy.catalog import Catalog
from understudy.control.load import catalog
from understudy.control.versions import Pointer
from understudy.errors import DocumentError, RouterNotReady, StoreError, Unauthenticated
from understudy.health.item import Health
from understudy.keys import ClientKey, hash_key
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.store_ports import ControlStore, KeyStore, Snapshot, SnapshotStore

TTL = 2.0
"""Seconds after which what is known is too old to be used without asking."""
EARLY = 1.0
"""Seconds after which it is asked for again in the background."""
URGENT = 0.2
"""The same while something is wrong with a target: what the fleet has learned since counts."""
PATIENCE = 0.025
"""Seconds a request waits for a read when what is known is older than TTL."""
FIRST_READ = 5.0
"""Seconds the first request of an environment waits: there is nothing to serve from yet."""
RESTED = 4.0
"""Seconds without a read after which the environment was asleep: what it knows of keys may be of long ago."""
WAKING = 0.5
"""Seconds that the first request after that waits for the keys, so that none that was revoked meanwhile is served."""
DISTRUST = 5.0
"""Seconds after a failed or late read in which nobody waits."""
WATCHED_KEYS = 200
UNKNOWN_KEYS = 1000


T = TypeVar("T")


class Reads(SnapshotStore, ControlStore, KeyStore, Protocol):
    """The part of the store that is read here."""


class ReadModel:
    """One for each execution environment; used from one event loop."""

    def __init__(self, store: Reads, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._threads = ThreadPoolExecutor(4, "understudy-store")
        self._catalog: Catalog | None = None
        self._pointer: Pointer | None = None
        self._health: Mapping[str, Health] = {}
        self._keys: dict[str, ClientKey] = {}
        self._unknown: dict[str, float] = {}
        self._watched: set[str] = set()
        self._read_at = float("-inf")
        self._distrust_until = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._ended_at = float("-inf")
        self._woken = False

    async def catalog(self, *, urgent: bool = False) -> Catalog:
        """The document in force.  Raises RouterNotReady where none was ever read.

        `urgent`: what the fleet has learned since is asked for sooner.
        """
        age = self._clock() - self._read_at
        if self._catalog is None:
            await self._read(FIRST_READ)
        elif age > TTL:
            await self._read(PATIENCE)
        elif age > (URGENT if urgent else EARLY):
            self._start()
        if self._catalog is None:
            raise RouterNotReady(
                "No control document is in force yet. Publish one: `understudy publish FILE`. If one was published, "
                "the router's table cannot be read right now, or this version of the router cannot read the document."
            )
        return self._catalog

    @property
    def trusted(self) -> bool:
        """Whether the table answers in time, as far as is known."""
        return self._clock() >= self._distrust_until

    async def health(self, targets: Iterable[str]) -> Mapping[str, Health]:
        """The fleet's view of these targets, as old as the last read; unknown ones are left out."""
        new = set(targets) - self._watched
        if new:
            self._watched |= new
            await self._read(PATIENCE, again=True)
        return self._health

    async def authenticate(self, key: str) -> ClientKey:
        """The client behind a key.  Raises Unauthenticated, or StoreError where an unseen key cannot be looked up."""
        key_hash = hash_key(key)
        known = self._keys.get(key_hash)
        now = self._clock()
        if known is not None:
            await self._renew(now)
            known = self._keys.get(key_hash)
        if known is None and self._unknown.get(key_hash, 0.0) <= now:
            known = await self._look_up(key_hash)
            if known is not None and len(self._keys) < WATCHED_KEYS:
                self._keys[key_hash] = known
            elif known is None:
                self._remember_unknown(key_hash, now)
        if known is None or not known.active(now):
            raise Unauthenticated("This API key is not known here. Ask the operator of this router for one.")
        return known

    async def _renew(self, now: float) -> None:
        """Wait for the read that is due, as everybody does; after a rest longer, so that a key which was revoked
        meanwhile is not served."""
        if now - self._read_at <= TTL:
            return
        reading = self._start()
        if self._woken or self.trusted:
            await asyncio.wait({reading}, timeout=WAKING if self._woken else PATIENCE)

    async def _look_up(self, key_hash: str) -> ClientKey | None:
        try:
            return await asyncio.wait_for(self._in_thread(self._store.key, key_hash), FIRST_READ)
        except (TimeoutError, StoreError) as error:
            late = isinstance(error, TimeoutError)
            told = StoreError(f"the table did not answer within {FIRST_READ:g} s") if late else error
            self._logger.warning("a key cannot be looked up", error=str(told), metrics=[own_failure("StoreErrors")])
            raise told from error

    def _remember_unknown(self, key_hash: str, now: float) -> None:
        if len(self._unknown) >= UNKNOWN_KEYS:
            self._unknown.clear()
        self._unknown[key_hash] = now + TTL

    async def _read(self, patience: float, *, again: bool = False) -> None:
        if again and self._reading is not None and not self._reading.done():
            # The read that is under way does not ask for what was added since.
            self._reading = None
        task = self._start()
        if self._catalog is not None and not (self.trusted or self._woken):
            return
        # After a rest what is known may be of any age.
        done, _ = await asyncio.wait({task}, timeout=max(patience, WAKING) if self._woken else patience)
        if not done:
            self._distrust_until = self._clock() + DISTRUST
            # Not an error yet: a read in many is slower than a request may wait; one that never comes fails later.
            self._logger.warning("the table answers late; serving what is known", metrics=[own_failure("StoreLate")])

    def _start(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._woken = self._clock() - self._ended_at > RESTED
            self._reading = asyncio.create_task(self._refresh())
        return self._reading

    async def _refresh(self) -> None:
        # Known as of now, whenever the answer comes: the environment may be asleep in between.
        began, targets, hashes = self._clock(), sorted(self._watched), list(self._keys)
        try:
            snapshot: Snapshot = await self._in_thread(self._store.snapshot, targets, hashes)
            if snapshot.pointer is not None and snapshot.pointer != self._pointer:
                await self._load(snapshot.pointer)
        except StoreError as error:
            self._distrust_until = self._clock() + DISTRUST
            failed = [own_failure("StoreErrors")]
            self._logger.warning("the table cannot be read; serving what is known", error=str(error), metrics=failed)
            return
        except Exception:
            # A bug of ours must not freeze what is known without a word.
            self._distrust_until = self._clock() + DISTRUST
            self._logger.exception("what was read cannot be understood", metrics=[own_failure("RouterErrors")])
            return
        finally:
            self._ended_at = self._clock()
        self._health = {**{t: h for t, h in self._health.items() if t not in targets}, **snapshot.health}
        gone = {key_hash for key_hash in hashes if key_hash not in snapshot.keys}
        self._keys = {h: k for h, k in {**self._keys, **snapshot.keys}.items() if h not in gone}
        self._read_at = began

    async def _load(self, pointer: Pointer) -> None:
        version = await self._in_thread(self._store.version, pointer.version)
        self._pointer = pointer
        try:
            self._catalog = catalog(version.document, version.number)
        except DocumentError:
            # It may demand something that nobody here knows, so the one before must not stand for it.
            self._catalog = None
            failed = [own_failure("RouterErrors")]
            self._logger.exception(
                "the document in force cannot be read", document_version=version.number, metrics=failed
            )
            return
        self._logger.info("control document in force", document_version=version.number)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
