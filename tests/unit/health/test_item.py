"""What becomes of a target's health when something is seen of it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json, bad, good
from understudy.catalog import BreakerSettings, HealthSettings
from understudy.errors import AttemptFailed, CallerFault, Credential, RateLimited, Silent, Transient
from understudy.health.breaker import Breaker
from understudy.health.item import Health, fold, health_from, settled
from understudy.health.latency import bucket, weight
from understudy.health.observation import Observation
from understudy.health.score import blend

SETTINGS = HealthSettings(breaker=BreakerSettings(jitter=0.0))
NEVER_OPENS = HealthSettings(
    breaker=BreakerSettings(consecutive_failures=10**6, quiet_failures=10**6, minimum_calls=10**6)
)
BUSY = Breaker(window=((10, 20, 0),))
"""Twenty good calls at 100 s: a target with traffic."""


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


def test_a_refused_credential_stays_until_a_good_probe() -> None:
    """The credential counts as refused from the failure until a probe succeeds, whatever fails in between."""
    steps = [
        good(99.0),
        bad(100.0, Credential("401")),
        bad(109.0, Silent("s"), source="probe"),
        good(118.0, source="probe"),
    ]
    actual = [after(Health("lead"), *steps[: i + 1]).credential_failed for i in range(len(steps))]
    assert [False, True, True, False] == actual


def test_settled_after_enough_good_evaluations() -> None:
    """Two probes close the breaker and the third good one settles it; a failure starts the count again."""
    down = after(Health("lead", BUSY), *[bad(100.0, Transient("500"))] * 5)
    probes = [good(103.0 + i, source="probe") for i in range(3)]
    actual = [(h.state, settled(h, SETTINGS)) for h in (after(down, *probes[: i + 1]) for i in range(3))]
    assert [("half_open", False), ("closed", False), ("closed", True)] == actual
    assert not settled(after(down, *probes, bad(107.0, Transient("500"))), SETTINGS)


def test_late_traffic_does_not_settle_an_open_breaker() -> None:
    """Good calls that began before the opening are no evaluations of the recovery."""
    down = after(Health("lead"), *[bad(100.0, Transient("500"))] * 5)
    assert ("open", 0) == (after(down, *[good(100.5)] * 9).state, after(down, *[good(100.5)] * 9).evaluations)


def test_how_long_it_takes_is_added_up() -> None:
    """First tokens and silences of all good calls are kept together."""
    seen = good(100.0, first_token=0.4).success(101.0, 2.0, gap=0.4)
    health = after(Health("lead"), seen, good(102.0, first_token=2.0))
    assert (((bucket(0.4), 1.0), (bucket(2.0), 2.0)), ((bucket(0.4), 1.0),)) == (health.first_tokens, health.gaps)


def test_long_known_times_fade() -> None:
    """However much was seen, no more than the weight of 500 answers is kept, so that news count."""
    many = replace(good(100.0), ok=4000, first_tokens=((bucket(0.4), 4000.0),), gaps=((bucket(0.1), 4000.0),))
    health = after(Health("lead"), many)
    assert (500.0, 500.0) == (weight(health.first_tokens), weight(health.gaps))


def test_the_first_token_mean_follows_slowly() -> None:
    """One slow answer moves the mean by a twentieth; twenty in one observation replace it."""
    twenty = replace(good(101.0), ok=20, first_token=20 * 2.0)
    fast = Health("lead", first_token=1.0)
    assert [1.05, 2.0] == [after(fast, good(101.0, first_token=2.0)).first_token, after(fast, twenty).first_token]


def test_fields_of_a_newer_version_are_ignored() -> None:
    """Health written by a newer version can be read by an older one."""
    health = Health("lead", breaker=Breaker(state="open", opens=2), rev=7)
    assert health == health_from(as_json({**health.plain(), "mood": "better"}), 7)


def test_health_of_an_older_version_can_be_read() -> None:
    """Health that an older version wrote, without histograms, takes them up from nothing."""
    plain = {name: value for name, value in Health("lead").plain().items() if name not in ("first_tokens", "gaps")}
    assert Health("lead", rev=7) == health_from(as_json(plain), 7)


SERVED = st.none() | st.sampled_from([Transient("500"), Silent("s"), RateLimited("r"), CallerFault("x")])
CALLS = st.lists(SERVED | st.just(Credential("c")), min_size=1, max_size=30)


def seen_of(calls: list[AttemptFailed | None], at: float = 100.0) -> list[Observation]:
    return [
        good(at, first_token=i / 10) if failure is None else bad(at, failure, bench=at + i if failure.benches else 0.0)
        for i, failure in enumerate(calls)
    ]


def merged(seen: list[Observation]) -> Observation:
    return reduce(Observation.merged, seen)


@given(st.lists(SERVED, min_size=1, max_size=30))
def test_merging_loses_nothing_that_opens_or_benches(calls: list[AttemptFailed | None]) -> None:
    """Below the opening thresholds one merged observation leaves the same breaker, bench and words as its parts."""
    seen = seen_of(calls)
    one, many = (after(Health("lead"), *s, settings=NEVER_OPENS) for s in ([merged(seen)], seen))
    assert many.breaker == one.breaker
    assert (many.benched_until, many.last_failure) == (one.benched_until, one.last_failure)


@given(CALLS)
def test_merging_never_hides_a_refused_credential(calls: list[AttemptFailed | None]) -> None:
    """A credential that was refused anywhere in a merged observation opens the breaker and its incident."""
    refused = any(isinstance(call, Credential) for call in calls)
    health = after(Health("lead"), merged(seen_of(calls)), settings=NEVER_OPENS)
    assert (refused, "open" if refused else "closed") == (health.credential_failed, health.state)


@pytest.mark.parametrize("failures", range(1, 9))
def test_a_merged_row_of_failures_opens_like_single_ones(failures: int) -> None:
    """With traffic a flush of many failures opens the breaker exactly where the failures one by one would."""
    seen = seen_of([Transient("500")] * failures)
    one, many = after(Health("lead", BUSY), merged(seen)), after(Health("lead", BUSY), *seen)
    assert (many.state, many.breaker.until, many.breaker.opens) == (one.state, one.breaker.until, one.breaker.opens)


@pytest.mark.parametrize("failures", range(1, 9))
def test_a_merged_row_opens_a_quiet_target_too(failures: int) -> None:
    """On little traffic a flush of failures opens the breaker if the failures one by one would."""
    seen = seen_of([Transient("500")] * failures)
    one, many = after(Health("lead"), merged(seen)), after(Health("lead"), *seen)
    assert (many.state, many.breaker.opens) == (one.state, one.breaker.opens)


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
