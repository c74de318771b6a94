"""When a target is left alone, for how long, and how it comes back."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json, bad, good
from understudy.catalog import BreakerSettings
from understudy.errors import CallerFault, Credential, OutOfTime, RateLimited, Refusal, Silent, Transient
from understudy.health.breaker import Breaker, breaker_from, lease, opened, share, step
from understudy.health.observation import Observation

EXACT = BreakerSettings(jitter=0.0)
FAULT = Transient("500")
BUSY = Breaker(window=((10, 20, 0),))
"""Twenty good calls at 100 s: a target with traffic."""


def after(
    breaker: Breaker,
    *seen: Observation,
    settings: BreakerSettings = EXACT,
    seed: int = 0,
    fleet: Breaker | None = None,
) -> Breaker:
    """The breaker after all observations."""
    rng = random.Random(seed)
    for one in seen:
        breaker = step(breaker, one, settings, rng, fleet=fleet)
    return breaker


def open_at(now: float, opens: int = 1, settings: BreakerSettings = EXACT, since: float | None = None) -> Breaker:
    """A breaker that has opened `opens` times in a row, first at `since`, the last time at `now`."""
    before = Breaker(opens=opens - 1, down_since=now if since is None else since)
    return opened(before, now, "down", settings, random.Random(0))


def seconds_open(breaker: Breaker) -> float:
    """How long it is open, by its last opening."""
    return round(breaker.until - breaker.changed_at, 9)


@pytest.mark.parametrize(("failures", "state"), [(4, "closed"), (5, "open"), (6, "open")])
def test_failures_in_a_row_open_it(failures: int, state: str) -> None:
    """With traffic the fifth hard failure in a row opens the breaker, not the fourth."""
    assert state == after(BUSY, *[bad(100.0 + i, FAULT) for i in range(failures)]).state


@pytest.mark.parametrize(
    ("calls", "failures", "state"), [(0, 1, "closed"), (0, 2, "open"), (19, 2, "open"), (20, 2, "closed")]
)
def test_little_traffic_opens_by_little_evidence(calls: int, failures: int, state: str) -> None:
    """With fewer than twenty good calls in the window the second failure in a row opens the breaker."""
    seen = [good(100.0)] * calls + [bad(101.0, FAULT)] * failures
    assert state == after(Breaker(), *seen).state


def test_a_busy_minute_ago_is_quiet_now() -> None:
    """Good calls that left the window do not make a target busy."""
    assert "open" == after(BUSY, *[bad(170.0, FAULT)] * 2).state


@pytest.mark.parametrize(("fleet", "state"), [(None, "open"), (Breaker(), "open"), (BUSY, "closed")])
def test_a_target_is_quiet_only_in_the_whole_fleet(fleet: Breaker | None, state: str) -> None:
    """An environment with little traffic waits for the fifth failure where the fleet has much."""
    assert state == after(Breaker(), *[bad(100.0, FAULT)] * 2, fleet=fleet).state


def test_a_success_starts_the_row_again() -> None:
    """Four failures, a good call and four failures more are not five in a row (and too few calls for the ratio)."""
    breaker = after(BUSY, *[bad(100.0, FAULT)] * 4, good(100.0), *[bad(100.0, FAULT)] * 4)
    assert ("closed", 4) == (breaker.state, breaker.consecutive)


def test_an_answer_from_before_the_fault_does_not_start_the_row_again() -> None:
    """Good calls that began before the first failing call and end between the failures do not hide an outage."""
    late = Observation("lead", 100.0).success(102.0, 0.1, began=99.0)
    seen = [one for i in range(5) for one in (bad(100.0 + i / 10, FAULT), late)]
    assert "5 failures in a row, the last: transient: 500" == after(BUSY, *seen).reason


@pytest.mark.parametrize(("pairs", "state"), [(4, "closed"), (5, "open")])
def test_half_of_ten_calls_open_it(pairs: int, state: str) -> None:
    """Half of at least ten calls within the window failing opens the breaker, however they alternate."""
    seen = [one for i in range(pairs) for one in (good(100.0 + i), bad(100.0 + i, FAULT))]
    assert state == after(Breaker(), *seen).state


def test_failures_older_than_the_window_are_forgotten() -> None:
    """Calls of more than a minute ago do not count for the ratio."""
    old = [one for i in range(4) for one in (good(100.0 + i), bad(100.0 + i, FAULT))]
    breaker = after(Breaker(), *old, good(170.0), bad(170.0, FAULT))
    assert ("closed", ((17, 1, 1),)) == (breaker.state, breaker.window)


@pytest.mark.parametrize("failure", [CallerFault("bad"), Refusal("no"), RateLimited("wait"), OutOfTime("late")])
def test_failures_that_are_not_its_fault_never_open_it(failure: Any) -> None:
    """Faults of the caller, refusals, rate limits and the request's own deadline do not open it."""
    breaker = after(Breaker(), *[bad(100.0 + i, failure) for i in range(50)])
    assert ("closed", 0, 0) == (breaker.state, breaker.consecutive, sum(failed for _, _, failed in breaker.window))


@pytest.mark.parametrize("before", [Breaker(), BUSY], ids=["quiet", "busy"])
def test_a_refused_credential_opens_it_at_once(before: Breaker) -> None:
    """One refused credential opens the breaker, whatever the traffic; it is probed at the steady pace."""
    breaker = after(before, bad(100.0, Credential("401")))
    assert ("open", 8.5, True) == (breaker.state, seconds_open(breaker), breaker.steady)
    assert "credential: 401" == breaker.reason


def test_a_credential_among_other_calls_opens_it_too() -> None:
    """A refused credential is not outvoted by good calls of the same observation, before or after it."""
    seen = good(100.0).failure(100.0, Credential("401")).success(100.0, 0.1)
    assert "open" == after(BUSY, seen).state


@pytest.mark.parametrize(
    ("before", "failures", "reason"),
    [
        (BUSY, 5, "5 failures in a row, the last: silent: late"),
        (Breaker(), 2, "2 failures in a row on little traffic, the last: silent: late"),
        (Breaker(window=((10, 9, 8),)), 1, "9 of 18 calls failed within 60 s, the last: silent: late"),
    ],
)
def test_the_reason_says_how_many_and_what(before: Breaker, failures: int, reason: str) -> None:
    """The reason of an opening names the evidence and the last failure."""
    assert reason == after(before, *[bad(100.0, Silent("late"))] * failures).reason


@pytest.mark.parametrize(
    ("opens", "seconds"), [(1, 2.0), (2, 2.5), (3, 3.125), (7, 7.629394531), (8, 8.5), (1000, 8.5)]
)
def test_each_opening_in_a_row_lasts_a_quarter_longer(opens: int, seconds: float) -> None:
    """The open time of a young outage grows by a quarter with each opening in a row, up to the steady time."""
    assert seconds == seconds_open(open_at(100.0, opens))


@pytest.mark.parametrize(
    ("outage", "seconds"), [(0.0, 8.5), (85.0, 8.5), (86.0, 8.6), (300.0, 30.0), (600.0, 60.0), (9000.0, 60.0)]
)
def test_a_long_outage_is_probed_less_often(outage: float, seconds: float) -> None:
    """The open time is a tenth of the outage as soon as that is more than the steady time, up to the longest."""
    assert seconds == seconds_open(open_at(10_000.0, 99, since=10_000.0 - outage))


def test_the_length_of_an_outage_counts_from_its_first_opening() -> None:
    """Openings in a row are one outage, and the first of them its beginning."""
    probes = [bad(100.0 + 60 * i, FAULT, source="probe") for i in range(1, 9)]
    breaker = after(open_at(100.0), *probes)
    assert (100.0, 9, 11.920928955) == (breaker.down_since, breaker.opens, seconds_open(breaker))


def test_a_quiet_target_begins_at_the_steady_time() -> None:
    """Little evidence opens for the steady time, and so does each failed probe after it."""
    quiet = after(Breaker(), *[bad(100.0, FAULT)] * 2)
    again = after(quiet, bad(109.0, FAULT, source="probe"))
    assert [(8.5, True), (8.5, True)] == [(seconds_open(b), b.steady) for b in (quiet, again)]


def test_a_relapse_of_a_busy_target_is_not_taken_for_quiet() -> None:
    """Right after a recovery nobody is busy: two failures open it again, still without the steady time."""
    again = after(Breaker(changed_at=100.0, opens=1, down_since=90.0), *[bad(100.5, FAULT)] * 2)
    assert ("open", 2.5, False) == (again.state, seconds_open(again), again.steady)


def test_jitter_only_lengthens() -> None:
    """With 5 % jitter the first open time lies within 2 s and 2.1 s, and is not always the same."""
    times = [opened(Breaker(), 0.0, "", BreakerSettings(), random.Random(seed)).until for seed in range(200)]
    assert (True, True) == (all(2.0 <= t <= 2.1 for t in times), max(times) - min(times) > 0.05)


PROBES = [
    ("open", 0, good(103.0, source="probe"), "half_open", 1),
    ("half_open", 1, good(103.0, source="probe"), "closed", 0),
    ("open", 0, bad(103.0, FAULT, source="probe"), "open", 0),
    ("half_open", 1, bad(103.0, FAULT, source="probe"), "open", 0),
    ("half_open", 1, bad(103.0, Credential("key"), source="probe"), "open", 0),
    ("half_open", 1, bad(103.0, RateLimited("wait"), source="probe"), "half_open", 1),
    ("open", 0, replace(good(103.0, source="probe"), ok=2), "closed", 0),
]


@pytest.mark.parametrize(("state", "successes", "seen", "expected", "left"), PROBES)
def test_probes_move_it(state: Any, successes: int, seen: Observation, expected: str, left: int) -> None:
    """A good probe goes one step towards closed; a bad one opens again; either way the lease is free."""
    before = Breaker(state=state, changed_at=100.0, until=102.0, opens=1, successes=successes, lease_until=130.0)
    now = after(before, seen)
    assert (expected, left, 0.0) == (now.state, now.successes, now.lease_until)


def test_a_failed_probe_opens_for_longer() -> None:
    """A hard failure of a probe counts as another opening in a row."""
    breaker = after(open_at(100.0), bad(103.0, FAULT, source="probe"))
    assert (2, 105.5) == (breaker.opens, breaker.until)


def test_a_probe_that_proves_nothing_does_not_prolong() -> None:
    """A rate limited probe of an open breaker frees the lease and leaves the open time as it was."""
    before = open_at(100.0)
    leased = lease(before, 102.0, EXACT)
    assert leased is not None
    assert before == after(leased, bad(103.0, RateLimited("wait"), source="probe"))


@pytest.mark.parametrize("state", ["open", "half_open"])
def test_traffic_is_no_news_about_recovery(state: Any) -> None:
    """Calls that began before the opening neither close nor prolong it."""
    before = Breaker(state=state, changed_at=100.0, until=102.0, opens=1, lease_until=110.0)
    assert before == after(before, good(101.0), bad(102.0, FAULT), *[good(103.0)] * 20)


@pytest.mark.parametrize("failure", [None, FAULT, Credential("401")])
def test_a_probe_from_before_the_opening_is_no_news_about_recovery(failure: Any) -> None:
    """A routine probe of a target that was still well, ending after its breaker opened, leaves it as it is."""
    late = Observation("lead", 101.0, "probe")
    seen = late.success(101.0, 0.1, began=99.0) if failure is None else late.failure(101.0, failure, began=99.0)
    assert open_at(100.0) == after(open_at(100.0), seen)


def test_observations_from_before_the_closing_are_ignored() -> None:
    """A late failure from before the breaker closed does not count against the target."""
    closed = Breaker(changed_at=100.0, opens=1)
    assert closed == after(closed, *[bad(99.0, FAULT)] * 9)


@pytest.mark.parametrize(("began", "state"), [(99.9, "closed"), (100.0, "open")])
def test_calls_that_began_before_the_recovery_may_fail_after_it(began: float, state: str) -> None:
    """A failure that ends after the breaker closed counts only where its call began after that."""
    late = Observation("lead", 105.0).failure(105.0, FAULT, began=began)
    assert state == after(Breaker(changed_at=100.0, opens=1), *[late] * 9).state


def test_opening_later_never_ends_sooner() -> None:
    """After an early close and another opening with a shorter time, `until` is still the later of the two."""
    early = after(open_at(100.0, 9), *[good(101.0, source="probe")] * 2)
    again = after(early, *[bad(101.5, FAULT)] * 5, settings=BreakerSettings(open_max=1.0, jitter=0.0))
    assert ("closed", "open", 108.5) == (early.state, again.state, again.until)


def test_a_long_calm_starts_from_the_shortest_open_time() -> None:
    """A target that stayed well for longer than the longest open time begins again with the shortest."""
    calm = after(Breaker(changed_at=100.0, opens=4, down_since=50.0), *[good(161.0)] * 20)
    again = after(calm, *[bad(200.0, FAULT)] * 5)
    assert (0, 202.0, 200.0) == (calm.opens, again.until, again.down_since)


def test_a_long_calm_makes_a_steady_target_like_any_other() -> None:
    """After the calm it is forgotten that the breaker once opened by little evidence."""
    steady = after(Breaker(), bad(100.0, Credential("401")), replace(good(110.0, source="probe"), ok=2))
    assert [True, False] == [steady.steady, after(steady, good(171.0)).steady]


LEASES = [
    ("closed", 200.0, False, None),
    ("open", 101.9, False, None),
    ("open", 102.0, False, 132.0),
    ("open", 103.9, True, None),
    ("open", 104.0, True, 134.0),
    ("half_open", 100.0, False, 130.0),
    ("half_open", 101.9, True, None),
    ("half_open", 102.0, True, 132.0),
]


@pytest.mark.parametrize(("state", "now", "live", "until"), LEASES)
def test_when_a_lease_may_be_taken(state: Any, now: float, live: bool, until: float | None) -> None:
    """The control plane may probe when the open time is over, a live request only after twice that time."""
    leased = lease(Breaker(state=state, changed_at=100.0, until=102.0, opens=1), now, EXACT, live=live)
    assert until == (leased.lease_until if leased else None)


@pytest.mark.parametrize(("now", "free"), [(131.9, False), (132.0, True)])
def test_a_lease_is_for_one(now: float, free: bool) -> None:
    """While one holds the lease nobody else gets it; it runs out after its time."""
    leased = lease(open_at(100.0), 102.0, EXACT)
    assert leased is not None
    assert free == (lease(leased, now, EXACT, live=True) is not None)


@pytest.mark.parametrize(
    ("breaker", "now", "expected"),
    [
        (Breaker(), 0.0, 1.0),
        (Breaker(state="open"), 1e9, 0.0),
        (Breaker(state="half_open"), 1e9, 0.0),
        (Breaker(changed_at=100.0, opens=1), 100.0, 0.1),
        (Breaker(changed_at=100.0, opens=1), 100.99, 0.1),
        (Breaker(changed_at=100.0, opens=1), 101.0, 0.5),
        (Breaker(changed_at=100.0, opens=1), 102.0, 1.0),
        (Breaker(changed_at=100.0, opens=1, steady=True), 100.0, 1.0),
    ],
)
def test_share_of_its_traffic(breaker: Breaker, now: float, expected: float) -> None:
    """Nothing while open or half open, then the ramp of 10 %, 50 % and everything; little traffic needs no ramp."""
    assert expected == share(breaker, now, EXACT)


def test_fields_of_a_newer_version_are_ignored() -> None:
    """A breaker written by a newer version can be read by an older one."""
    assert Breaker(state="open", opens=2) == breaker_from({"state": "open", "opens": 2, "mood": "better"})


FAILURES = st.sampled_from([FAULT, Silent("s"), RateLimited("r"), Credential("c"), CallerFault("x")])
SEEN = st.lists(
    st.tuples(
        st.floats(0, 30, allow_nan=False),
        st.sampled_from(["traffic", "probe"]),
        st.none() | FAILURES,
        st.integers(1, 6),
    ),
    max_size=40,
)


def observations(plan: list[tuple[float, str, Any, int]]) -> list[Observation]:
    at, seen = 1000.0, []
    for gap, source, failure, times in plan:
        at += gap
        seen += [(good(at, source=source) if failure is None else bad(at, failure, source=source))] * times
    return seen


@given(SEEN, st.integers(0, 2**32))
def test_replay_gives_the_same_breaker(plan: list[tuple[float, str, Any, int]], seed: int) -> None:
    """The same observations with the same randomness give the same breaker, also through JSON at every step."""
    rng, again = random.Random(seed), Breaker()
    for one in observations(plan):
        again = breaker_from(as_json(step(again, one, BreakerSettings(), rng).plain()))
    assert after(Breaker(), *observations(plan), settings=BreakerSettings(), seed=seed) == again
