"""All that is kept of one stream of one target: its detector, an alarm that is looked into, answers by question.

Values come from a queue that delivers at least once and sometimes out of order.  A batch of values that was taken in
before is known by its mark and changes nothing; values that come later than LATE after newer ones are left out; others
are taken in as they come, since detectors pair by question and by the hour, not by neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.detectors.comparison import Answers, added, compared
from understudy.detectors.confirm import confirmation
from understudy.detectors.discovery import PERIOD, e_value
from understudy.detectors.inquiry import MOST_ASKS, MOST_LOOK, Inquiry, inquiry_from, looked
from understudy.detectors.packing import packed, unpacked
from understudy.detectors.sample import TEXTS, Alarm, Kind, Sample
from understudy.detectors.stream import IN_CONTROL_LENGTH, Detector, detector, detector_from

MARKS = 128
"""Batches that are known again: the table's stream delivers 100 observations at once, which may be of one target."""
LATE = 3600.0
TREND = 24
"""Means of the newest batches that are kept, for people."""
ANSWERS = 8.0
"""Answers to a question after which the older ones lose their weight."""
MOST_QUESTIONS = 160


@dataclass(frozen=True, slots=True)
class Kit:
    """What makes a detector, what restores one from its state, and what judges a second look."""

    make: Callable[..., Detector] = detector
    restore: Callable[..., Detector] = detector_from
    judge: Callable[[Detector, Sequence[Sample]], Any] = confirmation


@dataclass(frozen=True, slots=True)
class Terms:
    """`good` looks in a row end a confirmed alarm; `changed_at` is when a version that is being compared came (0: none
    is), `max_loss` what it may lose."""

    in_control_length: float = IN_CONTROL_LENGTH
    good: int = 3
    max_loss: float = 0.05
    changed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """`detector` is the detector's state, None before the first value; `digest` that of the questions it was learned
    on.  `first` and `newest` are the times of values, `count` their number.  `answers` are those to each question,
    since `changed_at` where two versions are compared, and `before` those until then."""

    stream: str
    kind: Kind
    detector: Mapping[str, Any] | None = None
    digest: str = ""
    first: float = 0.0
    newest: float = 0.0
    count: int = 0
    marks: tuple[str, ...] = ()
    trend: tuple[float, ...] = ()
    inquiry: Inquiry | None = None
    answers: Answers = field(default_factory=dict)
    before: Answers = field(default_factory=dict)
    changed_at: float = 0.0
    comparison: Mapping[str, Any] | None = None
    rev: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "rev"}
        sides = {name: packed(plain[name]) for name in ("answers", "before")}
        sides["marks"] = " ".join(self.marks)
        return plain | sides | {"inquiry": self.inquiry.plain() if self.inquiry else None}

    @property
    def per_period(self) -> float:
        """Values in one period."""
        return self.count / max(1.0, (self.newest - self.first) / PERIOD)


def watch_from(plain: Mapping[str, Any], rev: int) -> Watch:
    """The watch that `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in Watch.__slots__ if name in plain}
    for name in ("answers", "before"):
        known[name] = {item: (count, mean) for item, (count, mean) in unpacked(plain.get(name, "")).items()}
    known |= {"marks": tuple(plain.get("marks", "").split()), "trend": tuple(plain.get("trend", ()))}
    inquiry = plain.get("inquiry")
    return Watch(**known | {"inquiry": inquiry_from(inquiry) if inquiry else None, "rev": rev})


@dataclass(frozen=True, slots=True)
class Taken:
    """The watch after a batch; `fresh` are the values that counted, `late` the number of those that came too late,
    `ask`: a run of the stream's questions should be bought."""

    watch: Watch
    fresh: tuple[Sample, ...] = ()
    late: int = 0
    ask: bool = False


def take(
    watch: Watch, samples: Sequence[Sample], mark: str, terms: Terms, kit: Kit, enough: Callable[[float], bool]
) -> Taken:
    """Take a batch of values of one stream and kind in.

    Those of a bought run (negative `run`) are a second look and no news for the detector; without an alarm they count
    for nothing but a comparison.  Values of ordinary running after an alarm are a second look too, some at a time,
    so that one comes also where no run can be bought or none came.  `enough` says whether an e-value may be told
    among all alarms that stand.
    """
    if mark in watch.marks:
        return Taken(watch)
    timely = [sample for sample in samples if sample.at >= watch.newest - LATE]
    late = len(samples) - len(timely)
    if not timely:
        return Taken(watch, late=late)
    regular = [sample for sample in timely if sample.run >= 0]
    after, ask = _looks(_stepped(watch, regular, terms, kit), timely, terms, kit, enough)
    if watch.inquiry is None and after.inquiry is not None and after.kind != "version":
        ask = True
    if after.kind == "quality":
        after, more = _answered(after, timely, terms)
        ask = ask or more
    ask = ask and (after.inquiry is None or after.inquiry.asks < MOST_ASKS)
    if ask and after.inquiry is not None:
        after = replace(after, inquiry=replace(after.inquiry, asks=after.inquiry.asks + 1))
    after = replace(after, marks=(*after.marks, mark)[-MARKS:])
    return Taken(after, fresh=tuple(regular), late=late, ask=ask)


def accepted(watch: Watch, kit: Kit, *, in_control_length: float) -> Watch:
    """The watch whose stream is normal as it is: the alarm is over and the baseline is learned again.

    A comparison of versions goes on: it is over when the version is accepted, by the terms of the next batch.
    """
    after = replace(watch, inquiry=None)
    if watch.detector is None:
        return after
    machine = kit.restore(watch.detector, in_control_length=in_control_length)
    machine.accept()
    return replace(after, detector=machine.plain())


def renewed(watch: Watch, digest: str) -> Watch:
    """The watch of a stream whose questions are others now: all is learned anew.

    A confirmed alarm stands until somebody accepts it: that the questions were changed does not make answers good, and
    the baseline that could tell is gone.  A suspicion is dropped.
    """
    inquiry = watch.inquiry if watch.inquiry is not None and watch.inquiry.state == "confirmed" else None
    if inquiry is not None and not inquiry.stale:
        words = "its questions were changed: nothing can show that it is over, so it stands until it is accepted"
        inquiry = replace(inquiry, look=(), stale=True).did(watch.newest, words)
    return Watch(watch.stream, watch.kind, digest=digest, marks=watch.marks, inquiry=inquiry, rev=watch.rev)


def _stepped(watch: Watch, regular: Sequence[Sample], terms: Terms, kit: Kit) -> Watch:
    """With the values told to the detector one by one, and an inquiry where it gave an alarm."""
    if not regular:
        return watch
    length = terms.in_control_length
    known = watch.detector
    machine = kit.make(watch.kind, in_control_length=length) if known is None else None
    machine = machine or kit.restore(known, in_control_length=length)
    before = machine.plain()
    watch = replace(
        watch,
        first=watch.first or regular[0].at,
        newest=max(watch.newest, *(sample.at for sample in regular)),
        count=watch.count + len(regular),
        trend=_trend(watch, regular),
    )
    inquiry = watch.inquiry
    for sample in regular:
        alarm = machine.step(sample)
        if alarm is not None and (inquiry is None or _outranks(alarm, inquiry)):
            inquiry = _opened(alarm, before, watch, length)
        elif inquiry is not None and not inquiry.stale and len(inquiry.look) < MOST_LOOK:
            inquiry = replace(inquiry, look=(*inquiry.look, sample))
    return replace(watch, detector=machine.plain(), inquiry=inquiry)


def _opened(alarm: Alarm, before: Mapping[str, Any], watch: Watch, length: float) -> Inquiry:
    worth = e_value(alarm, in_control_length=length, per_period=watch.per_period)
    if alarm.kind == "version":
        # What a provider reports is a fact and no estimate.
        return Inquiry(alarm, before, worth, "confirmed").did(alarm.at, "the provider reported another version")
    return Inquiry(alarm, before, worth).did(alarm.at, f"the detector of {alarm.kind} gave an alarm")


def _outranks(alarm: Alarm, standing: Inquiry) -> bool:
    """A further version is news, and so is a loss where only a change was known; any other alarm is told already."""
    return alarm.kind == "version" or (alarm.verdict == "degraded" and standing.alarm.verdict == "changed")


def _looks(
    watch: Watch, timely: Sequence[Sample], terms: Terms, kit: Kit, enough: Callable[[float], bool]
) -> tuple[Watch, bool]:
    """With the second looks that are due, and whether another run should be bought."""
    inquiry, ask = watch.inquiry, False
    bought = [sample for sample in timely if sample.run < 0]
    if inquiry is None or inquiry.stale or inquiry.alarm.kind == "version":
        return watch, False
    was = inquiry.state
    for samples in (bought, inquiry.look if inquiry.due else ()):
        if inquiry is None or not samples:
            continue
        judge = kit.restore(inquiry.baseline, in_control_length=terms.in_control_length)
        inquiry, ask = looked(inquiry, kit.judge(judge, samples), samples, good=terms.good, enough=enough)
    if inquiry is None and was == "confirmed":
        # What was learned while it was worse must not be what is normal.
        return accepted(watch, kit, in_control_length=terms.in_control_length), False
    return replace(watch, inquiry=inquiry), ask


def _answered(watch: Watch, timely: Sequence[Sample], terms: Terms) -> tuple[Watch, bool]:
    """With the answers to each question, and the comparison of two versions where there is one to be made."""
    if terms.changed_at != watch.changed_at:
        # A second change is compared with what was accepted last; without one, what was answered since counts on.
        before = {} if not terms.changed_at else watch.before if watch.changed_at else watch.answers
        since: Answers = {} if terms.changed_at else watch.answers
        watch = replace(watch, changed_at=terms.changed_at, before=before, answers=since, comparison=None)
    answers = watch.answers
    for sample in timely:
        known = sample.item in answers or len(answers) < MOST_QUESTIONS
        if sample.item >= 0 and known and sample.at >= watch.changed_at:
            answers = added(answers, sample.item, float(sample.value), ANSWERS)
    watch = replace(watch, answers=answers)
    settled = watch.comparison is not None and watch.comparison["verdict"] != "unsure"
    if not watch.changed_at or settled:
        return watch, False
    found = compared(watch.before, answers, max_loss=terms.max_loss)
    if found is None:
        return watch, False
    watch = replace(watch, comparison=found.plain())
    if found.verdict == "loss" and watch.inquiry is None and watch.detector is not None:
        watch = replace(watch, inquiry=_lost(watch, timely[-1].at))
    # One run more answers each question again; after that ordinary running has to do.
    return watch, found.verdict == "unsure" and max(count for count, _ in answers.values()) <= 1


def _lost(watch: Watch, at: float) -> Inquiry:
    """A loss that the comparison of two versions proved; it needs no second look."""
    found = dict(watch.comparison or {})
    alarm = Alarm(
        kind="quality",
        verdict="degraded",
        at=at,
        changed_at=watch.changed_at,
        samples_since=found["questions"],
        before=found["before"],
        after=found["after"],
        low=round(found["before"] + found["low"], 4),
        high=round(found["before"] + found["high"], 4),
        unit="mean value of the same questions, before and after the version changed",
        evidence={"questions": found["questions"]},
    )
    inquiry = Inquiry(alarm, dict(watch.detector or {}), 0.0, "confirmed")
    return inquiry.did(at, f"the two versions were compared by {found['questions']} questions")


def _trend(watch: Watch, regular: Sequence[Sample]) -> tuple[float, ...]:
    if watch.kind in TEXTS or watch.kind == "logprob":
        # Means would show which prompts a run was of.
        return ()
    mean = sum(float(sample.value) for sample in regular) / len(regular)
    return (*watch.trend, float(f"{mean:.4g}"))[-TREND:]
