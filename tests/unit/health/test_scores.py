"""What a score is made of, and what it does not waver for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.catalog import ScoreSettings
from understudy.health.finding import Quality
from understudy.health.item import Health
from understudy.health.latency import Histogram, bucket, one
from understudy.health.score import NEUTRAL, SELDOM, Score, explained, quality_of, scored
from understudy.health.usual import LASTS, Usual, followed, usual_from

NOW = 1_000_000.0
SETTINGS = ScoreSettings()
WELL = Health("lead", last_ok_at=NOW, usual=Usual(0.5, 0.5, 100.0, NOW), quality={"": Quality(0.9, 60, NOW, 0.9)})


def value(health: Health | None, **given: object) -> float:
    return scored(health, SETTINGS, NOW, **given).value  # type: ignore[arg-type]


def parts(score: Score) -> dict[str, float | None]:
    return {part.name: part.value for part in score.parts}


def test_a_target_that_does_well_has_a_hundred() -> None:
    """All good, as fast and as right as usual, and nobody is cheaper."""
    score = scored(WELL, SETTINGS, NOW, price=2.0, cheapest=2.0)
    assert (100.0, {"availability": 1.0, "latency": 1.0, "quality": 1.0, "cost": 1.0}) == (score.value, parts(score))


def test_each_part_costs_its_weight() -> None:
    """A part that is half as good takes half of its points, by the published weights."""
    half = {
        "availability": scored(replace(WELL, score=0.5), SETTINGS, NOW, price=1, cheapest=1),
        "latency": scored(replace(WELL, usual=Usual(1.0, 0.5, 100, NOW)), SETTINGS, NOW, price=1, cheapest=1),
        "quality": scored(replace(WELL, quality={"": Quality(0.45, 60, NOW, 0.9)}), SETTINGS, NOW, price=1, cheapest=1),
        "cost": scored(WELL, SETTINGS, NOW, price=2, cheapest=1),
    }
    assert {"availability": 75.0, "latency": 90.0, "quality": 87.5, "cost": 97.5} == {
        name: score.value for name, score in half.items()
    }


def test_the_worse_of_the_usual_and_the_objective_counts() -> None:
    """A target as fast as ever still misses an objective that it never met, and the other way round."""
    slow = replace(WELL, usual=Usual(2.0, 2.0, 100, NOW))
    assert [1.0, 0.5] == [parts(scored(slow, SETTINGS, NOW, objective=o))["latency"] for o in (None, 1.0)]
    slower = replace(WELL, usual=Usual(0.8, 0.2, 100, NOW))
    assert 0.25 == parts(scored(slower, SETTINGS, NOW, objective=1.0))["latency"]


def test_better_than_usual_is_no_more_than_well() -> None:
    """An improvement is worth nothing, so that it cannot hide what got worse."""
    better = replace(WELL, usual=Usual(0.1, 0.5, 100, NOW), quality={"": Quality(1.0, 60, NOW, 0.5)})
    assert 100.0 == value(better)


def test_what_was_never_known_is_left_out() -> None:
    """Without golden sets and prices the others count alone; of a target never seen nothing is known."""
    assert 100.0 == value(replace(WELL, quality={}, usual=None))
    assert [100 * NEUTRAL] * 2 == [value(None), value(Health("lead"))]
    few = replace(WELL, quality={"": Quality(0.1, 3, NOW, 0.9)}, usual=Usual(5.0, 0.5, 2, NOW))
    assert {"availability": 1.0, "latency": None, "quality": None, "cost": None} == parts(scored(few, SETTINGS, NOW))


@pytest.mark.parametrize("score", [1.0, 0.2])
def test_old_evidence_draws_toward_neutral(score: float) -> None:
    """After one half-life evidence counts half, in the end not at all, for better and for worse."""
    old = Health("lead", score=score, last_ok_at=NOW)
    half = scored(old, SETTINGS, NOW + SETTINGS.half_life).value
    assert pytest.approx(100 * (score + NEUTRAL) / 2) == half
    assert pytest.approx(100 * NEUTRAL, abs=0.1) == scored(old, SETTINGS, NOW + 40 * SETTINGS.half_life).value


def test_quality_is_that_of_the_task_and_lasts_longer() -> None:
    """Evidence of the task comes first, that of all tasks stands in, and both are good for days."""
    known = {"": Quality(0.9, 60, NOW, 0.9), "sums": Quality(0.3, 20, NOW, 0.6), "few": Quality(0.1, 2, NOW, 0.9)}
    health = replace(WELL, quality=known)
    found = {task: quality_of(health, task, SETTINGS, NOW) for task in ("sums", "few", "other", "")}
    assert {"sums": known["sums"], "few": known[""], "other": known[""], "": known[""]} == found
    later = NOW + SELDOM * SETTINGS.half_life
    assert 0.625 == parts(scored(health, SETTINGS, later, task="sums"))["quality"]
    assert quality_of(health, "sums", SETTINGS, NOW + 30 * 86400) is None


def test_a_score_is_explained_part_by_part() -> None:
    """The words give the points of each part, of how many, and what they stand on; parts left out are named."""
    health = replace(WELL, score=0.98, quality={}, usual=Usual(1.0, 0.5, 100, NOW))
    assert (
        "availability 65.3 of 66.7 (98.0% good), latency 13.3 of 26.7 (1 s, 2.00 times its usual), quality not known, "
        "cost 6.7 of 6.7 ($2 a million tokens)"
    ) == explained(scored(health, SETTINGS, NOW, price=2.0, cheapest=2.0))


QUALITIES = st.builds(Quality, st.floats(0, 1), st.floats(0, 500), st.floats(0, NOW), st.none() | st.floats(0, 1))
HEALTHS = st.builds(
    Health,
    st.just("lead"),
    score=st.floats(0, 1),
    last_ok_at=st.floats(0, NOW),
    usual=st.none() | st.builds(Usual, st.floats(0.001, 900), st.floats(0.001, 900), st.floats(0, 1e5), st.just(NOW)),
    quality=st.dictionaries(st.sampled_from(["", "sums"]), QUALITIES),
)
WEIGHTS = st.builds(ScoreSettings, *[st.floats(0, 1000)] * 4)


@given(st.none() | HEALTHS, WEIGHTS, st.floats(0, 1e6), st.none() | st.floats(0, 100), st.none() | st.floats(0.01, 9))
def test_a_score_is_always_from_0_to_100(
    health: Health | None, weights: ScoreSettings, later: float, price: float | None, objective: float | None
) -> None:
    """Whatever is known and however it is weighed, a score is a number of its scale, and can be told."""
    score = scored(health, weights, NOW + later, task="sums", objective=objective, price=price, cheapest=0.0)
    assert 0 <= score.value <= 100
    assert explained(score)


def after(known: Usual | None, *times: tuple[float, Histogram]) -> Usual:
    for at, seen in times:
        known = followed(known, seen, at)
    assert known is not None
    return known


def test_a_slowdown_shows_against_what_is_usual() -> None:
    """Three times as slow for an hour is told as such; the usual has hardly moved, and the recent has all of it."""
    usual = after(None, *((60.0 * n, one(0.5)) for n in range(5000)))
    slowed = after(usual, *((300_000 + 60.0 * n, one(1.5)) for n in range(60)))
    assert 2.5 < (slowed.ratio or 0) < 3.2


def test_one_answer_that_hung_says_little() -> None:
    """A single first token of thirty seconds moves neither mean by much."""
    usual = after(None, *((60.0 * n, one(0.5)) for n in range(100)))
    assert 1.3 > (after(usual, (6100.0, one(30.0))).ratio or 0)


def test_a_new_pace_is_accepted_in_the_end() -> None:
    """A target that stays slower is as usual again after its memory has passed."""
    usual = after(None, *((60.0 * n, one(0.5)) for n in range(5000)))
    later = after(usual, *((300_000 + 60.0 * n, one(1.5)) for n in range(int(3 * LASTS / 60))))
    assert 1.1 > (later.ratio or 0)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.0, 1000)), min_size=1, max_size=30))
def test_the_usual_stays_within_what_was_seen(seen: list[tuple[float, float]]) -> None:
    """Both means lie between the shortest and the longest time, in whatever order observations come."""
    usual = after(None, *((at, one(took)) for at, took in seen))
    low, high = (0.001 * 2 ** (bucket(f(took for _, took in seen)) / 4) for f in (min, max))
    assert low * 0.99 <= usual.recent <= high * 1.01
    assert low * 0.99 <= usual.seconds <= high * 1.01
    assert usual == usual_from({name: getattr(usual, name) for name in Usual.__slots__})


def test_nothing_seen_changes_nothing() -> None:
    """An observation without answers leaves what is known as it was."""
    assert followed(None, (), NOW) is None
    assert WELL.usual == followed(WELL.usual, (), NOW + 5)
