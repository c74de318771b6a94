"""Detectors survive being saved and restored at any point, in little room, whatever they are told of."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.streams import DAY, streams
from understudy.detectors.sample import KINDS, TEXTS, Alarm, Kind, Sample
from understudy.detectors.stream import Detector, detector, detector_from
from understudy.services.replay import observed

NOW = 4_000_000_000.0
LENGTH = 10_000.0
MOST_BYTES = 4096
NAMES = (
    "quality 84-51",
    "canary 86-64",
    "graded canary 84-70",
    "tokens x1.1",
    "one-shot tokens x1.5",
    "cost x1.1",
    "latency x1.5",
    "latency, gaps",
    "errors 45%",
    "swapped model",
    "logprob, fewer bits",
)


@cache
def samples(name: str) -> list[Sample]:
    scenario = next(one for one in SCENARIOS if one.name == name)
    (stream,) = streams(scenario, 1, seed=11)
    first = max(0, (stream.changed or 1500) - 1200)
    rows = stream.observations[: first + 1500]
    return [observed(row, NOW)[1] for row in rows if row["calib"] or row["seq"] >= first]


def restored(watch: Detector) -> Detector:
    return detector_from(json.loads(json.dumps(watch.plain())), in_control_length=LENGTH)


def told(watch: Detector, seen: list[Sample]) -> list[tuple[int, Alarm]]:
    return [(place, alarm) for place, sample in enumerate(seen) if (alarm := watch.step(sample)) is not None]


@cache
def uninterrupted(name: str) -> list[tuple[int, Alarm]]:
    seen = samples(name)
    return told(detector(seen[0].kind, in_control_length=LENGTH), seen)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(share=st.floats(0, 1))
def test_a_cut_changes_no_alarm(name: str, share: float) -> None:
    """Saved as JSON and restored anywhere, a detector gives the same alarms, to the last digit."""
    seen = samples(name)
    cut = int(share * len(seen))
    watch = detector(seen[0].kind, in_control_length=LENGTH)
    before = told(watch, seen[:cut])
    after = [(cut + place, alarm) for place, alarm in told(restored(watch), seen[cut:])]
    assert uninterrupted(name) == before + after


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_after_each_value_changes_no_alarm(name: str) -> None:
    """Saved and restored at every step around an alarm, as the control plane does, it gives the same alarms."""
    seen, expected = samples(name), uninterrupted(name)
    middle = expected[0][0] if expected else len(seen) // 2
    watch, found = detector(seen[0].kind, in_control_length=LENGTH), []
    for place, sample in enumerate(seen):
        if abs(place - middle) < 40:
            watch = restored(watch)
        if (alarm := watch.step(sample)) is not None:
            found.append((place, alarm))
    assert expected == found


def worst(kind: Kind, items: int, seed: int, number: int = 6000) -> list[Sample]:
    """Values that need as much room as can be: all different, long, over many items."""
    rng, found = random.Random(seed), []
    for place in range(number):
        value: Any = rng.choice((rng.random() * 1e5, 0.0, rng.random(), 1e12 / 7))
        if kind in ("quality", "errors"):
            value = rng.choice((0.0, 1.0)) if kind == "errors" else rng.choice((1.0, 1.0, 1 / 3, rng.random()))
        if kind == "logprob":
            value = -rng.choice((0.0, rng.random(), rng.random() * 20, 1e12 / 7))
        if kind in TEXTS:
            value = "".join(chr(rng.randrange(33, 0x2FFF)) for _ in range(100)) if rng.random() < 0.3 else "yes"
        item = place % items - 1 if items > 1 else -1
        found.append(Sample(kind, value, 1.7e9 + place * 777.7, "golden", item, place // items, calib=place < 800))
    return found


@pytest.mark.parametrize("items", [1, 41, 500])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_state_is_small(kind: Kind, items: int) -> None:
    """At most 4 KB as JSON, for any values and number of items, at any point."""
    watch, largest = detector(kind, in_control_length=LENGTH), 0
    for place, sample in enumerate(worst(kind, items, seed=1)):
        watch.step(sample)
        if place % 150 == 0:
            largest = max(largest, len(json.dumps(watch.plain(), separators=(",", ":"), allow_nan=False).encode()))
    assert MOST_BYTES == max(MOST_BYTES, largest)


@st.composite
def odd(draw: st.DrawFn) -> list[Sample]:
    """Any values that can be observed of one stream, in any order: zeros, constants, huge and tiny ones, gaps in time,
    items that come and go, no calibration or nothing else."""
    kind: Kind = draw(st.sampled_from(sorted(KINDS)))  # type: ignore[arg-type]
    numbers = st.sampled_from((0.0, 1.0)) if kind == "errors" else st.floats(0, 1 if kind == "quality" else 1e300)
    numbers = numbers.map(lambda number: -number) if kind == "logprob" else numbers
    some = st.text(max_size=20) if kind in TEXTS else numbers
    pool = draw(st.lists(some, min_size=1, max_size=4))
    rows = st.tuples(
        st.sampled_from(pool),
        st.sampled_from((0.0, 0.001, 60.0, 1800.0, 40 * DAY, -60.0)),
        st.sampled_from((-1, 0, 0, 1, 5, 7000)),
        st.booleans(),
        st.integers(1, 30),
    )
    found, at, run = [], 1.7e9, 0
    for value, wait, item, calib, times in draw(st.lists(rows, min_size=1, max_size=20)):
        for _ in range(times):
            at, run = at + wait, run + 1
            found.append(Sample(kind, value, at, "odd", item, run // 3, calib))
    return found


@settings(max_examples=60, deadline=None)
@given(seen=odd(), cut=st.floats(0, 1))
def test_odd_values_break_nothing(seen: list[Sample], cut: float) -> None:
    """No value that can be observed raises, makes a state that JSON does not know, or tells a restored one apart."""
    watch = detector(seen[0].kind, in_control_length=LENGTH)
    place = int(cut * len(seen))
    told(watch, seen[:place])
    json.dumps(watch.plain(), allow_nan=False)
    other = restored(watch)
    left, right = told(watch, seen[place:]), told(other, seen[place:])
    assert left == right
    assert watch.plain() == other.plain()
    assert json.dumps([alarm.plain() for _, alarm in left], allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(seen=odd())
def test_what_is_accepted_is_forgotten(seen: list[Sample]) -> None:
    """After `accept()` a detector says nothing at the first values: it has to learn what is normal."""
    watch = detector(seen[0].kind, in_control_length=LENGTH)
    told(watch, seen)
    watch.accept()
    last = seen[-1]
    assert [] == told(watch, [Sample(last.kind, last.value, last.at + 60, last.stream, last.item, last.run + 1)] * 2)
