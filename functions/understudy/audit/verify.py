"""Whether records are what was written, and all of it: the first flaw of each segment, by name.

Logs are delivered at least once and in any order, so a record that comes twice, or late, is none.  A record that does
not fit is *tampered*: no delivery makes one.  One that is missing is *missing*: lost on its way or taken out, which the
records alone cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from understudy.audit.chain import Head, head_from
from understudy.audit.reading import Entry, Found, Noted, Unread
from understudy.audit.seal import Kept, day_after, root, seal_hash

Sort = Literal["tampered", "missing", "open"]
"""Changed, put in, moved or taken over; not there; not held by a seal yet, so that a cut would not be seen."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a segment, from which record on."""

    sort: Sort
    segment: str
    seq: int
    words: str
    place: str = ""

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.sort}: {self.segment} record {self.seq}: {self.words}{where}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: records counted once, those that came more than once, segments, and the flaws."""

    records: int
    repeated: int
    segments: int
    flaws: tuple[Flaw, ...]

    def of(self, sort: Sort) -> list[Flaw]:
        return [flaw for flaw in self.flaws if flaw.sort == sort]


@dataclass(slots=True)
class _Segment:
    """The hashes before and of each record by its number, and the first flaw of each sort."""

    links: dict[int, tuple[str, str]] = field(default_factory=dict)
    flaws: dict[Sort, Flaw] = field(default_factory=dict)

    def flaw(self, found: Flaw) -> None:
        known = self.flaws.get(found.sort)
        if known is None or found.seq < known.seq:
            self.flaws[found.sort] = found

    @property
    def last(self) -> int:
        return max(self.links, default=0)


class Verification:
    """Takes records one by one, in any order, and says at the end what they are worth."""

    def __init__(self) -> None:
        self._segments: dict[str, _Segment] = {}
        self._unread: list[Flaw] = []
        self._records = self._repeated = 0
        self.noted: dict[str, str] = {}

    @property
    def days(self) -> set[str]:
        """The days that any of the records is of."""
        return {name.partition("/")[0] for name in self._segments if "/" in name}

    def take(self, found: Found) -> None:
        if isinstance(found, Unread):
            self._unread.append(Flaw("missing", "?", 0, found.why, found.place))
            return
        if isinstance(found, Noted):
            self.noted.setdefault(found.day, found.hash)
            return
        link = found.link
        segment = self._segments.setdefault(link.segment, _Segment())
        known = segment.links.get(link.seq)
        if not found.whole:
            self._tampered(segment, found, "its content is not what was written: the hash differs")
            if known is None:
                segment.links[link.seq] = (link.prev, link.hash)
            return
        if known is None:
            segment.links[link.seq] = (link.prev, link.hash)
            self._records += 1
        elif known == (link.prev, link.hash):
            self._repeated += 1
        else:
            self._tampered(segment, found, "there are two different records of this number")

    def report(self, known: Iterable[Head] = (), days: Iterable[str] = (), sealed: Iterable[str] = ()) -> Report:
        """`known` are the heads that the table or a seal has, all of them for each of the `days`; `sealed` the days
        whose heads are those of a seal."""
        heads = {head.segment: head for head in known}
        whole, closed = frozenset(days), frozenset(sealed)
        for name in [*self._segments]:
            self._inside(name)
        self._followed()
        for name, segment in self._segments.items():
            self._against(name, segment, heads.get(name), whole, closed)
        absent = [
            Flaw("missing", name, 1, f"the whole segment of {head.seq} records is missing")
            for name, head in heads.items()
            if name not in self._segments
        ]
        flaws = [flaw for segment in self._segments.values() for flaw in segment.flaws.values()]
        order = {"tampered": 0, "missing": 1, "open": 2}
        found = sorted((*flaws, *absent, *self._unread), key=lambda one: (order[one.sort], one.segment, one.seq))
        return Report(self._records, self._repeated, len(self._segments), tuple(found))

    def _inside(self, name: str) -> None:
        """Each record must follow the one before it."""
        segment, before = self._segments[name], 0
        for seq in sorted(segment.links):
            if seq != before + 1:
                words = f"records {before + 1} to {seq - 1} are missing" if seq > before + 2 else "it is missing"
                segment.flaw(Flaw("missing", name, before + 1, words))
            elif before and segment.links[seq][0] != segment.links[before][1]:
                words = f"it does not follow record {before}: it was put in, or what stood before was replaced"
                segment.flaw(Flaw("tampered", name, seq, words))
            before = seq

    def _followed(self) -> None:
        """What the first record of a segment says of the one before it must be so."""
        days = {name.partition("/")[0] for name in self._segments}
        for name, segment in [*self._segments.items()]:
            if 1 not in segment.links or not segment.links[1][0]:
                continue
            head = head_from(segment.links[1][0])
            if head is None:
                segment.flaw(Flaw("tampered", name, 1, "what it says of the day before cannot be read"))
            elif head.segment in self._segments:
                self._ends(head, self._segments[head.segment], f"as {name} says", last=True)
            elif head.segment.partition("/")[0] in days:
                words = f"the whole segment of {head.seq} records is missing, as {name} says"
                self._unread.append(Flaw("missing", head.segment, 1, words))

    def _ends(self, head: Head, segment: _Segment, who: str, *, last: bool) -> None:
        there = segment.links.get(head.seq)
        if there is not None and there[1] != head.hash:
            segment.flaw(Flaw("tampered", head.segment, head.seq, f"it is not the record that was written, {who}"))
        elif segment.last < head.seq:
            words = f"the tail is cut: there are {head.seq} records, {who}"
            segment.flaw(Flaw("missing", head.segment, segment.last + 1, words))
        elif last and segment.last > head.seq:
            words = f"it comes after the end of its segment, {who}"
            segment.flaw(Flaw("tampered", head.segment, head.seq + 1, words))

    def _against(
        self, name: str, segment: _Segment, head: Head | None, whole: frozenset[str], closed: frozenset[str]
    ) -> None:
        """A segment against its head in the table."""
        day = name.partition("/")[0]
        who = "as its day's seal says" if day in closed else "as the table says"
        if head is not None:
            self._ends(head, segment, who, last=False)
            if segment.last > head.seq:
                words = f"from here on no head is known ({segment.last - head.seq} records): a cut would not be seen"
                segment.flaw(Flaw("open", name, head.seq + 1, words))
        elif day in whole:
            words = "the table knows no such segment: it was put in, or its environment could not write its head"
            segment.flaw(Flaw("open", name, 1, words))
        else:
            segment.flaw(Flaw("open", name, segment.last + 1, "a cut behind the last record would not be seen here"))

    def _tampered(self, segment: _Segment, found: Entry, words: str) -> None:
        name = found.record.get("request_id")
        said = f"{words}, request {name!s:.100}" if name else words
        segment.flaw(Flaw("tampered", found.link.segment, found.link.seq, said, found.place))


def check_seals(seals: Sequence[Kept], noted: Mapping[str, str] | None = None) -> Iterator[Flaw]:
    """What is wrong with a chain of seals, oldest first; `noted` has the hash of a day's seal as somebody kept it."""
    before: Kept | None = None
    for seal in seals:
        own, day = str(seal.plain.get("hash")), seal.day
        if seal_hash(seal.plain) != own:
            yield Flaw("tampered", f"seal {day}", 1, "the seal was changed: its hash differs")
        elif root(seal.heads) != seal.plain.get("root"):
            yield Flaw("tampered", f"seal {day}", 1, "the heads beside the seal are not those it was made of")
        elif noted and noted.get(day, own) != own:
            yield Flaw("tampered", f"seal {day}", 1, "it is not the seal that was noted")
        if before is not None and before.day != day and day_after(before.day) != day:
            yield Flaw("missing", f"seal {day_after(before.day)}", 1, f"there is no seal up to {day}")
        elif before is not None and seal.plain.get("prev") != before.plain.get("hash"):
            yield Flaw("tampered", f"seal {day}", 1, f"it does not follow the seal of {before.day}")
        before = seal
