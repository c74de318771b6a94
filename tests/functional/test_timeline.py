"""What callers see of an outage of the lead, and what the lead sees of the callers: every default as it is shipped.

Everything runs in virtual time (tests/fleet.py); providers are scripted where the router calls them.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from itertools import product
from typing import TypeVar

import pytest

from tests.callers import Record
from tests.fleet import Fleet, Timeline, percentile, timeline
from tests.providers import FAST, MIDWAY, PROBE, SILENT, TEXT, Call, Provider
from tests.virtual import run

RATE = 20.0
BREAKS, HEALS, ENDS = 5.0, 12.0, 20.0
FAULTS = [
    "http_500",
    "http_429",
    "http_503",
    "http_401",
    "reset",
    "refused",
    "hang",
    "slow",
    "brownout",
    "malformed_json",
    "wrong_content_type",
    "empty_content",
    "stream_500",
    "stream_slow_first_token",
    "stream_error_first_event",
    "stream_dies_midway",
    "stream_stalls_midway",
]
ENVIRONMENTS = [1, 4]
# One environment knows at once what it saw itself.  Several must first hear of each other: by the table's stream, which
# takes 0.3 s here, and the next read of the table.
CALLS = {1: 8, 4: 24}
LEFT = {1: 0.3, 4: 0.8}
MIDWAY_AFTER = 0.4
"""Seconds after which an answer that stalls midway has fallen silent."""

T = TypeVar("T")


def streams(fault: str) -> bool:
    return fault.startswith("stream_")


@cache
def outage(fault: str, environments: int) -> Timeline:
    """20 requests a second for 20 s, the lead broken from second 5 to 12."""

    async def main() -> Timeline:
        async with Fleet(Provider().breaks(fault, BREAKS, HEALS), environments=environments) as fleet:
            await fleet.traffic(RATE, ENDS, stream=streams(fault))
            assert [] == fleet.crashes()
            return timeline(fleet, BREAKS, HEALS)

    return run(main())


@cache
def alone(stream: bool) -> float:
    """The 99th percentile of the understudy on a route of its own."""

    async def main() -> float:
        async with Fleet() as fleet:
            await fleet.traffic(RATE, ENDS, stream=stream, route="alone")
            return percentile([record.seconds for record in fleet.records], 99)

    return run(main())


def play(lead: Provider, script: Callable[[Fleet], Awaitable[T]]) -> T:
    """Run a script against a fleet of one environment."""

    async def main() -> T:
        async with Fleet(lead) as fleet:
            result = await script(fleet)
            assert [] == fleet.crashes()
            return result

    return run(main())


def outages(faults: object) -> pytest.MarkDecorator:
    """Every chosen fault with every number of environments."""
    chosen = [fault for fault in FAULTS if fault in faults]  # type: ignore[operator]
    return pytest.mark.parametrize(("fault", "environments"), list(product(chosen, ENVIRONMENTS)))


class TestOutage:
    """Seven seconds of a broken lead under 20 requests a second."""

    @outages(FAULTS)
    def test_no_caller_notices(self, fault: str, environments: int) -> None:
        """No caller sees an error, and nobody is told anything but the one true answer."""
        seen = outage(fault, environments)
        assert (0, 0) == (seen.errors, seen.wrong)

    @outages(FAST)
    def test_the_lead_is_left_alone(self, fault: str, environments: int) -> None:
        """A lead that fails fast is called at most 8 times while it is broken, probes included; 6 times by each of 4
        environments."""
        assert outage(fault, environments).calls <= CALLS[environments]

    @outages(FAST)
    def test_callers_leave_at_once(self, fault: str, environments: int) -> None:
        """The last caller's call on a lead that fails fast begins at most 0.3 s after its first failure; 0.8 s where 4
        environments must hear of each other."""
        left = outage(fault, environments).left_after
        assert left is not None
        assert left <= LEFT[environments]

    @outages(SILENT | MIDWAY)
    def test_callers_leave_silence_soon(self, fault: str, environments: int) -> None:
        """The last caller's call on a silent lead begins at most 2.5 s after its first silence; half a second later
        where 4 environments must hear of each other."""
        left = outage(fault, environments).left_after_doubt
        assert left is not None
        silent_after = MIDWAY_AFTER if fault in MIDWAY else 0.0
        assert left - silent_after <= 2.5 + LEFT[environments] - LEFT[1]

    @outages(set(FAULTS) - {"brownout"})
    def test_callers_come_back(self, fault: str, environments: int) -> None:
        """At most 5 s after the lead is well a caller's request goes to it again, and is answered."""
        back = outage(fault, environments).returned_after
        assert back is not None
        assert back <= 5.0

    @outages(FAST)
    def test_callers_hardly_wait(self, fault: str, environments: int) -> None:
        """During a fast fault the 99th percentile is at most one and a half times the understudy's own."""
        assert outage(fault, environments).p99 <= 1.5 * alone(streams(fault))


DOWN, UP = 12.0, 72.0


@cache
def flapping(fault: str) -> tuple[Timeline, list[Record], list[Call], list[float], float]:
    """Three requests, then a minute without the lead, then twenty seconds with it: one request each 4 s.

    The timeline, the records, the calls on the lead, the moments at which two probes were under way, and when the
    breaker opened.
    """

    async def script(fleet: Fleet) -> tuple[Timeline, list[Record], list[Call], list[float], float]:
        await fleet.traffic(0.25, 92)
        opened = min((at for at, item in fleet.health if item.target == "lead" and item.state == "open"), default=UP)
        at_once = [*fleet.probes_at_once("lead"), *fleet.leases_at_once("lead")]
        return timeline(fleet, DOWN, UP), fleet.records, fleet.calls, at_once, opened

    return play(Provider().breaks(fault, DOWN, UP), script)


@pytest.mark.parametrize("fault", ["http_500", "http_503", "refused", "hang"])
class TestFlapping:
    """A minute's outage of the lead under one request each 4 s."""

    def test_every_request_is_answered(self, fault: str) -> None:
        """All twenty-three requests get the whole answer."""
        assert [(None, TEXT)] * 23 == [(record.error, record.text) for record in flapping(fault)[1]]

    def test_the_lead_is_left_alone(self, fault: str) -> None:
        """The lead is called at most 8 times in its minute, probes included."""
        assert flapping(fault)[0].calls <= 8

    def test_callers_come_back(self, fault: str) -> None:
        """At most 10 s after the lead is well a caller's request goes to it again, and is answered; the first one after
        these 10 s where a probe that hangs had to be waited for."""
        back = flapping(fault)[0].returned_after
        assert back is not None
        assert back <= 10.0 + (4.0 if fault == "hang" else 0.0)

    def test_probes_come_one_at_a_time(self, fault: str) -> None:
        """No probe begins while another one is under way, and no lease is taken while another one holds."""
        assert [] == flapping(fault)[3]

    def test_no_caller_pays_for_finding_out(self, fault: str) -> None:
        """Once the breaker is open no caller's call on the lead fails."""
        _, _, calls, _, opened = flapping(fault)
        assert [] == [call for call in calls if opened < call.began_at < UP and call.by != PROBE and call.failed]


@pytest.mark.parametrize("fault", ["hang", "slow"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
class TestSilence:
    """How long one caller waits for a lead that says nothing, or nothing for 20 s."""

    def test_an_unknown_lead_is_given_ten_seconds(self, fault: str, stream: bool) -> None:
        """Where nobody knows how quick the lead is, the answer is there within 12 s, after one call on the lead."""

        async def script(fleet: Fleet) -> tuple[Record, int]:
            return await fleet.ask(stream=stream), len(fleet.calls)

        record, calls = play(Provider().breaks(fault), script)
        assert (None, TEXT, 1) == (record.error, record.text, calls)
        assert record.seconds <= 12.0

    def test_a_lead_that_was_quick_is_not_waited_for(self, fault: str, stream: bool) -> None:
        """After 30 answers whose first token took 0.2 s the answer is there within 4 s, after one call on the lead."""

        async def script(fleet: Fleet) -> tuple[Record, int]:
            await fleet.traffic(2, 15, stream=stream)
            await fleet.until(20)
            return await fleet.ask(stream=stream), sum(call.began_at >= 20 for call in fleet.calls)

        record, calls = play(Provider().breaks(fault, 20), script)
        assert (None, TEXT, 1) == (record.error, record.text, calls)
        assert record.seconds <= 4.0


async def one(fleet: Fleet) -> tuple[Record, list[Call]]:
    """One request and the calls on the lead."""
    return await fleet.ask(), fleet.calls


class TestRetry:
    """What one request does to a lead that fails."""

    @pytest.mark.parametrize("fault", ["http_429", "http_503", "http_529"])
    def test_an_overloaded_lead_is_not_pressed(self, fault: str) -> None:
        """A lead that stays overloaded gets at most 4 calls in 3 s and 6 in all, then the understudy answers."""
        record, calls = play(Provider().breaks(fault), one)
        assert (None, TEXT, "understudy") == (record.error, record.text, record.target)
        assert sum(call.began_at - calls[0].began_at <= 3.0 for call in calls) <= 4
        assert len(calls) <= 6

    @pytest.mark.parametrize("fault", ["http_500", "reset"])
    def test_a_stumble_is_forgiven_once(self, fault: str) -> None:
        """After one passing failure the lead is asked exactly once more, and answers."""
        record, calls = play(Provider().stumbles(fault), one)
        assert (None, TEXT, "lead", 2) == (record.error, record.text, record.target, len(calls))

    def test_a_short_hint_is_waited_for(self) -> None:
        """A lead that asks for 2 s is asked again no sooner than after 1.8 s, and answers."""
        record, calls = play(Provider().stumbles("http_429_hint"), one)
        assert (None, TEXT, "lead", 2) == (record.error, record.text, record.target, len(calls))
        assert calls[1].began_at - calls[0].ended_at >= 1.8
