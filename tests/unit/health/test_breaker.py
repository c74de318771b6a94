"""When a target is left alone, for how long, and how it comes back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.builders import as_json, bad, good
from understudy.catalog import BreakerSettings
from understudy.errors import CallerFault, Credential, OutOfTime, RateLimited, Refusal, Silent, Transient
from understudy.health.breaker import Breaker, breaker_from, lease, opened, share, step
from understudy.health.observation import Observation

EXACT = BreakerSettings(jitter=0.0)
FAULT = Transient("500")


def after(breaker: Breaker, *seen: Observation, settings: BreakerSettings = EXACT, seed: int = 0) -> Breaker:
    """The breaker after all observations."""
    rng = random.Random(seed)
    for one in seen:
        breaker = step(breaker, one, settings, rng)
    return breaker


def open_at(now: float, opens: int = 1, settings: BreakerSettings = EXACT) -> Breaker:
    """A breaker that has opened `opens` times in a row, the last time at `now`."""
    return opened(Breaker(opens=opens - 1), now, "down", settings, random.Random(0))


@pytest.mark.parametrize(("failures", "state"), [(4, "closed"), (5, "open"), (6, "open")])
def test_failures_in_a_row_open_it(failures: int, state: str) -> None:
    """The fifth hard failure in a row opens the breaker, not the fourth."""
    assert state == after(Breaker(), *[bad(100.0 + i, FAULT) for i in range(failures)]).state


def test_a_success_starts_the_row_again() -> None:
    """Four failures, a good call and four failures more are not five in a row (and too few calls for the ratio)."""
    seen = [bad(100.0, FAULT)] * 4 + [good(100.0)] + [bad(100.0, FAULT)] * 4
    assert ("closed", 4) == (after(Breaker(), *seen).state, after(Breaker(), *seen).consecutive)


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


@pytest.mark.parametrize(
    "failure", [CallerFault("bad"), Refusal("no"), RateLimited("wait"), Credential("key"), OutOfTime("late")]
)
def test_failures_that_are_not_its_fault_never_open_it(failure: Any) -> None:
    """Faults of the caller, refusals, rate limits, credentials and the request's own deadline do not open it."""
    breaker = after(Breaker(), *[bad(100.0 + i, failure) for i in range(50)])
    assert ("closed", 0, 0) == (breaker.state, breaker.consecutive, sum(failed for _, _, failed in breaker.window))


def test_the_reason_says_how_many_and_what() -> None:
    """The reason of an opening names the number of failures and the last of them."""
    breaker = after(Breaker(), *[bad(100.0, Silent("no first token within 10 s"))] * 5)
    assert "5 failures in a row, the last: silent: no first token within 10 s" == breaker.reason


@pytest.mark.parametrize(("opens", "seconds"), [(1, 2.0), (2, 4.0), (3, 8.0), (5, 32.0), (6, 60.0), (1000, 60.0)])
def test_each_opening_in_a_row_lasts_twice_as_long(opens: int, seconds: float) -> None:
    """The open time doubles with each opening in a row, up to the longest."""
    assert 100.0 + seconds == open_at(100.0, opens).until


def test_jitter_spreads_the_open_time() -> None:
    """With 20 % jitter the first open time lies within 1.6 s and 2.4 s, and is not always the same."""
    times = [opened(Breaker(), 0.0, "", BreakerSettings(), random.Random(seed)).until for seed in range(200)]
    assert (True, True) == (all(1.6 <= t <= 2.4 for t in times), max(times) - min(times) > 0.5)


PROBES = [
    ("open", 0, good(103.0, source="probe"), "half_open", 1),
    ("half_open", 1, good(103.0, source="probe"), "closed", 0),
    ("open", 0, bad(103.0, FAULT, source="probe"), "open", 0),
    ("half_open", 1, bad(103.0, FAULT, source="probe"), "open", 0),
    ("half_open", 1, bad(103.0, Credential("key"), source="probe"), "half_open", 1),
    ("open", 0, bad(103.0, Credential("key"), source="probe"), "open", 0),
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
    assert (2, 107.0) == (breaker.opens, breaker.until)


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


def test_observations_from_before_the_closing_are_ignored() -> None:
    """A late failure from before the breaker closed does not count against the target."""
    closed = Breaker(changed_at=100.0, opens=1)
    assert closed == after(closed, *[bad(99.0, FAULT)] * 9)


def test_opening_later_never_ends_sooner() -> None:
    """After an early close and another opening with a shorter time, `until` is still the later of the two."""
    early = after(open_at(100.0, 9), *[good(101.0, source="probe")] * 2)
    again = after(early, *[bad(101.5, FAULT)] * 5, settings=BreakerSettings(open_max=1.0, jitter=0.0))
    assert ("closed", "open", 160.0) == (early.state, again.state, again.until)


def test_a_long_calm_starts_from_the_shortest_open_time() -> None:
    """A target that stayed well for longer than the longest open time begins again with the shortest."""
    calm = after(Breaker(changed_at=100.0, opens=4), good(161.0))
    assert (0, 202.0) == (calm.opens, after(calm, *[bad(200.0, FAULT)] * 5).until)


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
    ],
)
def test_share_of_its_traffic(breaker: Breaker, now: float, expected: float) -> None:
    """Nothing while open or half open, then the ramp of 10 %, 50 % and everything."""
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


class BreakerLife(RuleBasedStateMachine):
    """Any life of a breaker: traffic, probes by the control plane and by live requests, time going by."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = BreakerSettings(successes_to_close=3)
        self.rng = random.Random(1)
        self.now = 1000.0
        self.breaker = Breaker()
        self.until = 0.0
        self.holder: float | None = None
        self.good_probes = 0

    def see(self, seen: Observation) -> None:
        before = self.breaker
        self.breaker = step(before, seen, self.settings, self.rng)
        if before.state != "closed" and seen.source == "traffic":
            assert before == self.breaker
        if before.state != "closed" and seen.source == "probe":
            if seen.ok:
                self.good_probes += 1
            elif seen.failures:
                self.good_probes = 0
        if before.state != "closed" and self.breaker.state == "closed":
            assert self.settings.successes_to_close == self.good_probes
        if before.state == "closed":
            assert self.breaker.state in ("closed", "open")
            self.good_probes = 0

    @rule(seconds=st.floats(0, 100, allow_nan=False))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(ok=st.booleans(), times=st.integers(1, 12))
    def traffic(self, ok: bool, times: int) -> None:
        for _ in range(times):
            self.see(good(self.now) if ok else bad(self.now, FAULT))

    @rule(live=st.booleans())
    def take_lease(self, live: bool) -> None:
        leased = lease(self.breaker, self.now, self.settings, live=live)
        if self.holder is not None and self.now < self.holder:
            assert None is leased
        if leased is not None:
            assert ("open", True) == (leased.state, self.now >= leased.until) or leased.state == "half_open"
            self.breaker, self.holder = leased, leased.lease_until

    @precondition(lambda self: self.holder is not None)
    @rule(failure=st.none() | FAILURES)
    def probe_ends(self, failure: Any) -> None:
        self.holder = None
        self.see(good(self.now, source="probe") if failure is None else bad(self.now, failure, source="probe"))

    @rule(failure=st.none() | FAILURES)
    def stray_probe(self, failure: Any) -> None:
        """A probe nobody holds a lease for, as when a message is delivered twice."""
        if self.holder is None:
            self.see(good(self.now, source="probe") if failure is None else bad(self.now, failure, source="probe"))

    @invariant()
    def until_never_moves_backward(self) -> None:
        assert self.breaker.until >= self.until
        self.until = self.breaker.until

    @invariant()
    def only_a_closed_breaker_gets_traffic(self) -> None:
        assert (self.breaker.state == "closed") == (share(self.breaker, self.now, self.settings) > 0)

    @invariant()
    def survives_json(self) -> None:
        assert self.breaker == breaker_from(as_json(self.breaker.plain()))

    @invariant()
    def keeps_a_small_window(self) -> None:
        assert len(self.breaker.window) <= 6


TestBreakerLife = BreakerLife.TestCase
TestBreakerLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
