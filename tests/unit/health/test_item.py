"""What becomes of a target's health when something is seen of it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json, bad, good
from understudy.catalog import BreakerSettings, HealthSettings
from understudy.errors import AttemptFailed, CallerFault, Credential, RateLimited, Silent, Transient
from understudy.health.breaker import Breaker
from understudy.health.item import Health, fold, health_from, settled
from understudy.health.observation import Observation, observation_from
from understudy.health.score import blend

SETTINGS = HealthSettings(breaker=BreakerSettings(jitter=0.0))
NEVER_OPENS = HealthSettings(breaker=BreakerSettings(consecutive_failures=10**6, minimum_calls=10**6))


def after(health: Health, *seen: Observation, settings: HealthSettings = SETTINGS) -> Health:
    """The health after all observations."""
    rng = random.Random(0)
    return reduce(lambda health, one: fold(health, one, settings, rng), seen, health)


def test_a_good_call_is_noted() -> None:
    """A good answer sets the time of the last one, its first token, and counts as a good evaluation."""
    health = after(Health("lead"), good(100.0, first_token=0.4))
    expected = (1.0, 0.4, 100.0, 0.0, 1)
    actual = (health.score, health.first_token, health.last_ok_at, health.last_failure_at, health.evaluations)
    assert expected == actual


def test_a_failed_call_is_noted() -> None:
    """A failure lowers the score, is kept in words with its time, and starts the good evaluations again."""
    health = after(Health("lead"), good(100.0), bad(101.0, Silent("no first token within 10 s")))
    expected = (0.95, 100.0, 101.0, "silent: no first token within 10 s", 0)
    actual = (health.score, health.last_ok_at, health.last_failure_at, health.last_failure, health.evaluations)
    assert expected == actual


def test_faults_of_callers_do_not_lower_the_score() -> None:
    """A hundred bad requests say nothing about how well the target does."""
    health = after(Health("lead", score=0.9), *[bad(100.0, CallerFault("bad"))] * 100)
    assert (0.9, "closed") == (health.score, health.state)


def test_the_bench_only_moves_forward() -> None:
    """A later, shorter hint does not shorten the time the provider asked for before."""
    seen = [bad(100.0, RateLimited("wait"), bench=130.0), bad(101.0, RateLimited("wait"), bench=105.0)]
    assert 130.0 == after(Health("lead"), *seen).benched_until


def test_a_refused_credential_stays_until_a_good_call() -> None:
    """The credential counts as refused from the failure until a call succeeds, whatever fails in between."""
    steps = [good(99.0), bad(100.0, Credential("401")), bad(101.0, Silent("s")), good(102.0)]
    actual = [after(Health("lead"), *steps[: i + 1]).credential_failed for i in range(len(steps))]
    assert [False, True, True, False] == actual


def test_settled_after_enough_good_evaluations() -> None:
    """Two probes close the breaker and the third good one settles it; a failure starts the count again."""
    down = after(Health("lead"), *[bad(100.0, Transient("500"))] * 5)
    probes = [good(103.0 + i, source="probe") for i in range(3)]
    actual = [(h.state, settled(h, SETTINGS)) for h in (after(down, *probes[: i + 1]) for i in range(3))]
    assert [("half_open", False), ("closed", False), ("closed", True)] == actual
    assert not settled(after(down, *probes, bad(107.0, Transient("500"))), SETTINGS)


def test_late_traffic_does_not_settle_an_open_breaker() -> None:
    """Good calls that began before the opening are no evaluations of the recovery."""
    down = after(Health("lead"), *[bad(100.0, Transient("500"))] * 5)
    assert ("open", 0) == (after(down, *[good(100.5)] * 9).state, after(down, *[good(100.5)] * 9).evaluations)


def test_the_first_token_mean_follows_slowly() -> None:
    """One slow answer moves the mean by a twentieth; twenty in one observation replace it."""
    twenty = replace(good(101.0), ok=20, first_token=20 * 2.0)
    fast = Health("lead", first_token=1.0)
    assert [1.05, 2.0] == [after(fast, good(101.0, first_token=2.0)).first_token, after(fast, twenty).first_token]


def test_fields_of_a_newer_version_are_ignored() -> None:
    """Health and observations written by a newer version can be read by an older one."""
    health = Health("lead", breaker=Breaker(state="open", opens=2), rev=7)
    assert health == health_from(as_json({**health.plain(), "mood": "better"}), 7)
    assert good(1.0) == observation_from(as_json({**good(1.0).plain(), "mood": "better"}))


CALLS = st.lists(
    st.none() | st.sampled_from([Transient("500"), Silent("s"), RateLimited("r"), Credential("c"), CallerFault("x")]),
    min_size=1,
    max_size=30,
)


def seen_of(calls: list[AttemptFailed | None], at: float = 100.0) -> list[Observation]:
    return [
        good(at, first_token=i / 10) if failure is None else bad(at, failure, bench=at + i if failure.benches else 0.0)
        for i, failure in enumerate(calls)
    ]


def merged(seen: list[Observation]) -> Observation:
    return reduce(Observation.merged, seen)


@given(CALLS)
def test_merging_loses_nothing_that_opens_or_benches(calls: list[AttemptFailed | None]) -> None:
    """Below the opening thresholds one merged observation leaves the same breaker, bench and words as its parts."""
    seen = seen_of(calls)
    one, many = (after(Health("lead"), *s, settings=NEVER_OPENS) for s in ([merged(seen)], seen))
    assert many.breaker == one.breaker
    assert (many.benched_until, many.last_failure) == (one.benched_until, one.last_failure)


@given(CALLS)
def test_merging_never_hides_a_refused_credential(calls: list[AttemptFailed | None]) -> None:
    """A credential that was refused anywhere in a merged observation opens its incident."""
    refused = any(isinstance(call, Credential) for call in calls)
    assert refused == after(Health("lead"), merged(seen_of(calls)), settings=NEVER_OPENS).credential_failed


@pytest.mark.parametrize("failures", range(1, 9))
def test_a_merged_row_of_failures_opens_like_single_ones(failures: int) -> None:
    """A flush of many failures opens the breaker exactly where the failures one by one would."""
    seen = seen_of([Transient("500")] * failures)
    one, many = after(Health("lead"), merged(seen)), after(Health("lead"), *seen)
    assert (many.state, many.breaker.until, many.breaker.opens) == (one.state, one.breaker.until, one.breaker.opens)


@given(CALLS, CALLS, CALLS)
def test_merging_does_not_depend_on_grouping(a: Any, b: Any, c: Any) -> None:
    """It does not matter which neighbours are merged first."""

    def comparable(seen: Observation) -> Observation:
        return replace(seen, first_token=round(seen.first_token, 6))

    x, y, z = (merged(seen_of(calls)) for calls in (a, b, c))
    assert comparable(x.merged(y).merged(z)) == comparable(x.merged(y.merged(z)))


@given(CALLS)
def test_merging_is_the_same_as_counting_on(calls: list[AttemptFailed | None]) -> None:
    """Adding calls to one observation and merging one observation per call come to the same."""
    counted = Observation("lead", 100.0)
    for i, failure in enumerate(calls):
        bench = 100.0 + i if failure is not None and failure.benches else 0.0
        counted = counted.success(100.0, i / 10) if failure is None else counted.failure(100.0, failure, bench)
    assert counted == merged(seen_of(calls))


@given(st.floats(0, 1), st.lists(st.booleans(), max_size=60))
def test_the_score_is_a_share(score: float, calls: list[bool]) -> None:
    """Whatever is seen, the score stays between 0 and 1."""
    for ok in calls:
        score = blend(score, int(ok), int(not ok))
    assert 0 <= score <= 1


@pytest.mark.parametrize(("ok", "failed"), [(7, 0), (0, 7)])
def test_a_merged_row_scores_like_single_calls(ok: int, failed: int) -> None:
    """Seven equal outcomes at once move the score as far as one after another."""
    score = 0.6
    for _ in range(7):
        score = blend(score, int(ok > 0), int(failed > 0))
    assert pytest.approx(score, abs=1e-5) == blend(0.6, ok, failed)


def test_nothing_seen_leaves_the_score() -> None:
    """An observation without calls leaves the score as it was."""
    assert 0.37 == blend(0.37, 0, 0)


@given(CALLS)
def test_health_survives_json(calls: list[AttemptFailed | None]) -> None:
    """Health is the same after a trip through the table, at any point."""
    health = after(Health("lead", rev=3), *seen_of(calls))
    assert health == health_from(as_json(health.plain()), 3)
    assert merged(seen_of(calls)) == observation_from(as_json(merged(seen_of(calls)).plain()))
