"""The fleet in virtual time: what it would miss, no test that uses it could find."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest

from tests.builders import good
from tests.callers import Record, read
from tests.fleet import EPOCH, Fleet, percentile, table, timeline
from tests.providers import PROBE, TEXT, Call, Provider
from tests.virtual import run
from understudy.errors import AttemptFailed, StoreError
from understudy.health.breaker import Breaker
from understudy.health.item import Health
from understudy.services.handling import Answered

T = TypeVar("T")


def play(script: Callable[[Fleet], Awaitable[T]], lead: Provider | None = None) -> T:
    async def main() -> T:
        async with Fleet(lead) as fleet:
            return await script(fleet)

    return run(main())


def chunk(text: str, finish: str | None = None) -> bytes:
    payload = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return f"data: {json.dumps(payload)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
BROKEN = b'data: {"error": {"message": "broken", "code": "stream_broken"}}\n\n'


class TestCaller:
    """What a caller takes for an error."""

    @pytest.mark.parametrize(
        ("stream", "error", "text"),
        [
            ([chunk("a"), chunk("b", "stop"), DONE], None, "ab"),
            ([chunk("a")[:9], chunk("a")[9:] + chunk("b", "stop") + DONE], None, "ab"),
            ([b": still there\n\n", chunk("a", "stop"), DONE], None, "a"),
            ([chunk("a"), DONE], "the stop reason is None", "a"),
            ([chunk("a", "stop")], "no [DONE]", "a"),
            ([chunk("a"), BROKEN], "in-band: broken", "a"),
            ([chunk("a"), b"event: error\n" + BROKEN], "in-band: broken", "a"),
            ([chunk("a"), chunk("b", "stop")[:-1]], "the stream ended inside an event", "a"),
            ([], "the stop reason is None", ""),
        ],
    )
    def test_a_stream_is_whole_or_an_error(self, stream: list[bytes], error: str | None, text: str) -> None:
        """Only a stream with a stop reason and an end marker, and without an error event, is an answer."""

        async def body() -> AsyncGenerator[bytes, None]:
            for data in stream:
                yield data

        record = Record(1, "one", True, 0.0)
        run(read(Answered(200, {}, body()), record, lambda: 7.0))
        assert (error, text, 7.0) == (record.error, record.text, record.done_at)

    def test_an_http_error_is_an_error(self) -> None:
        """A status other than 200 is an error with the router's words."""
        record = Record(1, "one", False, 0.0)
        run(read(Answered(503, {}, b'{"error": {"message": "nobody answered"}}'), record, lambda: 7.0))
        assert "503: nobody answered" == record.error

    @pytest.mark.parametrize(
        ("text", "error", "wrong"),
        [("abc", None, False), ("ab", None, True), ("abcd", None, True), ("ab", "cut", False), ("ax", "cut", True)],
    )
    def test_a_wrong_answer_is_found(self, text: str, error: str | None, wrong: bool) -> None:
        """An answer is wrong unless it is the truth, or, where an error was told, its beginning."""
        record = Record(1, "one", True, 0.0, text=text, error=error)
        assert wrong is record.wrong("abc")


class TestProviders:
    """How scripted providers speak and fail."""

    def test_a_healthy_answer_takes_its_time(self) -> None:
        """The first token comes after 0.2 s, the last 19 gaps of 0.02 s later, and the call is kept."""
        record, call = play(lambda fleet: asks(fleet, stream=True))
        assert (None, TEXT, "lead", 1) == (record.error, record.text, record.target, record.attempts)
        assert [0.2, 0.58] == [round(at - call.began_at, 6) for at in (record.first_at, call.ended_at)]
        assert ("environment 0", "1", "ok") == (call.by, call.request, call.outcome)

    def test_faults_come_by_the_timetable(self) -> None:
        """A call meets the fault of the moment at which it begins; stumbles come first."""
        provider = Provider().breaks("http_500", 5, 12).stumbles("http_401")

        async def main() -> list[str]:
            for moment in (0, 1, 4.999, 5, 11.999, 12):
                await asyncio.sleep(moment - asyncio.get_running_loop().time())
                await consumed(provider)
            return [call.outcome for call in provider.calls]

        assert ["credential", "ok", "ok", "transient", "transient", "ok"] == run(main())

    @pytest.mark.parametrize(
        ("fault", "stream", "outcome"),
        [
            ("http_429", False, "overloaded"),
            ("http_429_hint", False, "rate_limited"),
            ("http_503", False, "overloaded"),
            ("reset", False, "transient"),
            ("malformed_json", False, "garbage"),
            ("empty_content", False, "garbage"),
            ("empty_content", True, "empty"),
            ("stream_error_first_event", True, "transient"),
            ("stream_dies_midway", True, "transient"),
            ("stream_stalls_midway", True, "given up"),
            ("hang", False, "given up"),
            ("slow", False, "given up"),
        ],
    )
    def test_faults_are_what_they_are_called(self, fault: str, stream: bool, outcome: str) -> None:
        """Each fault ends a call, watched for 15 s, in its own class of failure."""
        provider = Provider().breaks(fault)

        async def main() -> str:
            await consumed(provider, stream=stream)
            return provider.calls[0].outcome

        assert outcome == run(main())


async def asks(fleet: Fleet, *, stream: bool) -> tuple[Record, Call]:
    return await fleet.ask(stream=stream), fleet.calls[0]


async def consumed(provider: Provider, *, stream: bool = False) -> None:
    """One call, watched for 15 s; how it ended is kept by the provider."""
    call = Call("lead", "one", "1", stream, asyncio.get_running_loop().time())
    with suppress(TimeoutError, AttemptFailed):
        async with asyncio.timeout(15):
            async for _ in provider.answer(call):
                pass


class TestControlPlane:
    """How the table stream, the queue and the schedule are played."""

    def test_an_observation_becomes_health_after_the_lag(self) -> None:
        """What a router wrote is folded into the health item 0.3 s later, and the item's change is reacted to."""

        async def script(fleet: Fleet) -> list[tuple[float, str]]:
            await fleet.until(1)
            fleet.store.add_observation(good(fleet.clock()))
            await fleet.until(9)
            return [(round(at, 3), item.state) for at, item in fleet.health]

        assert [(1.3, "closed")] == play(script)

    def test_the_queue_counts_whole_seconds(self) -> None:
        """A probe ordered for 1.8 s from now is woken after 1 s and the queue's own tenth."""

        async def script(fleet: Fleet) -> list[tuple[str, bool]]:
            await asyncio.to_thread(fleet.store.put_health, Health("lead", Breaker(state="half_open")))
            await fleet.until(1)
            fleet.send("lead", 1.8)
            await fleet.until(3)
            return [(call.by, 2.1 <= call.began_at <= 2.2) for call in fleet.calls[:1]]

        assert [(PROBE, True)] == play(script)

    def test_the_schedule_ticks_at_the_full_minute(self) -> None:
        """Targets that nobody has heard of are probed at the first full minute."""

        async def script(fleet: Fleet) -> list[tuple[str, int]]:
            await fleet.until(70)
            return [(call.by, round(call.began_at)) for call in fleet.providers.calls()]

        assert [(PROBE, 60), (PROBE, 60)] == play(script)

    def test_a_record_that_cannot_be_handled_comes_again(self) -> None:
        """While the table is down a record is tried again; one that never can be handled is buried."""

        async def script(fleet: Fleet) -> tuple[int, int]:
            fleet.store.add_observation(good(fleet.clock()))
            fleet.table.down = True
            await fleet.until(1)
            fleet.table.down = False
            await fleet.until(2)
            handled = len(fleet.health)
            fleet.store.add_observation(good(fleet.clock()))
            fleet.table.down = True
            await fleet.until(60)
            return handled, len(fleet.buried)

        assert (1, 1) == play(script)

    def test_a_slow_table_takes_its_time(self) -> None:
        """A call to the table takes the virtual seconds it is told to, also when it fails."""

        async def script(fleet: Fleet) -> float:
            fleet.table.delay, fleet.table.down = 5.0, True
            with pytest.raises(StoreError):
                await asyncio.to_thread(fleet.store.pointer)
            return fleet.now

        assert 5.0 == play(script)


def leased(fleet: Fleet, at: float, until: float) -> None:
    lease = EPOCH + until if until else 0.0
    fleet.health.append((at, Health("lead", Breaker(state="open", lease_until=lease))))


class TestFindings:
    """What is said of a run afterwards."""

    def test_two_leases_at_once_are_found(self) -> None:
        """A lease taken while another holds is found; one taken after it was freed or had run out is not."""

        async def script(fleet: Fleet) -> list[float]:
            for at, until in [(0.0, 30.0), (1.0, 0.0), (2.0, 32.0), (40.0, 70.0), (50.0, 80.0)]:
                leased(fleet, at, until)
            return fleet.leases_at_once("lead")

        assert [50.0] == play(script)

    def test_two_probes_at_once_are_found(self) -> None:
        """A probe that begins while another is under way is found, whatever callers do meanwhile."""

        async def script(fleet: Fleet) -> list[float]:
            for by, began, ended in [(PROBE, 1, 3), ("one", 2, 9), (PROBE, 3, 6), (PROBE, 5, 6)]:
                fleet.calls.append(Call("lead", by, "", False, began, ended, "ok"))
            return fleet.probes_at_once("lead")

        assert [5] == play(script)

    def test_a_routers_own_time_is_what_no_call_explains(self) -> None:
        """Time under a call or before a retry is not the router's own; before the first call and between targets is."""

        async def script(fleet: Fleet) -> float:
            for target, began, ended in [("lead", 1.0, 2.0), ("lead", 2.25, 3.0), ("understudy", 3.5, 5.0)]:
                fleet.providers[target].calls.append(Call(target, "one", "7", False, began, ended))
            return fleet.own_seconds(Record(7, "one", False, sent_at=0.75, done_at=5.125))

        assert 0.25 + 0.5 + 0.125 == play(script)

    def test_a_timeline_counts_what_happened(self) -> None:
        """First failure, leaving and coming back are read off the calls and the records."""

        async def script(fleet: Fleet) -> tuple[object, ...]:
            for by, number, began, ended, outcome in [
                ("one", 1, 4.0, 4.5, "ok"),
                ("one", 2, 5.0, 5.25, "transient"),
                ("one", 3, 5.5, 5.75, "transient"),
                (PROBE, 0, 8.0, 8.25, "transient"),
                (PROBE, 0, 13.0, 13.5, "ok"),
                ("one", 4, 14.0, 14.5, "ok"),
            ]:
                fleet.calls.append(Call("lead", by, str(number), False, began, ended, outcome))
                if number:
                    target = "understudy" if outcome != "ok" else "lead"
                    fleet.records.append(
                        Record(number, by, False, began, ended, ended + 0.5, 200, TEXT, None, target=target)
                    )
            fleet.records.append(Record(5, "one", True, 15.0, 15.0, 15.5, 200, "x", "cut"))
            seen = timeline(fleet, 5, 12)
            assert "http_500" in table([("http_500", seen)])
            return (
                (seen.first_doubt, seen.first_failure, seen.left_after, seen.left_after_doubt, seen.returned_after),
                (seen.calls, seen.probes, seen.p50, seen.worst, seen.errors, seen.wrong),
            )

        assert ((0.0, 0.25, 0.25, 0.5, 2.0), (3, 1, 0.75, 1.0, 1, 1)) == play(script)

    def test_percentiles_are_nearest_ranks(self) -> None:
        """Of a hundred values the 99th percentile is the 99th; of nothing it is 0."""
        values = [float(n) for n in range(1, 101)]
        assert [50.0, 99.0, 100.0, 0.0] == [
            *(percentile(values, percent) for percent in (50, 99, 100)),
            percentile([], 99),
        ]

    def test_a_trace_tells_everything_in_order(self) -> None:
        """The trace has the calls, the answers and the health items by their times."""

        async def script(fleet: Fleet) -> list[str]:
            await fleet.ask()
            return fleet.trace().split("\n")

        lines = play(script, Provider().breaks("http_401"))
        assert sorted(lines) == lines
        assert 2 == sum("ended" in line for line in lines)
        assert True is math.isclose(0.05, float(next(x for x in lines if "credential" in x).split(",")[-1].split()[0]))


def test_a_run_can_be_repeated() -> None:
    """The same fleet twice gives the same trace to the last digit."""

    async def script(fleet: Fleet) -> str:
        await fleet.traffic(20, 10)
        return fleet.trace()

    first, second = (play(script, Provider().breaks("brownout")) for _ in range(2))
    assert first == second
