"""What the table keeps of the audit: control changes, heads of segments, seals; and a change with its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from understudy.audit.chain import CHANGES, Head, canonical, linked
from understudy.audit.change import ControlChange
from understudy.audit.seal import Kept, Seal
from understudy.errors import Conflict
from understudy.store import keys
from understudy.store.table import Item, Key, Table

TRIES = 8
"""Times that a change is tried to be recorded after losing its place in the chain to another one."""
PAGE = 3000
"""Heads of one item: some 90 bytes each, and an item holds 400 KB."""


class AuditItems:
    """See `understudy.ports.AuditStore`: the part of the store that keeps it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def recording(self, change: ControlChange) -> Self:
        return type(self)(Recording(self._table, change))

    def changes(self) -> Sequence[Mapping[str, Any]]:
        return [item.body for item in self._table.query(keys.AUDIT, prefix=keys.CHANGE)]

    def last_change(self) -> Head | None:
        return last_change(self._table)

    def note_head(self, head: Head, now: float) -> None:
        body = {"seq": head.seq, "hash": head.hash}
        self._table.put(Item(keys.head(head.segment), body, rev=head.seq, ttl=now + keys.HEAD_TTL))

    def heads(self, day: str) -> Sequence[Head]:
        found = self._table.query(keys.audit(day), prefix=keys.HEAD)
        return [Head(f"{day}/{i.key[1].removeprefix(keys.HEAD)}", i.body["seq"], i.body["hash"]) for i in found]

    def last_seal(self) -> Kept | None:
        found = self._table.query(keys.AUDIT, prefix=keys.SEAL, limit=1, newest=True)
        return Kept(found[0].body) if found else None

    def seals(self) -> Sequence[Kept]:
        return [self._with_heads(item.body) for item in self._table.query(keys.AUDIT, prefix=keys.SEAL)]

    def add_seal(self, seal: Seal) -> None:
        plain = seal.plain()
        # Named by their root, so that whoever seals at the same time with other heads cannot overwrite them.
        for page in range(0, len(seal.heads), PAGE):
            heads = [[head.segment, head.seq, head.hash] for head in seal.heads[page : page + PAGE]]
            self._table.put(Item(keys.sealed(seal.day, plain["root"], page // PAGE + 1), {"heads": heads}))
        self._table.put(Item(keys.seal(seal.day), plain, rev=1), seen=0)

    def _with_heads(self, plain: Mapping[str, Any]) -> Kept:
        prefix = keys.sealed(str(plain["day"]), str(plain["root"]), 0)[1].removesuffix("0000")
        pages = self._table.query(keys.AUDIT, prefix=prefix)
        return Kept(plain, tuple(Head(*head) for page in pages for head in page.body["heads"]))


class Recording:
    """A table whose conditional writes bring the record of a change with them: both are written, or neither."""

    def __init__(self, table: Table, change: ControlChange) -> None:
        self._table = table
        self._change = change

    def put(self, item: Item, *, seen: int | None = None) -> None:
        if seen is None:
            self._table.put(item)
            return
        record = self._change.record()
        for _ in range(TRIES):
            link = linked(last_change(self._table) or Head(CHANGES, 0, ""), canonical(record))
            kept = Item(keys.change(link.seq), {"audit": link.plain(), "record": record}, rev=1)
            lost = self._table.put_all([(kept, 0), (item, seen)])
            if lost is None:
                return
            if lost == item.key:
                raise Conflict(f"{item.key}: revision {seen} is no longer current")
        raise Conflict(f"{TRIES} other changes of the router were recorded while one was to be; try again")

    def get(self, key: Key) -> Item | None:
        return self._table.get(key)

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        return self._table.batch(keys)

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        return self._table.put_all(writes)

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        return self._table.query(pk, prefix=prefix, limit=limit, newest=newest)

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        return self._table.add(key, amounts, ttl=ttl)

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        return self._table.add_once(key, amounts, writer, number, ttl=ttl)

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        self._table.forget(key, counters)

    def delete(self, key: Key) -> None:
        self._table.delete(key)


def last_change(table: Table) -> Head | None:
    """The head of the control changes; None before the first one."""
    found = table.query(keys.AUDIT, prefix=keys.CHANGE, limit=1, newest=True)
    audit = found[0].body["audit"] if found else None
    return Head(audit["segment"], audit["seq"], audit["hash"]) if audit else None
