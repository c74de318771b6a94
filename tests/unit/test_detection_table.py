"""The accounts of the detection table: what is a detection, what a false alarm, what a miss."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.detection import LENGTH, Outcome, judged, line, spent, summary
from tests.benchmarks.streams import Scenario, Stream
from understudy.detectors.sample import Alarm, Sample

ROWS = [
    {
        "stream": "a",
        "seq": seq,
        "t": 1_718_000_000.0 + seq,
        "kind": "errors",
        "value": 1.0 if seq in (40, 75, 90) else 0.0,
        "item": 0,
        "run": seq // 10,
        "calib": seq < 20,
        "usd": 0.0,
    }
    for seq in range(100)
]


class Hasty:
    """A detector that gives an alarm at every failure."""

    def step(self, seen: Sample) -> Alarm | None:
        return Alarm(seen.kind, "degraded", seen.at, seen.at, 1) if seen.value == 1.0 else None

    def plain(self) -> dict[str, Any]:
        return {"hasty": True}

    def accept(self) -> None:
        pass


def hasty(kind: str, *, in_control_length: float) -> Hasty:
    assert in_control_length == LENGTH
    return Hasty()


def scenario(means: Any = "change", changed: int | None = 60, **fields: Any) -> Scenario:
    return Scenario("made", lambda rng, name: Stream("a", "errors", ROWS, changed), means, **fields)


def counted(outcome: Outcome) -> tuple[list[int], int, int]:
    return outcome.delays, outcome.false, outcome.in_control


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (scenario(), ([15], 1, 40)),
        (scenario(unit="batches"), ([2], 1, 40)),
        (scenario(changed=75), ([0], 1, 55)),
        (scenario(changed=91), ([], 3, 71)),
        (scenario("improvement"), ([], 3, 80)),
        (scenario("no change", None), ([], 3, 80)),
        (scenario("bad run", None), ([], 3, 80)),
    ],
    ids=["change", "batches", "at once", "undetected", "improvement", "no change", "bad run"],
)
def test_what_an_alarm_counts_as(made: Scenario, expected: tuple[list[int], int, int]) -> None:
    """The first alarm from the change on is the detection; all before it, or where nothing got worse, are false."""
    assert expected == counted(judged(made, 1, seed=1, make=hasty))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "delays", "false", "verdict"),
    [
        (scenario(bar=15), [15], 0, "ok"),
        (scenario(bar=14), [15], 0, "MISS"),
        (scenario(), [15], 0, "ok"),
        (scenario(bar=15), [], 0, "MISS"),
        (scenario("bad run"), [], 1, "MISS"),
        (scenario("bad run"), [], 0, "ok"),
        (scenario("no change"), [], 1, "MISS"),
        (scenario("no change"), [], 0, "ok"),
    ],
)
def test_the_verdict_of_a_row(made: Scenario, delays: list[int], false: int, verdict: str) -> None:
    """A change must be found in time and nearly always; false alarms must be as few as the issue says."""
    assert verdict == Outcome(made, streams=1, delays=delays, false=false, in_control=5000).verdict


@pytest.mark.parametrize(("changed", "verdict"), [(75, "MISS"), (91, "ok")])
def test_an_improvement_gives_no_alarm(changed: int, verdict: str) -> None:
    """After an improvement any alarm is one too many; one before it is chance, and only counted."""
    outcome = judged(scenario("improvement", changed), 1, seed=1, make=hasty)  # type: ignore[arg-type]
    assert (verdict, 3) == (outcome.verdict, outcome.false)


def test_an_earlier_change_is_excused() -> None:
    """Alarms between the change that came first and its recovery are neither right nor false, nor are its values."""
    made = Scenario("made", lambda rng, name: Stream("a", "errors", ROWS, 80, {}, (35, 78)))
    assert ([10], 0, 17) == counted(judged(made, 1, seed=1, make=hasty))  # type: ignore[arg-type]


def test_a_row_of_the_table() -> None:
    """Figures of one scenario, and the sum."""
    outcome = judged(scenario(bar=20, reference=9), 2, seed=1, make=hasty)  # type: ignore[arg-type]
    row = "made                           2      100    15.0      15     15      2   250.00    20     9  ok"
    assert row == line(outcome)
    assert [
        "scenarios of the issue: 1 ok, 0 missed; false alarms per 10,000 observations in control 250.00 (of 80), "
        "without improvements and aborted runs 250.00 (bar 1.5)"
    ] == summary([outcome])


def test_what_is_refused_is_told() -> None:
    """A generator whose observations are refused cannot pass."""
    broken = Scenario("made", lambda rng, name: Stream("a", "errors", [ROWS[0] | {"value": 0.5}]), "no change")
    assert "1 REFUSED" == judged(broken, 1, seed=1, make=hasty).verdict  # type: ignore[arg-type]


def test_time_and_state_are_measured() -> None:
    """By kind: every step is counted, and the largest state."""
    found = spent([scenario()], seed=1, make=hasty)  # type: ignore[arg-type]
    assert {"errors": (200, len('{"hasty":true}'))} == {kind: (one.steps, one.state) for kind, one in found.items()}
