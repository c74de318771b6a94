"""The chain: each record carries the hash of the one before it, so none can be changed, taken out or put in unseen.

A segment is the chain of one writer on one day (UTC), since environments cannot share a chain without waiting for each
other; the control changes of a router are one segment for all time.  A record's hash is the SHA-256 of its segment, its
number, the hash before, and its canonical text, so no record fits anywhere else.  The first record of a segment has for
the hash before what its writer wrote last on an earlier day (`Head.mark`), or nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

VERSION = 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
CHANGES = "changes"
"""The segment of control changes."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a segment: its number from 1 (0: there is none yet) and its hash."""

    segment: str
    seq: int
    hash: str

    @property
    def mark(self) -> str:
        """As the first record of the next day names it."""
        return f"{self.segment}#{self.seq}#{self.hash}"


@dataclass(frozen=True, slots=True)
class Link:
    """Where a record stands: the number it has in its segment, the hash before it, its own."""

    segment: str
    seq: int
    prev: str
    hash: str

    @property
    def head(self) -> Head:
        return Head(self.segment, self.seq, self.hash)

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"v": VERSION, "segment": self.segment, "seq": self.seq, "prev": self.prev, "hash": self.hash}


def canonical(record: Mapping[str, Any]) -> str:
    """The one JSON text of a record: sorted keys, no spaces, ASCII only.  Raises ValueError, TypeError."""
    return _ENCODER.encode(record)


def hash_of(segment: str, seq: int, prev: str, text: str) -> str:
    """The hash of a record by its place and its canonical text."""
    place = json.dumps([VERSION, segment, seq, prev], separators=(",", ":"))
    return hashlib.sha256(f"{place}\n{text}".encode()).hexdigest()


def opened(day: str, nonce: str, last: Head | None = None) -> Head:
    """The beginning of a writer's segment of a day; `last` is what it wrote before."""
    return Head(f"{day}/{nonce}", 0, last.mark if last is not None and last.seq else "")


def linked(head: Head, text: str) -> Link:
    """The place of the next record, whose canonical text is given."""
    seq = head.seq + 1
    return Link(head.segment, seq, head.hash, hash_of(head.segment, seq, head.hash, text))


def link_from(plain: Any) -> Link | None:
    """The link that `plain()` wrote; None where it is not one, or one of another version."""
    if not isinstance(plain, Mapping) or plain.get("v") != VERSION:
        return None
    segment, seq, prev, own = (plain.get(name) for name in ("segment", "seq", "prev", "hash"))
    if not all(isinstance(text, str) for text in (segment, prev, own)) or type(seq) is not int or seq < 1:
        return None
    return Link(str(segment), seq, str(prev), str(own))


def head_from(mark: str) -> Head | None:
    """The head that a `mark` names; None where it names none."""
    segment, _, rest = mark.partition("#")
    seq, _, own = rest.partition("#")
    if not segment or not seq.isascii() or not seq.isdigit() or not own:
        return None
    return Head(segment, int(seq), own)


def line_of(link: Link, text: str, at: float, service: str) -> str:
    """A record as a log line.  The canonical text stands in it as it is.

    Lambda believes a line's level only beside an RFC 3339 timestamp (AWS Lambda developer guide, "Log-level
    filtering").
    """
    head = {"level": "INFO", "message": "audit", "timestamp": moment(at), "service": service, "audit": link.plain()}
    return f'{json.dumps(head, separators=(",", ":"))[:-1]},"record":{text}}}'


def moment(at: float) -> str:
    """Epoch seconds as records have them: UTC, to the millisecond, in the order of their letters."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def day_of(at: float) -> str:
    """The day (UTC) of a moment."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
