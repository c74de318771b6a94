"""A table in memory, for tests and for trying things out: the same promises as DynamoDB, in one process."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence

from understudy.errors import Conflict
from understudy.store.table import FORGETS, Item, Key


class MemoryTable:
    """See `understudy.store.table.Table`.  Bodies go through JSON, so that what would not survive it fails here."""

    def __init__(self) -> None:
        self._items: dict[Key, tuple[str, int, float | None]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Item | None:
        with self._lock:
            return self._item(key)

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        with self._lock:
            return {key: item for key in keys if (item := self._item(key)) is not None}

    def put(self, item: Item, *, seen: int | None = None) -> None:
        body = json.dumps(item.body)
        with self._lock:
            current = self._items.get(item.key)
            if seen is not None and (current[1] if current else 0) != seen:
                raise Conflict(f"{item.key}: revision {seen} is no longer current")
            self._items[item.key] = (body, item.rev, item.ttl)

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        bodies = [json.dumps(item.body) for item, _ in writes]
        with self._lock:
            for item, seen in writes:
                current = self._items.get(item.key)
                if (current[1] if current else 0) != seen:
                    return item.key
            for (item, _), body in zip(writes, bodies, strict=True):
                self._items[item.key] = (body, item.rev, item.ttl)
        return None

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        with self._lock:
            keys = sorted((k for k in self._items if k[0] == pk and k[1].startswith(prefix)), reverse=newest)
            items = [self._item(key) for key in keys[:limit]]
        return [item for item in items if item is not None]

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        with self._lock:
            return self._added(key, amounts, ttl)

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        with self._lock:
            kept = self._item(key)
            last = kept.body.get(writer) if kept else None
            if last is not None and last >= number:
                return None
            return self._added(key, {**amounts, writer: number - (last or 0)}, ttl)

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        with self._lock:
            gone = dict(list(counters.items())[:FORGETS])
            kept = self._item(key)
            if kept is not None and gone.items() <= kept.body.items():
                sums = {name: value for name, value in kept.body.items() if name not in gone}
                self._items[key] = (json.dumps(sums), 0, kept.ttl)

    def delete(self, key: Key) -> None:
        with self._lock:
            self._items.pop(key, None)

    def _added(self, key: Key, amounts: Mapping[str, int], ttl: float) -> dict[str, int]:
        kept = self._item(key)
        sums: dict[str, int] = dict(kept.body) if kept else {}
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount
        self._items[key] = (json.dumps(sums), 0, ttl)
        return sums

    def _item(self, key: Key) -> Item | None:
        found = self._items.get(key)
        return Item(key, json.loads(found[0]), found[1], found[2]) if found else None
