"""Audit records out of what holds them: the local file, a log group's export, what a subscription has put into S3.

Read alike, compressed or not: JSON lines; lines with a time before the JSON (CloudWatch's export to S3); envelopes with
`logEvents` (a subscription), also many in one line, as Firehose joins them; the answer of `aws logs
filter-log-events`.  Lines that are no audit records are passed over.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from understudy.audit.chain import Link, canonical, hash_of, link_from

GZIP = b"\x1f\x8b"
NESTED = 3
"""How often a file may be compressed over."""
LARGEST = 1 << 30
"""Bytes of one document that is not in lines."""
WORDS = ('"audit', '\\"audit')
"""How the name of a record or of a seal stands in a line, or in a message inside an envelope."""


_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it was found; `whole`: its hash is that of its content and place."""

    place: str
    link: Link
    record: Mapping[str, Any]
    whole: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """What says that it is an audit record and cannot be read."""

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A day's seal as the log has it."""

    day: str
    hash: str


Found = Entry | Unread | Noted


def entries(file: BinaryIO, name: str) -> Iterator[Found]:
    """The records of a file, in its order; `name` is what places are called by."""
    try:
        yield from _lines(_plain(file), name)
    except (OSError, EOFError, zlib.error) as error:
        yield Unread(name, f"it cannot be decompressed to its end: {error}")


def entry_from(line: str, place: str) -> Iterator[Found]:
    """The records of one line, or of one log event's message."""
    if not any(word in line for word in WORDS):
        return
    start = line.find("{")
    if start < 0:
        return
    try:
        for value in _values(line[start:]):
            yield from _of(value, place, line)
    except (ValueError, RecursionError):
        yield Unread(place, "it is not JSON to its end")


def checked(link: Link, record: Mapping[str, Any], place: str, line: str = "") -> Entry:
    """A record with whether its hash is right; `line` is where it was read, if it was a line."""
    try:
        text = canonical(record)
    except (ValueError, TypeError, RecursionError):
        return Entry(place, link, record, whole=False)
    whole = hash_of(link.segment, link.seq, link.prev, text) == link.hash
    # Of two fields of one name readers do not agree on which is meant.
    return Entry(place, link, record, whole=whole and not (line and text not in line and _repeats(line)))


def _plain(file: BinaryIO) -> BinaryIO:
    opened = io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file
    for _ in range(NESTED):
        begin = opened.read(2)
        opened.seek(0)
        if begin != GZIP:
            return opened
        opened = gzip.GzipFile(fileobj=opened, mode="rb")  # type: ignore[assignment]
    return opened


def _lines(file: BinaryIO, name: str) -> Iterator[Found]:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n")
    first = text.readline()
    if first.strip() in ("{", "["):
        # One document over many lines, as the command line of AWS prints it.
        yield from _document(first + text.read(LARGEST), name)
        return
    number = 1
    while first:
        yield from entry_from(first, f"{name}:{number}")
        first, number = text.readline(), number + 1


def _document(text: str, name: str) -> Iterator[Found]:
    try:
        for value in _values(text):
            yield from _of(value, name, "")
    except (ValueError, RecursionError):
        yield Unread(name, "it is not JSON to its end")


def _values(text: str) -> Iterator[Any]:
    """The JSON values of a text, one after another.  Raises ValueError."""
    at = 0
    while at < len(text):
        value, at = _DECODER.raw_decode(text, at)
        yield value
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1


def _of(value: Any, place: str, line: str) -> Iterator[Found]:
    """The records of one value: a record itself, an envelope, or a list of either."""
    if isinstance(value, list):
        for one in value:
            yield from _of(one, place, "")
        return
    if not isinstance(value, dict):
        return
    if value.get("message") == "audit seal":
        yield Noted(str(value.get("day")), str(value.get("hash")))
        return
    if "audit" in value and "record" in value:
        yield _record(value, place, line)
        return
    for events in (value.get("logEvents"), value.get("events")):
        for number, event in enumerate(events if isinstance(events, list) else ()):
            message = event.get("message") if isinstance(event, dict) else None
            if isinstance(message, str):
                yield from entry_from(message, f"{place}, event {number}")
    if isinstance(value.get("message"), str) and value["message"].lstrip().startswith("{"):
        yield from entry_from(value["message"], place)


def _record(value: Mapping[str, Any], place: str, line: str) -> Found:
    link, record = link_from(value["audit"]), value["record"]
    if link is None or not isinstance(record, dict):
        return Unread(place, "it is no record of this version")
    return checked(link, record, place, line)


def _repeats(line: str) -> bool:
    """Whether an object of the line has a field twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        json.loads(line[line.find("{") :], object_pairs_hook=once)
    except ValueError as error:
        return str(error) == "twice"
    return False
