"""The daily seal: how far every segment of a day had come, as a link in a chain of days.

Environments note the heads of their segments in the table while they run.  After the day all heads that are known go
into one seal, whose hash holds them, the head of the control changes, and the seal of the day before.  A segment that
is taken out of the log later, or cut short, is then missed; a seal that is changed no longer fits those after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from understudy.audit.chain import Head, day_of


@dataclass(frozen=True, slots=True)
class Seal:
    """`heads` are those of the day's segments, in order; `changes` that of the control changes when it was sealed;
    `prev` the hash of the seal before, "" for the first one."""

    day: str
    heads: tuple[Head, ...]
    changes: Head | None
    prev: str
    hash: str = ""

    @property
    def records(self) -> int:
        return sum(head.seq for head in self.heads)

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the heads: there may be thousands."""
        changes = self.changes.mark if self.changes else ""
        return {"day": self.day, "segments": len(self.heads), "records": self.records, "root": root(self.heads)} | {
            "changes": changes,
            "prev": self.prev,
            "hash": self.hash,
        }


def sealed(day: str, heads: Sequence[Head], changes: Head | None, prev: str) -> Seal:
    """The seal of a day."""
    bare = Seal(day, tuple(sorted(heads, key=lambda head: head.segment)), changes, prev)
    return Seal(day, bare.heads, changes, prev, seal_hash(bare.plain()))


def root(heads: Sequence[Head]) -> str:
    """One hash of all heads, in their order."""
    return hashlib.sha256(json.dumps([head.mark for head in heads]).encode()).hexdigest()


def seal_hash(plain: Mapping[str, Any]) -> str:
    """The hash of a seal by its plain form, its own hash left out."""
    told = {name: value for name, value in plain.items() if name != "hash"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def day_after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def due(last: str | None, now: float, *, wait: float, most: int) -> list[str]:
    """The days to be sealed now, the earliest first: from the one after `last` (None: nothing was sealed yet) to the
    one that ended `wait` seconds ago or more."""
    newest = (date.fromisoformat(day_of(now - wait)) - timedelta(days=1)).isoformat()
    day = newest if last is None else day_after(last)
    found: list[str] = []
    while day <= newest and len(found) < most:
        found.append(day)
        day = day_after(day)
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """A seal as the table has it: its plain form, and the heads that are kept beside it."""

    plain: Mapping[str, Any]
    heads: tuple[Head, ...] = field(default=())

    @property
    def day(self) -> str:
        return str(self.plain.get("day"))
