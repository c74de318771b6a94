"""What each failure of a target does to a request, and what the caller sees of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.builders import HANG, Step, piece, request, taking, target, text_of
from tests.unit.routing.worlds import FINE, LIMITS, USAGE, World, answer
from tests.virtual import run
from understudy.chat.usage import Usage
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    Cause,
    ContextTooLong,
    Credential,
    Garbage,
    NoTargetAnswered,
    Overloaded,
    RateLimited,
    Refusal,
    Silent,
    StreamBroken,
    Transient,
)
from understudy.routing.policy import Ranked

# One row of the failure table: the failure, how often `a` is asked when it always fails so, whether `b` is asked.
TABLE = [
    (Transient("500"), 2, True),
    (Garbage("no JSON"), 2, True),
    (Overloaded("503"), 2, True),
    (RateLimited("429", retry_after=1.0), 2, True),
    (RateLimited("429", retry_after=5.1), 1, True),
    (Silent("no headers"), 1, True),
    (Credential("401"), 1, True),
    (CallerFault("400"), 1, False),
    (ContextTooLong("too long"), 1, False),
    (Refusal("policy"), 1, False),
]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("failure", "asked", "fails_over"), TABLE)
def test_the_failure_table(failure: AttemptFailed, asked: int, fails_over: bool, whole: bool) -> None:
    """Each class is retried, failed over or given back exactly as the table says; every call is told and closed."""
    world = World({"a": [[failure]], "b": [FINE]})
    result = world.run(whole=whole)
    calls = ["a"] * asked + (["b"] if fails_over else [])
    assert calls == world.ask.calls == world.ask.closed
    assert ("fine" if fails_over else failure) == result
    told = [("a", failure.kind)] * asked + ([("b", "ok")] if fails_over else [])
    assert told == world.outcomes_told
    assert [outcome for _, outcome in told] == [attempt.outcome for attempt in world.journal.attempts]


@pytest.mark.parametrize(
    "failure", [Transient("500"), Overloaded("503"), Garbage("x"), RateLimited("x", retry_after=2)]
)
def test_a_retry_that_works_stays_on_the_target(failure: AttemptFailed) -> None:
    """A failure that passes costs one retry on the same target and no failover."""
    world = World({"a": [[failure], FINE], "b": [FINE]})
    assert ("fine", ["a", "a"]) == (world.run(), world.ask.calls)


def test_who_may_no_longer_see_the_request_is_not_asked() -> None:
    """What held when it was decided is asked again before each call: a contract may have ended while it waited."""
    world = World({"a": [[Transient("500")]], "b": [FINE], "c": [answer("third")]})
    world.forbidden = {"b"}
    assert ("third", ["a", "a", "c"]) == (world.run(), world.ask.calls)
    assert [("b", "denied by contract: it has expired")] == [(one.target, one.reason) for one in world.journal.skipped]


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2), (5, 2)])
def test_retries_are_bounded_by_the_route_and_the_class(retries: int, asked: int) -> None:
    """A route may allow fewer retries than the class of the failure, never more."""
    world = World({"a": [[Transient("500")]], "b": [FINE]}, replace(LIMITS, retries_per_target=retries))
    assert ("fine", ["a"] * asked + ["b"]) == (world.run(), world.ask.calls)


@pytest.mark.parametrize("failure", [Transient("500"), Overloaded("503")])
def test_retries_back_off_with_full_jitter(failure: AttemptFailed) -> None:
    """The wait before the retry lies between nothing and the backoff of the route."""
    world = World({"a": [[failure]], "b": [FINE]})
    world.run()
    assert ([True], 1) == ([0 <= wait <= 0.3 for wait in world.waits], len(world.waits))


WAITS = [
    (RateLimited("429", retry_after=0.4), 9.0, [0.4]),
    (RateLimited("429", retry_after=5.0), 9.0, [5.0]),
    (RateLimited("429", retry_after=5.01), 9.0, []),
    (RateLimited("429", retry_after=2.0), 1.0, []),
    (RateLimited("429"), 9.0, [0.3]),
]


@pytest.mark.parametrize(("failure", "deadline", "waits"), WAITS)
def test_the_hint_is_waited_for_within_the_cap_and_the_deadline(
    failure: AttemptFailed, deadline: float, waits: list[float]
) -> None:
    """A Retry-After is waited for exactly, but only up to the cap and inside the deadline; else the next is asked."""
    world = World({"a": [[failure], FINE], "b": [answer("spare")]}, replace(LIMITS, request=deadline))
    assert ("fine" if waits else "spare", waits) == (world.run(), world.waits)


@pytest.mark.parametrize(("attempts", "calls"), [(1, "a"), (2, "aa"), (3, "aab"), (4, "aabb"), (9, "aabbcc")])
def test_never_more_attempts_than_allowed(attempts: int, calls: str) -> None:
    """Retries and failovers together never exceed the attempts of one request."""
    world = World({n: [[Transient("500")]] for n in "abc"}, replace(LIMITS, attempts_per_request=attempts))
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert list(calls) == world.ask.calls
    tried = list(dict.fromkeys(calls))
    left = [Cause(n, f"not tried: {attempts} attempts were made") for n in "abc" if n not in tried]
    assert (*[Cause(n, "transient: 500") for n in tried], *left) == result.causes


def test_when_nobody_answers_every_cause_is_named() -> None:
    """The final error carries the denials, each target's last failure, and the last failure itself."""
    last = Credential("401")
    denied = Cause("us", "denied by jurisdictions: it processes data in US; allowed: EU")
    world = World({"a": [[Transient("500")], [Silent("s")]], "b": [[last]]}, denied=(denied,))
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert (denied, Cause("a", "silent: s"), Cause("b", "credential: 401")) == result.causes
    assert last is result.last


def test_silence_fails_over_without_a_retry() -> None:
    """A target that says nothing within the first-token limit is left at once, and its call is closed."""
    world = World({"a": [[HANG]], "b": [FINE]})
    assert ("fine", 0.1) == (world.run(), round(world.seconds, 2))
    assert [("a", "silent"), ("b", "ok")] == world.outcomes_told
    assert (["a", "b"], []) == (world.ask.closed, world.waits)
    assert "no first token within 0.1 s" == world.journal.attempts[0].detail


def test_empty_pieces_are_no_first_token() -> None:
    """A target that only keeps the line open does not count as speaking."""
    world = World({"a": [[piece(), *[0.03, piece("")] * 8, piece("late", finish="stop")]], "b": [FINE]})
    assert "fine" == world.run()
    assert [("a", "silent"), ("b", "ok")] == world.outcomes_told


@pytest.mark.parametrize("delta", [{"reasoning_content": "hm"}, {"tool_calls": [{"index": 0, "id": "t"}]}])
def test_thinking_and_tool_calls_are_signs_of_life(delta: dict[str, object]) -> None:
    """Reasoning and tool calls count as the first token, so that a thinking model is not called silent."""
    script = [piece(**delta), 0.06, piece(**delta), 0.06, piece("fine", finish="stop")]
    world = World({"a": [script]}, replace(LIMITS, first_token=0.1, stall=1.0))
    assert ("fine", [("a", "ok")]) == (world.run(), world.outcomes_told)


def test_nothing_is_given_before_there_is_content() -> None:
    """The role piece of a target that fails afterwards is never seen; the answer comes whole from the next one."""
    world = World({"a": [[piece(), Silent("cut")]], "b": [FINE]})
    assert "fine" == world.run()
    assert FINE == world.seen


def test_pieces_are_given_as_they_come() -> None:
    """From the first content on each piece is given at once, with the pieces held before it."""
    world = World({"a": [FINE]})

    async def first() -> tuple[int, int]:
        async with aclosing(world.chunks()) as chunks:
            got = [await anext(chunks), await anext(chunks)]
            return len(got), world.ask.given

    assert (2, 2) == run(first())


def test_a_stall_in_the_middle_ends_at_the_stall_limit() -> None:
    """Silence after the first piece is left at the stall limit and told as silence."""
    world = World({"a": [[piece("half"), HANG]]})
    result = world.run()
    assert isinstance(result, StreamBroken)
    assert "silent for 0.1 s in the middle of its answer" == result.failure.message
    assert (["a"], [("a", "silent")], 0.1) == (world.ask.closed, world.outcomes_told, world.seconds)


@pytest.mark.parametrize("limits", [{"stall": 0.1, "request": 9.0}, {"stall": 5.0, "request": 0.1}])
def test_silence_after_the_stop_reason_is_no_failure(limits: dict[str, float]) -> None:
    """Once the answer is whole, neither the stall limit nor the deadline can break it; its tokens are estimated."""
    world = World({"a": [[piece("fine"), piece("", finish="stop"), HANG]], "b": [FINE]}, replace(LIMITS, **limits))
    assert ("fine", 0.1, [("a", "ok")]) == (world.run(), world.seconds, world.outcomes_told)
    assert (True, Usage(2, 1)) == (world.journal.attempts[0].estimated, world.journal.attempts[0].usage)


def test_every_choice_must_have_its_stop_reason() -> None:
    """Of two answers one has stopped: silence is still a stall."""
    world = World({"a": [[piece("fine"), piece("", finish="stop"), HANG]]}, asked=request(n=2))
    assert isinstance(world.run(), StreamBroken)


@pytest.mark.parametrize(("least", "silent"), [(25.0, True), (0.0, False)])
def test_an_answer_that_drips_counts_as_stalled(least: float, silent: bool) -> None:
    """Fewer tokens a second than the target's least, over the stall limit, end the attempt; 0 allows any pace."""
    drip: list[Step] = [step for _ in range(9) for step in (0.06, piece("x"))]
    ranked = [Ranked(target("a", min_tokens_per_s=least), "place 1"), Ranked(target("b"), "place 2")]
    world = World({"a": [[*drip, piece("", finish="stop")]], "b": [answer("x" * 9)]}, ranked=ranked)
    assert "xxxxxxxxx" == world.run()
    assert ([("a", "silent"), ("b", "ok")] if silent else [("a", "ok")]) == world.outcomes_told
    assert silent is ("fewer than 25 tokens/s" in world.journal.attempts[0].detail)


def test_a_slow_caller_is_not_the_silence_of_the_target() -> None:
    """A caller that reads slower than the stall limit still gets the whole answer."""
    world = World({"a": [FINE]}, replace(LIMITS, stall=0.05))

    async def read() -> str:
        async with aclosing(world.chunks()) as chunks:
            async for chunk in chunks:
                world.seen.append(chunk)
                await asyncio.sleep(0.06)
        return text_of(world.seen)

    assert ("fine", [("a", "ok")]) == (run(read()), world.outcomes_told)


@pytest.mark.parametrize("failure", [Transient("cut"), HANG])
def test_whole_answers_are_rescued_in_the_middle(failure: Step) -> None:
    """A caller that wants the whole answer sees nothing of a failure in the middle of one."""
    world = World({"a": [[piece(), piece("half"), failure]], "b": [FINE]})
    assert "fine" == world.run(whole=True)
    assert (FINE, "b") == (world.seen, world.ask.calls[-1])


def test_whole_answers_are_given_only_when_complete() -> None:
    """Nothing of a whole answer is given before its end has come."""
    world = World({"a": [FINE]})

    async def first() -> int:
        async with aclosing(world.chunks(whole=True)) as chunks:
            await anext(chunks)
            return world.ask.given

    assert (5, ["a"]) == (run(first()), world.ask.closed)


@pytest.mark.parametrize("whole", [False, True])
def test_an_empty_answer_is_garbage(whole: bool) -> None:
    """An answer that stops without saying anything is retried once and then failed over."""
    world = World({"a": [[piece(), piece("", finish="stop")]], "b": [FINE]})
    assert "fine" == world.run(whole=whole)
    assert [("a", "garbage"), ("a", "garbage"), ("b", "ok")] == world.outcomes_told


@pytest.mark.parametrize("whole", [False, True])
def test_thinking_alone_is_no_answer(whole: bool) -> None:
    """A target that stops after thinking has not answered: the next one does, after what thinking was given."""
    thought: list[Step] = [piece(), piece(reasoning_content="hm"), piece("", finish="stop")]
    world = World({"a": [thought], "b": [FINE]}, replace(LIMITS, retries_per_target=0))
    assert ("fine", [("a", "garbage"), ("b", "ok")]) == (world.run(whole=whole), world.outcomes_told)
    assert [not whole] == list({any(chunk.has_reasoning for chunk in world.seen)})


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_empty_answer_with_a_reason_is_an_answer(reason: str) -> None:
    """An answer cut before its first word says why, and is given as it is."""
    world = World({"a": [[piece(), piece("", finish=reason)]], "b": [FINE]})
    assert ("", [("a", "ok")]) == (world.run(), world.outcomes_told)
    assert {0: reason} == world.seen[-1].finish_reasons


DRIP: list[Step] = [piece("x"), *[0.01, piece("x")] * 100]
DEADLINES: list[tuple[list[Step], bool, type[Exception]]] = [
    ([HANG], False, NoTargetAnswered),
    (DRIP, False, StreamBroken),
    (DRIP, True, NoTargetAnswered),
]


@pytest.mark.parametrize(("script", "whole", "raised"), DEADLINES)
def test_the_deadline_bounds_everything(script: list[Step], whole: bool, raised: type[Exception]) -> None:
    """Whatever the targets do, the request ends at its deadline, and it says so without blaming the target."""
    world = World({"a": [script]}, replace(LIMITS, first_token=0.5, stall=0.5, request=0.08))
    assert (raised, 0.08) == (type(world.run(whole=whole)), world.seconds)
    assert (["a"], [("a", "out_of_time")]) == (world.ask.closed, world.outcomes_told)
    assert "the deadline of the whole request, 0.08 s, was reached" == world.journal.attempts[0].detail


def test_those_after_the_deadline_are_not_asked() -> None:
    """Whoever had no turn before the deadline is named with the reason."""
    limits = replace(LIMITS, first_token=0.5, stall=0.5, request=0.08)
    world = World({"a": [DRIP], "b": [FINE]}, limits)
    result = world.run(whole=True)
    assert isinstance(result, NoTargetAnswered)
    assert (["a"], Cause("b", "not tried: the deadline of 0.08 s was reached")) == (world.ask.calls, result.causes[-1])


def test_a_short_deadline_is_shared() -> None:
    """A silent first target gets half of what a short deadline leaves, is not blamed, and the next one answers."""
    world = World({"a": [[HANG]], "b": [[0.02, *FINE]]}, replace(LIMITS, first_token=5.0, request=0.08))
    assert ("fine", 0.06) == (world.run(), world.seconds)
    assert [("a", "out_of_time"), ("b", "ok")] == world.outcomes_told
    assert "no first token within the 0.04 s that the request's deadline leaves it" == world.journal.attempts[0].detail


def test_a_known_target_is_given_less_time() -> None:
    """The wait for a first token is three times the target's own p99, within the limits of the route."""
    world = World({"a": [[HANG]], "b": [FINE]}, replace(LIMITS, first_token=10.0, first_token_min=2.0))
    world.outcomes.known["a"] = taking(1.0)
    assert ("fine", 3.07) == (world.run(), round(world.seconds, 2))


def test_the_connect_limit_is_handed_on() -> None:
    """Every call is given the connect limit of the route."""
    world = World({"a": [[Transient("500")]], "b": [FINE]})
    world.run()
    assert [0.7, 0.7, 0.7] == world.ask.connects


WINDOWS = [
    ({"a": 8000, "b": 8000, "c": 32000}, ["a", "c"], "fine"),
    ({"a": 8000}, ["a"], ContextTooLong),
    ({"a": 8000, "b": 4000, "c": 8000}, ["a"], ContextTooLong),
    ({"c": 32000}, ["a", "c"], "fine"),
]


@pytest.mark.parametrize(("windows", "calls", "expected"), WINDOWS)
def test_too_long_goes_only_to_a_larger_window(windows: dict[str, int], calls: list[str], expected: object) -> None:
    """A prompt that is too long is sent on only to a target that declares a larger window; else the fault is given."""
    too_long = [ContextTooLong("too long")]
    world = World({"a": [too_long], "b": [FINE], "c": [FINE]}, windows=windows)
    result = world.run()
    assert (calls, expected) == (world.ask.calls, result if isinstance(result, str) else type(result))


def test_too_long_is_not_forgotten_after_another_failure() -> None:
    """When the larger window fails for another reason, the prompt still does not go to a smaller one."""
    world = World(
        {"a": [[ContextTooLong("too long")]], "b": [[Silent("s")]], "c": [FINE]},
        windows={"a": 8000, "b": 32000, "c": 8000},
    )
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert (["a", "b"], Cause("c", "not tried: it declares no larger context window")) == (
        world.ask.calls,
        result.causes[-1],
    )


A, B = target("a"), target("b")


def test_the_last_resort_is_tried_once() -> None:
    """A target out of the rotation is asked once, without a retry, when nobody else answered."""
    ranked = [Ranked(B, "place 2"), Ranked(A, "last resort", last_resort=True)]
    world = World({"a": [[Transient("500")], FINE], "b": [[Silent("s")]]}, ranked=ranked)
    assert isinstance(world.run(), NoTargetAnswered)
    assert ["b", "a"] == world.ask.calls


def test_a_probe_is_told_as_one_and_tried_once() -> None:
    """A live probe is made under the lease, not retried, told as a probe, and not asked again as a last resort."""
    ranked = [Ranked(A, "overdue", probe=True), Ranked(B, "place 2"), Ranked(A, "last resort", last_resort=True)]
    world = World({"a": [[Transient("500")]], "b": [[Silent("s")]]}, ranked=ranked)
    result = world.run()
    assert isinstance(result, NoTargetAnswered)
    assert (["a"], ["a", "b"]) == (world.leased, world.ask.calls)
    assert [("a", "transient", True), ("b", "silent", False)] == world.outcomes.told
    assert Cause("a", "not tried again") == result.causes[-1]


def test_without_the_lease_there_is_no_probe() -> None:
    """A caller that does not get the lease goes on to the next target."""
    ranked = [Ranked(A, "overdue", probe=True), Ranked(B, "place 2")]
    world = World({"a": [FINE], "b": [answer("spare")]}, ranked=ranked, leases=False)
    assert ("spare", ["b"]) == (world.run(), world.ask.calls)


def test_a_good_answer_is_told_with_its_first_token() -> None:
    """The time to the first content, the counts and the reported model are kept for the log."""
    world = World({"a": [[0.02, *FINE]]})
    world.run()
    attempt = world.journal.attempts[0]
    assert ("ok", USAGE, "big-1") == (attempt.outcome, attempt.usage, attempt.model)
    assert attempt.first_token is not None
    assert [attempt.first_token] == world.outcomes.took
    assert (0.02, 0.02) == (attempt.first_token, attempt.seconds)


def test_a_caller_that_leaves_closes_the_call() -> None:
    """When the caller stops reading, the upstream call is closed; it is neither a success nor a failure."""
    world = World({"a": [[piece("half"), HANG]], "b": [FINE]})

    async def leave() -> None:
        async with aclosing(world.chunks()) as chunks:
            await anext(chunks)

    run(leave())
    assert (["a"], []) == (world.ask.closed, world.outcomes_told)
    assert ["cancelled"] == [attempt.outcome for attempt in world.journal.attempts]


@pytest.mark.parametrize("whole", [False, True])
def test_cancellation_closes_the_call(whole: bool) -> None:
    """A request that is cancelled while the target is silent closes the call and asks nobody else."""
    world = World({"a": [[HANG]], "b": [FINE]}, replace(LIMITS, first_token=5.0, request=9.0))

    async def cancel() -> bool:
        async def read() -> None:
            async with aclosing(world.chunks(whole=whole)) as chunks:
                await anext(chunks)

        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(cancel())
    assert (["a"], ["a"], []) == (world.ask.calls, world.ask.closed, world.outcomes_told)
