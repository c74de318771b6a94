"""Audit records as environments write them, for the tests that read them again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

from understudy.audit.chain import Head, canonical, line_of, linked, opened
from understudy.audit.reading import entries
from understudy.audit.verify import Report, Verification

DAY = "2026-12-10"
AT = 1_796_900_000.0
"""A moment of that day."""


class Writer:
    """An environment: `lines` is what it wrote, `head` how far it has come."""

    def __init__(self, nonce: str = "aa", day: str = DAY, last: Head | None = None) -> None:
        self.head = opened(day, nonce, last)
        self.lines: list[str] = []

    def write(self, **record: Any) -> None:
        text = canonical({"kind": "request", "request_id": f"r{self.head.seq + 1}", **record})
        link = linked(self.head, text)
        self.lines.append(line_of(link, text, AT + link.seq, "route_request"))
        self.head = link.head

    def written(self, count: int) -> Writer:
        for _ in range(count):
            self.write()
        return self


def verified(lines: Iterable[str | bytes], known: Iterable[Head] = (), *, sealed: bool = False) -> Report:
    """What is said of a file of these lines; `known` are the heads of the day, all of them where any is given."""
    whole = b"".join(line.encode() + b"\n" if isinstance(line, str) else line for line in lines)
    verification, heads = Verification(), list(known)
    for found in entries(io.BytesIO(whole), "file"):
        verification.take(found)
    days = [DAY] if heads else []
    return verification.report(heads, days, days if sealed else [])


def sorts(report: Report) -> list[tuple[str, int]]:
    """Sort and number of each flaw."""
    return [(flaw.sort, flaw.seq) for flaw in report.flaws]


def changed(line: str, **fields: Any) -> str:
    """A line with other fields in its record, and everything else as it was."""
    value = json.loads(line)
    value["record"] |= fields
    return json.dumps(value)


def moved(line: str, **fields: Any) -> str:
    """A line with another place in its chain."""
    value = json.loads(line)
    value["audit"] |= fields
    return json.dumps(value)
