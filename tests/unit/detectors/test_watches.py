"""One stream of one target: what is delivered twice, late, or after an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import as_json
from tests.detecting import KIT, ROW, samples
from tests.unit.services.worlds import NOW
from understudy.detectors.inquiry import LOOK, MOST_ASKS
from understudy.detectors.sample import Kind
from understudy.detectors.watch import LATE, MARKS, Taken, Terms, Watch, accepted, take, watch_from

TERMS = Terms(good=2)
RIGHT, WRONG = [1.0] * 6, [0.0] * 6


class Stream:
    """A watch to which runs come, ten minutes apart; each is read back from its plain form."""

    def __init__(self, kind: Kind = "quality", name: str = "core", *, enough: bool = True) -> None:
        self.watch = Watch(name, kind)
        self.enough, self.now, self.runs = enough, NOW, 0
        self.asked_about: list[float] = []

    def run(self, values: Sequence[Any], *, bought: bool = False, terms: Terms = TERMS, mark: str = "") -> Taken:
        self.now += 600
        self.runs += 1
        run = -self.runs if bought else self.runs
        found = samples(self.watch.kind, values, self.now, stream=self.watch.stream, run=run)
        taken = take(self.watch, found, mark or str(self.runs), terms, KIT, self._enough)
        self.watch = watch_from(as_json({**taken.watch.plain(), "mood": 1}), 0)
        assert taken.watch == self.watch
        return taken

    def _enough(self, e_value: float) -> bool:
        self.asked_about.append(e_value)
        return self.enough

    @property
    def state(self) -> str | None:
        return self.watch.inquiry.state if self.watch.inquiry else None


def test_a_batch_counts_once() -> None:
    """Delivered again, at once or many batches later, it changes nothing; forgotten ones are older than that."""
    stream = Stream()
    stream.run(RIGHT, mark="one")
    before = stream.watch
    assert before == stream.run(WRONG, mark="one").watch
    for number in range(MARKS - 1):
        stream.run(RIGHT, mark=f"other{number}")
    assert stream.watch == stream.run(WRONG, mark="one").watch
    assert 6 * MARKS == stream.watch.detector["steps"]  # type: ignore[index]


def test_a_whole_delivery_of_the_stream_is_known_again() -> None:
    """A hundred observations of one target, delivered again, change nothing."""
    stream = Stream()
    for number in range(100):
        stream.run(RIGHT, mark=f"m{number}")
    before = stream.watch
    for number in range(100):
        stream.run(WRONG, mark=f"m{number}")
    assert before == stream.watch


def test_what_comes_much_too_late_is_left_out() -> None:
    """An hour after newer values the rest of a batch counts and the late part does not."""
    watch = take(Watch("core", "quality"), samples("quality", RIGHT, NOW), "1", TERMS, KIT, bool).watch
    early = samples("quality", RIGHT, NOW - LATE - 2)
    taken = take(watch, [*early, *samples("quality", [1.0], NOW + 1)], "2", TERMS, KIT, bool)
    assert (6 + 1, 6) == (taken.watch.count, taken.late)
    older = take(watch, samples("quality", RIGHT, NOW - LATE / 2), "3", TERMS, KIT, bool)
    assert (12, 0, watch.newest) == (older.watch.count, older.late, older.watch.newest)


def test_an_alarm_asks_for_a_run_and_the_run_decides() -> None:
    """Suspected by the detector, confirmed by a bought run, which is no news for the detector."""
    stream = Stream()
    stream.run(RIGHT)
    assert (True, "suspected") == (stream.run(WRONG[:ROW]).ask, stream.state)
    steps = stream.watch.detector["steps"]  # type: ignore[index]
    assert (False, "confirmed") == (stream.run(WRONG, bought=True).ask, stream.state)
    assert steps == stream.watch.detector["steps"]  # type: ignore[index]


def test_a_run_is_judged_by_what_was_normal_before_the_alarm() -> None:
    """The detector takes the new level for normal at once; a second look does not."""
    stream = Stream()
    stream.run(RIGHT)
    stream.run(WRONG[:ROW])
    assert (0.0, 1.0) == (stream.watch.detector["normal"], stream.watch.inquiry.baseline["normal"])  # type: ignore[index, union-attr]
    stream.run(RIGHT, bought=True)
    assert None is stream.state


def test_a_bought_run_without_an_alarm_counts_for_nothing() -> None:
    """Neither the detector nor the mean of newest batches hears of it."""
    stream = Stream()
    stream.run(RIGHT)
    before = stream.watch
    assert replace(before, marks=("1", "2"), answers=before.answers) == replace(
        stream.run(WRONG, bought=True).watch, answers=before.answers
    )


def test_without_a_bought_run_the_next_values_are_the_second_look() -> None:
    """So it is for callers' requests, for which nothing can be bought, and where the run never came."""
    for name in ("", "core"):
        stream = Stream(name=name)
        stream.run(RIGHT)
        stream.run(WRONG[:ROW])
        stream.run([0.0] * (LOOK - 1))
        assert "suspected" == stream.state
        stream.run([0.0])
        assert "confirmed" == stream.state


def test_two_looks_that_say_nothing_leave_a_suspicion() -> None:
    """One more run is bought, then no further one; the suspicion stays."""
    stream = Stream()
    stream.run(RIGHT)
    stream.run(WRONG[:ROW])
    assert [True, False, False] == [stream.run(WRONG[:4], bought=True).ask for _ in range(3)]
    assert ("suspected", 3) == (stream.state, stream.watch.inquiry.unsure)  # type: ignore[union-attr]


def test_where_many_streams_are_watched_one_look_is_not_enough() -> None:
    """Each look that says so too is worth twentyfold; another is bought until it is enough."""
    stream = Stream(enough=False)
    stream.run(RIGHT)
    stream.run(WRONG[:ROW])
    asks = [stream.run(WRONG, bought=True).ask for _ in range(2)]
    worth = 100_000 / 9
    assert ([True, True], "suspected") == (asks, stream.state)
    assert pytest.approx([worth * 20, worth * 400]) == stream.asked_about
    stream.enough = True
    stream.run(WRONG, bought=True)
    assert "confirmed" == stream.state


def test_runs_bought_for_one_alarm_are_bounded() -> None:
    """Who is never sure does not buy for ever."""
    stream = Stream(enough=False)
    stream.run(RIGHT)
    asked = stream.run(WRONG[:ROW]).ask + sum(stream.run(WRONG, bought=True).ask for _ in range(20))
    assert MOST_ASKS == asked


def test_good_looks_in_a_row_end_it_and_normal_is_learned_anew() -> None:
    """A bad look between starts the count again; what was learned meanwhile is forgotten."""
    stream = Stream()
    stream.run(RIGHT)
    stream.run(WRONG[:ROW])
    states = []
    for values in (WRONG, RIGHT, WRONG, RIGHT, RIGHT):
        stream.run(values, bought=True)
        states.append(stream.state)
    assert ["confirmed"] * 4 + [None] == states
    assert 1 == stream.watch.detector["accepts"]  # type: ignore[index]


def test_a_further_alarm_of_the_same_kind_is_no_news() -> None:
    """The alarm that stands is the first one; a detector that arms itself again may give others."""
    stream = Stream()
    stream.run(RIGHT)
    stream.run(WRONG[:ROW])
    first = stream.watch.inquiry.alarm  # type: ignore[union-attr]
    stream.run([0.5] * ROW)
    assert first == stream.watch.inquiry.alarm  # type: ignore[union-attr]


def test_a_version_is_a_fact_and_needs_no_second_look() -> None:
    """Told at once, nothing bought for it alone; yet another version takes its place; accepted, it is normal."""
    stream = Stream("version")
    stream.run(["v1"] * 3)
    assert (False, "confirmed") == (stream.run(["v2"]).ask, stream.state)
    first = stream.watch.inquiry.alarm.at  # type: ignore[union-attr]
    stream.run(["v3"])
    assert first < stream.watch.inquiry.alarm.at  # type: ignore[union-attr]
    after = accepted(stream.watch, KIT, in_control_length=1e5)
    assert (None, 1) == (after.inquiry, after.detector["accepts"])  # type: ignore[index]


def compared_after(values: Sequence[float], *, more: Sequence[float] = ()) -> Stream:
    """Forty questions asked three times; then a new version answers them so."""
    stream = Stream()
    for _ in range(3):
        stream.run([1.0] * 40)
    terms = replace(TERMS, changed_at=stream.now + 1)
    for later in (values, more):
        if later:
            stream.run(later, bought=True, terms=terms)
    return stream


def test_a_new_version_without_loss_is_seen_by_its_answers() -> None:
    """Before and after are paired by question; a bought run is enough."""
    found = compared_after([1.0] * 40).watch.comparison
    assert ("no loss", 40, 1.0) == tuple((found or {})[name] for name in ("verdict", "questions", "after"))


def test_a_new_version_with_a_loss_is_a_confirmed_alarm() -> None:
    """It needs no second look: the comparison was one."""
    stream = compared_after([1.0] * 20 + [0.0] * 20)
    alarm = stream.watch.inquiry.alarm  # type: ignore[union-attr]
    assert ("confirmed", "degraded", 1.0, 0.5) == (stream.state, alarm.verdict, alarm.before, alarm.after)


def test_a_second_change_is_compared_with_what_was_accepted_last() -> None:
    """The answers of a version that was never accepted are no baseline."""
    stream = compared_after([1.0] * 20)
    stream.run([0.0] * 40, bought=True, terms=replace(TERMS, changed_at=stream.now + 1))
    assert "loss" == (stream.watch.comparison or {})["verdict"]


def test_a_comparison_outlives_the_end_of_another_alarm() -> None:
    """Whatever is accepted meanwhile, the new version is compared with the old one and not with itself."""
    stream = compared_after([1.0] * 20)
    changed_at, before = stream.watch.changed_at, stream.watch.before
    stream.watch = accepted(stream.watch, KIT, in_control_length=1e5)
    stream.run([0.0] * 40, bought=True, terms=replace(TERMS, changed_at=changed_at))
    assert (before, "loss") == (stream.watch.before, (stream.watch.comparison or {})["verdict"])


def test_the_trend_is_that_of_the_newest_batches() -> None:
    """Means of batches, oldest first; texts have none."""
    stream = Stream(name="")
    for number in range(30):
        stream.run([number / 100])
    assert ([n / 100 for n in range(6, 30)], ()) == (list(stream.watch.trend), Stream("version").run(["v"]).watch.trend)


def test_a_stream_says_how_many_values_a_day_brings() -> None:
    """In its first day what it had; later the mean."""
    first = Watch("core", "quality", first=NOW, newest=NOW + 60, count=40)
    later = Watch("core", "quality", first=NOW, newest=NOW + 10 * 86_400, count=4_000)
    assert (40, 400) == (first.per_period, later.per_period)
