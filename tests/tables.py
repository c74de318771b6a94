"""Tables with something between them and the store: slowness, failure, and the stream of their changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from tests.virtual import spend
from understudy.errors import StoreError
from understudy.store.table import Item, Key, Table


class FrailTable:
    """A table that takes `delay` virtual seconds for each call and fails each while it is `down`."""

    def __init__(self, inner: Table, delay: float = 0.0) -> None:
        self.inner = inner
        self.delay = delay
        self.down = False

    def get(self, key: Key) -> Item | None:
        self._pass()
        return self.inner.get(key)

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        self._pass()
        return self.inner.batch(keys)

    def put(self, item: Item, *, seen: int | None = None) -> None:
        self._pass()
        self.inner.put(item, seen=seen)

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        self._pass()
        return self.inner.put_all(writes)

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        self._pass()
        return self.inner.query(pk, prefix=prefix, limit=limit, newest=newest)

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        self._pass()
        return self.inner.add(key, amounts, ttl=ttl)

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        self._pass()
        return self.inner.add_once(key, amounts, writer, number, ttl=ttl)

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        self._pass()
        self.inner.forget(key, counters)

    def delete(self, key: Key) -> None:
        self._pass()
        self.inner.delete(key)

    def _pass(self) -> None:
        spend(self.delay)
        if self.down:
            raise StoreError("the table is down")


class StreamedTable(FrailTable):
    """A frail table that tells of each put: the item before (None where there was none) and after."""

    def __init__(self, inner: Table, changed: Callable[[Item | None, Item], None], delay: float = 0.0) -> None:
        super().__init__(inner, delay)
        self._changed = changed
        self._last: dict[Key, Item] = {}

    def put(self, item: Item, *, seen: int | None = None) -> None:
        super().put(item, seen=seen)
        after = Item(item.key, json.loads(json.dumps(item.body)), item.rev, item.ttl)
        before, self._last[item.key] = self._last.get(item.key), after
        self._changed(before, after)
