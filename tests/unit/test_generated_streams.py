"""The generated streams of the detection table: the same for the same seed, and what they say they are."""

from __future__ import annotations

import json
import random
import statistics

import pytest

from tests.benchmarks.scenarios import BARRED, SCENARIOS
from tests.benchmarks.streams import Scenario, Stream, item_shares, streams, weaker
from understudy.services.replay import observed

NOW = 4_000_000_000.0


def of(name: str) -> Scenario:
    return next(one for one in SCENARIOS if one.name == name)


def means(name: str, number: int) -> tuple[float, float]:
    """The mean value before and after the change, over so many streams."""
    before, after = [], []
    for stream in streams(of(name), number, seed=3):
        values = [row["value"] for row in stream.observations]
        before += values[: stream.changed]
        after += values[stream.changed :] if stream.changed else []
    return statistics.fmean(before), statistics.fmean(after)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_streams_are_what_replay_reads(scenario: Scenario) -> None:
    """Every observation can be read; numbers count up; the calibration comes first; the change is inside."""
    (stream,) = streams(scenario, 1, seed=5)
    rows = stream.observations
    assert list(range(len(rows))) == [observed(row, NOW)[0] for row in rows]
    calib = sum(row["calib"] for row in rows)
    assert [True] * calib == [row["calib"] for row in rows[:calib]]
    assert rows == json.loads(json.dumps(rows))
    assert (scenario.means in ("change", "improvement")) == (stream.changed is not None)
    assert stream.changed is None or calib <= stream.changed < len(rows)
    assert {(stream.name, stream.kind)} == {(row["stream"], row["kind"]) for row in rows}
    assert sorted(row["t"] for row in rows) == [row["t"] for row in rows]


@pytest.mark.parametrize("scenario", [BARRED[0], BARRED[5], BARRED[8], BARRED[10], BARRED[14]], ids=lambda s: s.name)
def test_the_same_seed_gives_the_same_stream(scenario: Scenario) -> None:
    """A seed and a number name a stream, however many are made; another seed gives another."""

    def made(number: int, seed: int) -> list[Stream]:
        return list(streams(scenario, number, seed))

    assert made(1, 7) == made(2, 7)[:1]
    assert made(1, 7) != made(1, 8)
    assert made(2, 7)[0].observations != made(2, 7)[1].observations


@pytest.mark.parametrize(
    ("name", "before", "after", "off"),
    [
        ("quality 84-51", 0.84, 0.51, 0.015),
        ("quality 52-10", 0.52, 0.10, 0.015),
        ("graded 84-60", 0.84, 0.60, 0.015),
        ("canary 86-64", 0.86, 0.64, 0.02),
        ("canary 86-64 30%", 0.86, 0.794, 0.02),
        ("canary 62-56", 0.62, 0.56, 0.02),
        ("errors 85%", 0.0175, 0.85, 0.015),
    ],
)
def test_the_means_are_those_named(name: str, before: float, after: float, off: float) -> None:
    """The share of right answers (or of failed calls) is the scenario's, before and after the change."""
    found = means(name, 30)
    assert (pytest.approx(before, abs=off), pytest.approx(after, abs=off)) == found


@pytest.mark.parametrize(("name", "factor"), [("tokens x1.03", 1.03), ("cost x1.1", 1.1)])
def test_the_factors_are_those_named(name: str, factor: float) -> None:
    """Item by item, the values after the change are as many times those before as the scenario says."""
    ratios = []
    for stream in streams(of(name), 30, seed=3):
        sums: dict[tuple[int, bool], list[float]] = {}
        for row in stream.observations:
            sums.setdefault((row["item"], row["seq"] >= (stream.changed or 0)), []).append(row["value"])
        items = {item for item, _ in sums}
        ratios += [statistics.fmean(sums[i, True]) / statistics.fmean(sums[i, False]) for i in items]
    assert pytest.approx(factor, rel=0.01) == statistics.fmean(ratios)


def test_canaries_hardly_vary() -> None:
    """Over 40 items a suite's score varies a fifth or so of what independent answers would make it vary."""
    rng, ratios = random.Random(1), []
    for _ in range(300):
        shares = item_shares(rng, 40, 0.86)
        mean = statistics.fmean(shares)
        ratios.append((sum(p * (1 - p) for p in shares) / (40 * mean * (1 - mean))) ** 0.5)
    assert 0.15 < statistics.fmean(ratios) < 0.3
    assert max(ratios) < 0.6


def test_a_weaker_model_mostly_fails_where_the_other_does() -> None:
    """Its mean is the one asked for, and it seldom does better on an item."""
    rng = random.Random(2)
    pairs = [(shares := item_shares(rng, 60, 0.86), weaker(rng, shares, 0.64)) for _ in range(100)]
    assert pytest.approx(0.64, abs=0.015) == statistics.fmean(statistics.fmean(other) for _, other in pairs)
    better = statistics.fmean(a < b for first, other in pairs for a, b in zip(first, other, strict=True))
    assert 0 < better < 0.04


def test_latency_is_paced_by_day_and_week() -> None:
    """The busiest hours are slower than the quietest, and weekends are quieter, but for the noise."""
    rows = [row for stream in streams(of("latency steady"), 6, seed=2) for row in stream.observations]
    by_hour: dict[int, list[float]] = {}
    for row in rows:
        by_hour.setdefault(int(row["t"] % 86_400 // 3600), []).append(row["value"])
    hours = [statistics.median(values) for values in by_hour.values()]
    assert 1.15 < max(hours) / min(hours) < 2.2


def test_one_run_is_bad_and_the_others_are_not() -> None:
    """In the scenario of aborted answers exactly one run is far below its neighbours."""
    for stream in streams(of("aborted run"), 20, seed=4):
        runs: dict[int, list[float]] = {}
        for row in stream.observations:
            runs.setdefault(row["run"], []).append(row["value"])
        scores = sorted(statistics.fmean(values) for values in runs.values())
        assert scores[0] < 0.75 * scores[1]
