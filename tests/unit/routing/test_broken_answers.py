"""Answers that break off after the caller has a part of them: who goes on with them, and what is said if nobody can."""

from __future__ import annotations

import pytest

from tests.builders import HANG, Step, piece, request, text_of
from tests.unit.routing.worlds import FINE, World, answer
from understudy.errors import AttemptFailed, CallerFault, Cause, Garbage, Overloaded, Silent, StreamBroken, Transient
from understudy.routing.resume import Resumption

BREAKS = [Transient("cut"), Garbage("cut"), CallerFault("late"), Overloaded("late"), HANG]


@pytest.mark.parametrize("failure", BREAKS)
def test_an_answer_that_breaks_off_is_resumed_by_who_repeats_it(failure: Step) -> None:
    """Whatever ends an answer after its first piece, the next target says it again, and only the rest is given."""
    world = World({"a": [[piece(), piece("fi"), failure]], "b": [answer("fine")]})
    assert "fine" == world.run()
    assert (["a", "b"], ["a", "b"]) == (world.ask.calls, world.ask.closed)
    kind = failure.kind if isinstance(failure, AttemptFailed) else "silent"
    assert [("a", kind), ("b", "ok")] == world.outcomes_told
    assert [Resumption("a", "b", 2, "repetition")] == world.journal.resumptions


def test_an_answer_that_breaks_off_is_continued_by_who_can() -> None:
    """A target that continues an assistant's message is given what the caller has, and its text is given as it is."""
    world = World({"a": [[piece("fi"), Transient("cut")]], "b": [answer("ne")]}, prefills={"b": "message"})
    assert ("fine", {"role": "assistant", "content": "fi"}) == (world.run(), world.ask.requests[-1].messages[-1])
    assert [Resumption("a", "b", 2, "continuation")] == world.journal.resumptions


def test_a_refused_beginning_is_asked_for_again_from_the_start() -> None:
    """Where a target refuses to continue, the same target is asked to repeat; its refusal is not what is told."""
    refused = CallerFault("no assistant message may be last")
    world = World({"a": [[piece("fi"), Transient("cut")]], "b": [[refused], answer("fine")]}, prefills={"b": "message"})
    assert ("fine", ["a", "b", "b"]) == (world.run(), world.ask.calls)
    assert ["fresh", "continuation", "repetition"] == [attempt.how for attempt in world.journal.attempts]
    assert request().messages == world.ask.requests[-1].messages


@pytest.mark.parametrize(("agreed", "text"), [(True, "half, the rest"), (False, "half")])
def test_a_route_may_agree_to_ask_in_words_for_the_rest(agreed: bool, text: str) -> None:
    """Only on a route that opted in, a target with another text is asked in a user's turn to go on."""
    scripts: dict[str, list[list[Step]]] = {
        "a": [[piece("half"), Silent("s")]],
        "b": [answer("another"), answer(", the rest")],
    }
    world = World(scripts, agreed={"continue_in_user_turn": agreed})
    result = world.run()
    assert (text, agreed) == (text_of(world.seen), isinstance(result, str))
    assert (["assistant", "user"] if agreed else ["user"]) == [
        message["role"] for message in world.ask.requests[-1].messages[-2:]
    ]


@pytest.mark.parametrize("failure", BREAKS)
def test_an_answer_that_nobody_can_go_on_with_says_so(failure: Step) -> None:
    """Nothing of another text is given: the stream ends with the first failure and why nobody could go on."""
    world = World({"a": [[piece(), piece("half"), failure]], "b": [FINE]})
    result = world.run()
    assert isinstance(result, StreamBroken)
    assert ("a", "half") == (result.target, text_of(world.seen))
    assert isinstance(failure, AttemptFailed) is (result.failure is failure)
    assert Cause("b", "it differs from what was delivered at character 0") == result.causes[0]
    assert "diverged" == world.journal.attempts[1].outcome
    assert [("a", result.failure.kind)] == world.outcomes_told[:1]
    assert [] == [one for one in world.outcomes_told if one[0] == "b"]


def test_who_began_the_answer_is_asked_again_after_all_others() -> None:
    """A break that may have been a blip: once the others could not go on, the first target is asked to repeat."""
    world = World({"a": [[piece("fi"), Transient("cut")], FINE], "b": [answer("other")]})
    assert ("fine", ["a", "b", "a"]) == (world.run(), world.ask.calls)
    assert [Resumption("a", "a", 2, "repetition")] == world.journal.resumptions


def test_a_resumption_that_breaks_too_is_resumed() -> None:
    """The answer may change hands more than once; each time it is known who had said how much."""
    world = World(
        {
            "a": [[piece("one "), Silent("s")]],
            "b": [[piece("one two "), Silent("s")]],
            "c": [answer("one two three")],
        }
    )
    assert "one two three" == world.run()
    assert [("a", "b", 4), ("b", "c", 8)] == [(one.source, one.target, one.at) for one in world.journal.resumptions]


def test_the_last_piece_says_that_the_answer_was_resumed() -> None:
    """The chunk with the stop reason carries from whom, to whom, at which character and how; no other does."""
    world = World({"a": [[piece("fi"), Transient("cut")]], "b": [FINE]})
    world.run()
    noted = [chunk for chunk in world.seen if "understudy" in chunk.payload]
    assert [{0: "stop"}] == [chunk.finish_reasons for chunk in noted]
    resumed = [{"from": "a", "to": "b", "at": 2, "how": "repetition"}]
    assert {"resumed": resumed} == noted[0].payload["understudy"]


def test_a_tool_call_cut_halfway_is_restarted_whole() -> None:
    """Nothing of a tool call is given before its end, so another target's call replaces it whole."""
    half = [piece(tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"ci'}}])]
    whole: list[Step] = [
        piece(tool_calls=[{"index": 0, "id": "u", "function": {"name": "f", "arguments": '{"x":1}'}}]),
        piece("", finish="tool_calls"),
    ]
    world = World({"a": [[piece(), *half, Silent("cut")]], "b": [whole]})
    assert "" == world.run()
    assert whole == world.seen
