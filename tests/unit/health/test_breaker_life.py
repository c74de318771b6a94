"""Any life of one breaker that several writers share, as they share an item of the table."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.builders import as_json
from understudy.catalog import BreakerSettings
from understudy.errors import CallerFault, Credential, RateLimited, Silent, Transient
from understudy.health.breaker import Breaker, breaker_from, lease, opened, share, step
from understudy.health.observation import Observation

WRITERS = 3
SETTINGS = BreakerSettings(quiet_calls=6, open_max=30.0, lease=20.0)
HARD = [Transient("500"), Silent("s"), Credential("c")]
FAILURES = st.none() | st.sampled_from([*HARD, RateLimited("r"), CallerFault("x")])
WRITER = st.integers(0, WRITERS - 1)
Change = Callable[[Breaker, random.Random], Breaker | None]


class SharedBreaker(RuleBasedStateMachine):
    """Writers read the stored breaker when they like, decide by what they have read, and write on condition that
    nobody else has written since.  Time only moves forward; calls may have begun long before they end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.rng = random.Random(1)
        self.stored, self.rev = Breaker(), 0
        self.read = [(self.stored, self.rev)] * WRITERS
        self.before = self.stored
        self.calm = False
        self.lease_until = 0.0
        self.probing: float | None = None
        self.ticking: float | None = None

    def write(self, writer: int, change: Change, *, again: bool = False) -> bool:
        """One conditional write; `again`: it is tried again after reading where somebody else was first."""
        seen, rev = self.read[writer]
        if rev != self.rev and again:
            seen, rev = self.stored, self.rev
        twin = deepcopy(self.rng)
        after = change(seen, self.rng)
        assert after == change(breaker_from(as_json(seen.plain())), twin)
        if after is None or rev != self.rev:
            self.read[writer] = (self.stored, self.rev)
            return False
        self.stored, self.rev = after, rev + 1
        self.read[writer] = (self.stored, self.rev)
        self.calm = seen.state == "closed" and self.now - seen.changed_at > SETTINGS.open_max
        return True

    def see(self, writer: int, began: float, failure: Any, *, source: Any = "traffic", times: int = 1) -> None:
        seen = Observation("lead", self.now, source)
        for _ in range(times):
            if failure is None:
                seen = seen.success(self.now, 0.1, began=began)
            else:
                seen = seen.failure(self.now, failure, began=began)
        self.write(writer, lambda breaker, rng: step(breaker, seen, SETTINGS, rng), again=True)

    @rule(seconds=st.floats(0, 5) | st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(writer=WRITER)
    def look(self, writer: int) -> None:
        self.read[writer] = (self.stored, self.rev)

    @rule(writer=WRITER, failure=FAILURES, ago=st.floats(0, 40), times=st.integers(1, 12))
    def calls_end(self, writer: int, failure: Any, ago: float, times: int) -> None:
        self.see(writer, self.now - ago, failure, times=times)

    @rule(writer=WRITER)
    def environment_opens(self, writer: int) -> None:
        """By what it has seen itself; the fleet is told where it is not open yet."""
        self.write(
            writer,
            lambda breaker, rng: (
                opened(breaker, self.now, "down", SETTINGS, rng, steady=breaker.steady)
                if breaker.state == "closed"
                else None
            ),
        )

    @rule(writer=WRITER, live=st.booleans())
    def probe_begins(self, writer: int, live: bool) -> None:
        seen, _ = self.read[writer]
        if not self.write(writer, lambda breaker, _: lease(breaker, self.now, SETTINGS, live=live)):
            return
        assert self.now >= self.lease_until, "two leases are held at once"
        assert seen.state == "half_open" or self.now >= seen.until
        self.lease_until, self.probing = self.stored.lease_until, self.now

    @precondition(lambda self: self.probing is not None)
    @rule(writer=WRITER, failure=FAILURES, times=st.integers(1, 2))
    def probe_ends(self, writer: int, failure: Any, times: int) -> None:
        """The outcome is there, told by whoever folds it in."""
        self.see(writer, self.probing or 0.0, failure, source="probe", times=times)
        self.probing, self.lease_until = None, 0.0

    @precondition(lambda self: self.probing is not None and self.now >= self.lease_until)
    @rule()
    def prober_vanishes(self) -> None:
        self.probing = None

    @precondition(lambda self: self.ticking is None and self.stored.state == "closed")
    @rule()
    def routine_probe_begins(self) -> None:
        """A closed target is probed without a lease."""
        self.ticking = self.now
        self.now += 0.001

    @precondition(lambda self: self.ticking is not None)
    @rule(writer=WRITER, failure=st.none() | st.sampled_from(HARD))
    def routine_probe_ends(self, writer: int, failure: Any) -> None:
        was, began = self.stored, self.ticking or 0.0
        self.see(writer, began, failure, source="probe")
        self.ticking = None
        if was.state != "closed":
            assert was == self.stored, "a probe from before the opening says nothing about recovery"

    @invariant()
    def nothing_moves_backward(self) -> None:
        before, now = self.before, self.stored
        assert (True, True) == (now.until >= before.until, now.changed_at >= before.changed_at)
        assert now.changed_at <= self.now
        assert now.opens >= before.opens or (now.opens == 0 and self.calm)
        self.before = now

    @invariant()
    def only_a_closed_breaker_has_traffic(self) -> None:
        """After closing it gets the ramp, without one where it opened by little evidence, and then everything."""
        breaker, age = self.stored, self.now - self.stored.changed_at
        ramp = 1.0 if breaker.steady or not breaker.opens else 0.1 if age < 1 else 0.5 if age < 2 else 1.0
        assert (ramp if breaker.state == "closed" else 0.0) == share(breaker, self.now, SETTINGS)

    @invariant()
    def a_probe_is_never_far(self) -> None:
        """By twice the open time, or as soon as a held lease is over, anybody may probe; nobody before its end."""
        breaker = self.stored
        if breaker.state == "closed":
            assert None is lease(breaker, self.now, SETTINGS)
            return
        open_time = max(breaker.until - breaker.changed_at, SETTINGS.open_first)
        latest = max(breaker.changed_at + 2 * open_time, breaker.lease_until) + 1e-6
        assert None is not lease(breaker, latest, SETTINGS, live=True)
        if breaker.state == "open":
            assert None is lease(breaker, breaker.until - 1e-6, SETTINGS)

    @invariant()
    def the_window_is_small(self) -> None:
        assert len(self.stored.window) <= 6


TestSharedBreaker = SharedBreaker.TestCase
TestSharedBreaker.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
