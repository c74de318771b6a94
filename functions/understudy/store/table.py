"""What the store needs of a table: items with a key, a JSON body and a revision.  Nothing else of DynamoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Key = tuple[str, str]
FORGETS = 50


@dataclass(frozen=True, slots=True)
class Item:
    """`key` is (pk, sk), `body` a JSON object, `rev` the revision (0 where the item has none), `ttl` epoch seconds."""

    key: Key
    body: Mapping[str, Any]
    rev: int = 0
    ttl: float | None = None


class Table(Protocol):
    """Every method raises StoreError where the table cannot be reached in time."""

    def get(self, key: Key) -> Item | None:
        """Strongly consistent."""

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        """Eventually consistent; keys without an item are left out."""

    def put(self, item: Item, *, seen: int | None = None) -> None:
        """Write; with `seen`, only where the revision still is that one (0: only where there is no item, or one
        without revision).  Raises Conflict where it is not."""

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        """Write all of them where every one's revision still is the one beside it (0: as `put` has it), else none.
        Returns the key of the first one that was not so, None where all were written."""

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        """Items of one partition in key order, or in reverse; strongly consistent."""

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        """Add to the counters of an item, all at once and whoever else adds; returns their sums.  The item has no body
        but its counters, and is made where it is not there."""

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        """As `add`, and set the counter `writer` to `number`, where it is not there or below it; None where it is not:
        then this was added before."""

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        """Take counters away where all of them still have these values (at most FORGETS of them)."""

    def delete(self, key: Key) -> None: ...
