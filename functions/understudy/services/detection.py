"""Values of observations go to the detector of their stream; what it finds becomes a finding of its target.

One item of the table for each stream and kind of a target, all those of an observation read in one batch and written
one by one on condition that nobody wrote since; after a Conflict the item is read again and the values are taken in
anew.  An observation that was taken in before changes no item, so it may come as often as it likes: what stands is told
each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from understudy.catalog import Catalog
from understudy.detectors.checks import MOST_ITEMS, problem
from understudy.detectors.comparison import Comparison, compared
from understudy.detectors.discovery import PERIOD, discovered
from understudy.detectors.sample import TRAFFIC, Kind, Sample, bought
from understudy.detectors.watch import Kit, Taken, Terms, Watch, accepted, renewed, take, watch_from
from understudy.errors import Conflict, StoreError
from understudy.health.finding import Finding
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.health.quality import Judged
from understudy.ports import Clock, Logger
from understudy.services.sweep import asked_of
from understudy.store_ports import DetectorStore, Kept, SnapshotStore, Stream

TRIES = 8
MOST_STREAMS = 32
"""Streams of one observation."""
ASKED = 2 * PERIOD
"""Seconds within which a stream had values, so that a comparison of versions waits for it."""


NEAR = 3600.0
"""Seconds before a version was first reported from which on a change counts as its own: when a change began is an
estimate, and questions come by the hour."""


class Questions(Protocol):
    """What detection wants to know of a golden set."""

    @property
    def digest(self) -> str:
        """Changes with any question: what was learned before is then void."""

    def task(self, item: int) -> tuple[str, float] | None:
        """The task of a question and its weight there; None where there is no such question."""


Batch = tuple[str, Sequence[Sample]]
"""The samples of one observation, with its mark."""
Find = Callable[[Catalog, str], Questions | None]


class Store(DetectorStore, SnapshotStore, Protocol):
    """The part of the store that detection needs."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What an observation taught: the findings that stand now, or None, by stream; judged answers; the streams of which
    a run should be bought; the comparison by which a new version was accepted, in figures, and the kinds of values
    whose changes were accepted with it."""

    findings: Mapping[Stream, Finding | None] = field(default_factory=dict)
    judged: tuple[Judged, ...] = ()
    asks: tuple[str, ...] = ()
    no_loss: Mapping[str, object] | None = None
    accepted: tuple[Kind, ...] = ()


class Detection:
    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        logger: Logger,
        kit: Kit | None = None,
        find: Find = lambda _catalog, _name: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._kit = kit or Kit()
        self._find = find

    def observe(self, seen: Sequence[Observation], current: Catalog, health: Health) -> Learned:
        """Take the samples of observations of one target of the catalog in, oldest first.  Raises StoreError."""
        target, groups = health.target, self._batches(seen)
        if not groups:
            return Learned()
        known = self._store.detectors(target, list(groups))
        since = _changed_at(health.findings)
        findings: dict[Stream, Finding | None] = {}
        judged: list[Judged] = []
        asks: list[str] = []
        watches: list[Watch] = []
        # A new version first: the answers of the same observation are the first of the comparison.
        for stream in sorted(groups, key=lambda one: one[1] != "version"):
            taken = self._take(target, stream, groups[stream], known.get(stream), current, since)
            if taken is None:
                continue
            watches.append(taken.watch)
            findings[stream] = _finding(taken.watch)
            if stream[1] == "version":
                news = _changed_at(one for one in findings.values() if one)
                if news and not since:
                    since = news
                    asks += self._golden(target)
            judged += self._judged(taken, current)
            if taken.ask and bought(stream[0]):
                asks.append(stream[0])
        no_loss, over = self._settled(target, watches, since, health, findings, current)
        return Learned(findings, tuple(judged), tuple(dict.fromkeys(asks)), no_loss, over)

    def _batches(self, seen: Sequence[Observation]) -> dict[Stream, list[Batch]]:
        """The samples of each stream and kind, by the observations that brought them."""
        found: dict[Stream, list[Batch]] = {}
        for one in seen:
            mark = _mark(one)
            for stream, samples in self._sorted_out(one).items():
                found.setdefault(stream, []).append((mark, samples))
        return found

    def _sorted_out(self, seen: Observation) -> dict[Stream, list[Sample]]:
        """The samples by stream and kind; those that cannot be are refused, and the log says why."""
        groups: dict[Stream, list[Sample]] = {}
        now = self._clock()
        for place, sample in enumerate(seen.samples):
            why = problem(sample, now)
            stream = (sample.stream, sample.kind)
            if why is None and stream not in groups and len(groups) >= MOST_STREAMS:
                why = f"stream {sample.stream[:60]!r}: an observation has at most {MOST_STREAMS} of them"
            if why is None:
                groups.setdefault(stream, []).append(sample)
            else:
                self._logger.warning("a sample was refused", target=seen.target, sample=place, reason=why)
        return groups

    def _take(
        self,
        target: str,
        stream: Stream,
        batches: Sequence[Batch],
        kept: Kept | None,
        current: Catalog,
        since: float,
    ) -> Taken | None:
        """The stream's watch after these samples; None where its detector cannot go on, which is logged."""
        terms = replace(terms_of(current), changed_at=since if stream[0] != TRAFFIC else 0.0)
        for _ in range(TRIES):
            try:
                questions = self._find(current, stream[0]) if bought(stream[0]) else None
                watch = _watch(stream, kept, questions.digest if questions else "")
                enough = self._enough(target, stream, current)
                taken = self._taken(watch, batches, terms, enough)
            except StoreError:
                raise
            except Exception:
                # One broken state must not keep the whole table's stream from being read.
                self._logger.exception("a detector failed", target=target, stream=stream[0], kind=stream[1])
                return None
            if taken.late:
                why = f"{taken.late} values came too late"
                self._logger.warning("samples were refused", target=target, stream=stream[0], reason=why)
            if taken.watch == watch:
                return taken
            try:
                self._store.put_detector(target, stream, Kept(taken.watch.plain(), watch.rev), self._clock())
            except Conflict:
                kept = self._store.detector(target, stream)
                continue
            return taken
        raise Conflict(f"the detector of {target}/{stream[0]}/{stream[1]} changed {TRIES} times while it was updated")

    def _taken(self, watch: Watch, batches: Sequence[Batch], terms: Terms, enough: Callable[[float], bool]) -> Taken:
        """One batch after the other, as if each had been written before the next came."""
        fresh: list[Sample] = []
        late, ask = 0, False
        for mark, samples in batches:
            taken = take(watch, samples, mark, terms, self._kit, enough)
            watch, late, ask = taken.watch, late + taken.late, ask or taken.ask
            fresh += taken.fresh
        return Taken(watch, tuple(fresh), late, ask)

    def _enough(self, target: str, stream: Stream, current: Catalog) -> Callable[[float], bool]:
        """Whether an e-value may be told among the alarms that stand on all targets; read only when it is asked."""

        def enough(e_value: float) -> bool:
            now = self._clock()
            standing = [
                float(finding.alarm.evidence.get("e_value", 0.0))
                for name, health in self._store.snapshot(list(current.targets), []).health.items()
                for finding in health.findings
                if (name, finding.stream, finding.kind) != (target, *stream) and now - finding.since < PERIOD
            ]
            # The other targets are watched about as closely as this one.
            streams = len(current.targets) * max(1, len(self._store.streams(target)))
            rate = current.health.detection.false_discovery_rate
            return len(standing) in discovered([*standing, e_value], streams, rate)

        return enough

    def _judged(self, taken: Taken, current: Catalog) -> Iterable[Judged]:
        """The answers to questions of a golden set, by task."""
        if taken.watch.kind != "quality" or not bought(taken.watch.stream):
            return
        questions = self._find(current, taken.watch.stream)
        for sample in taken.fresh:
            task, weight = (questions.task(sample.item) if questions else None) or ("", 1.0)
            if sample.item >= 0:
                yield Judged(task, float(sample.value), sample.at, weight)

    def _golden(self, target: str) -> list[str]:
        """The streams of questions that the target is asked."""
        return [stream for stream, kind in self._store.streams(target) if kind == "quality" and bought(stream)]

    def _settled(
        self,
        target: str,
        watches: Sequence[Watch],
        since: float,
        health: Health,
        findings: dict[Stream, Finding | None],
        current: Catalog,
    ) -> tuple[Mapping[str, object] | None, tuple[Kind, ...]]:
        """Accept a new version where all questions together show no loss; the figures and what was accepted with it,
        or None and nothing."""
        asked = {watch.stream: watch for watch in watches if watch.kind == "quality" and bought(watch.stream)}
        # The change itself is told first, so what the very observation that brought it says of it waits for the next.
        if not _changed_at(health.findings) or not asked:
            return None, ()
        found = self._together(target, asked, since, current)
        if found is None or found.verdict != "no loss":
            return None, ()
        told = {(one.stream, one.kind): one for one in health.findings} | {k: v for k, v in findings.items() if v}
        over = [stream for stream, finding in told.items() if _came_with(finding, since)]
        for stream in over:
            accept(self._store, self._kit, target, stream, current, self._clock())
            findings[stream] = None
        return {
            "questions compared": found.questions,
            "quality before and after": f"{found.before:.3f}, {found.after:.3f}",
            "difference, 95 % interval": f"{found.low:+.3f} to {found.high:+.3f}",
        }, tuple(dict.fromkeys(told[stream].kind for stream in over))

    def _together(self, target: str, asked: Mapping[str, Watch], since: float, current: Catalog) -> Comparison | None:
        """The comparison of two versions by the questions of all sets that the target is asked; None while one of them
        has not answered since, and where one of them alone shows a loss.

        A set of a few questions can never exclude a loss by itself, so it must not be asked to.
        """
        still = asked_of(target, current, self._clock()) or {}
        names = [(name, "quality") for name in self._golden(target) if name not in asked and name in still]
        others = (self._read(target, kept) for kept in self._store.detectors(target, names).values())
        recent = [watch for watch in others if watch is not None and self._clock() - watch.newest < ASKED]
        before: dict[int, tuple[float, float]] = {}
        after: dict[int, tuple[float, float]] = {}
        for place, watch in enumerate((*asked.values(), *recent)):
            lost = watch.comparison is not None and watch.comparison["verdict"] == "loss"
            if watch.changed_at != since or lost:
                return None
            if watch.before and not watch.before.keys() & watch.answers.keys():
                return None
            before |= {place * MOST_ITEMS + item: answer for item, answer in watch.before.items()}
            after |= {place * MOST_ITEMS + item: answer for item, answer in watch.answers.items()}
        return compared(before, after, max_loss=current.health.detection.max_loss)

    def _read(self, target: str, kept: Kept) -> Watch | None:
        """The watch that is kept; None where it cannot be read, which is logged."""
        try:
            return watch_from(kept.plain, kept.rev)
        except Exception:
            self._logger.exception("a detector failed", target=target)
            return None


def terms_of(current: Catalog) -> Terms:
    """What the document says of detection."""
    detection = current.health.detection
    return Terms(detection.in_control_length, current.health.evaluations_to_resolve, detection.max_loss)


def accept(store: DetectorStore, kit: Kit, target: str, stream: Stream, current: Catalog, now: float) -> bool:
    """Take what a stream is like now for normal; False where nothing is kept of it.  Raises StoreError."""
    for _ in range(TRIES):
        kept = store.detector(target, stream)
        if kept is None:
            return False
        watch = watch_from(kept.plain, kept.rev)
        after = accepted(watch, kit, in_control_length=current.health.detection.in_control_length)
        try:
            store.put_detector(target, stream, Kept(after.plain(), kept.rev), now)
        except Conflict:
            continue
        return True
    raise Conflict(f"the detector of {target}/{stream[0]}/{stream[1]} changed {TRIES} times while it was updated")


def _watch(stream: Stream, kept: Kept | None, digest: str) -> Watch:
    """The watch that is kept, or a new one; learned anew where its questions are others now."""
    if kept is None:
        return Watch(stream[0], stream[1], digest=digest)  # type: ignore[arg-type]  # checked before
    known = watch_from(kept.plain, kept.rev)
    return known if known.digest == digest else renewed(known, digest)


def _finding(watch: Watch) -> Finding | None:
    inquiry = watch.inquiry
    if inquiry is None:
        return None
    evidence = {**inquiry.alarm.evidence, **inquiry.evidence(), "trend": list(watch.trend)}
    since = inquiry.actions[0][0] if inquiry.actions else inquiry.alarm.at
    return Finding(watch.stream, inquiry.state, since, replace(inquiry.alarm, evidence=evidence))


def _changed_at(findings: Iterable[Finding]) -> float:
    """When a version came that is not accepted yet, by the stream that saw it first; 0 where there is none."""
    return min((one.alarm.changed_at for one in findings if one.kind == "version"), default=0.0)


def _came_with(finding: Finding, since: float) -> bool:
    """Whether a change is the version's or began when the version changed; what was there before is another matter."""
    return finding.alarm.verdict == "changed" and (
        finding.kind == "version" or finding.alarm.changed_at >= since - NEAR
    )


def _mark(seen: Observation) -> str:
    """Tells an observation from others of its target; the same each time it is delivered."""
    told = json.dumps([seen.at, seen.source, *(sample.plain() for sample in seen.samples)], default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:6]
