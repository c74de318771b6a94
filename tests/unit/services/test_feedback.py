"""What callers think of answers: whose they were, who may judge them, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.services.environments import Local, observations, timed
from tests.unit.services.environments import play as in_virtual_time
from tests.unit.services.worlds import NOW, World
from understudy.detectors.sample import Sample
from understudy.errors import FeedbackGiven, InvalidRequest, RequestTooLarge, StoreError, UnknownAnswer
from understudy.keys import ClientKey
from understudy.services.feedback import BODY_LIMIT, KEPT, LONGEST_COMMENT, UNDER_WAY, Feedback, Judgement, judgement

APP, OTHER = ClientKey("a" * 64, "app", NOW), ClientKey("b" * 64, "other", NOW)


def body(score: Any = "bad", request_id: Any = "r1", **fields: Any) -> bytes:
    return json.dumps({"request_id": request_id, "score": score, **fields}).encode()


class Told:
    """An environment that has noted the answer r1 of the lead to APP, and where its unwritten values go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values: list[tuple[str, tuple[Sample, ...]]] = []
        self.feedback = Feedback(world.store, self, world.clock, world.log)

    def measured(self, name: str, samples: tuple[Sample, ...]) -> None:
        self.values.append((name, samples))

    async def noted(self) -> Feedback:
        self.feedback.note(APP, "r1", "lead", "chat")
        await self.feedback.settle(5.0)
        return self.feedback


def play(story: Callable[[Told], Awaitable[Any]]) -> Any:
    return asyncio.run(story(Told(World())))  # type: ignore[arg-type]


def scores(world: World) -> list[list[Any]]:
    """The values that were written, as the table stream brings them."""
    return [sample for seen in observations(world) for sample in seen["samples"]]


@pytest.mark.parametrize(("score", "value"), [("bad", 0.0), ("good", 1.0), ("thumbs_up", 1.0), (0.25, 0.25), (1, 1.0)])
def test_a_judgement_is_a_value_of_the_target_that_answered(score: Any, value: float) -> None:
    """It is written at once, in the stream of the route's feedback, wherever it comes in."""

    async def story(told: Told) -> tuple[list[list[Any]], list[Any]]:
        await told.noted()
        await Told(told.world).feedback.take(APP, body(score))
        return scores(told.world), told.values

    assert ([["quality", value, NOW, "feedback:chat"]], []) == play(story)


async def _refused(told: Told, client: ClientKey, content: bytes) -> str:
    with pytest.raises((UnknownAnswer, FeedbackGiven)) as raised:
        await told.feedback.take(client, content)
    return type(raised.value).__name__


def test_only_who_asked_may_judge_and_only_for_a_day() -> None:
    """Another client's answer, an id that nobody has, and an answer that is too old are all not there."""

    async def story(told: Told) -> list[Any]:
        await told.noted()
        found = [await _refused(told, OTHER, body()), await _refused(told, APP, body(request_id="r2"))]
        told.world.clock.now += KEPT + 1
        return [*found, await _refused(told, APP, body()), scores(told.world)]

    assert ["UnknownAnswer"] * 3 + [[]] == play(story)


def test_the_first_judgement_counts() -> None:
    """The same one again changes nothing, another one is refused."""

    async def story(told: Told) -> tuple[str, int]:
        await told.noted()
        for _ in range(3):
            await told.feedback.take(APP, body("good"))
        return await _refused(told, APP, body("bad")), len(scores(told.world))

    assert ("FeedbackGiven", 1) == play(story)


def test_of_two_judgements_at_once_one_counts() -> None:
    """Whoever loses the conditional write has judged second."""

    async def story(told: Told) -> tuple[int, int]:
        await told.noted()
        rivals = [Told(told.world).feedback.take(APP, body(n / 10)) for n in range(10)]
        ended = await asyncio.gather(*rivals, return_exceptions=True)
        return sum(isinstance(one, FeedbackGiven) for one in ended), len(scores(told.world))

    assert (9, 1) == play(story)


def test_what_a_caller_writes_is_neither_kept_nor_logged() -> None:
    """The table and the log have the score, and that there was a comment."""

    async def story(told: Told) -> tuple[list[bool], bool]:
        await told.noted()
        await told.feedback.take(APP, body("bad", comment="hunter2"))
        kept = told.world.table.query(f"answer#{APP.hash}#r1")
        lines = [fields for message, fields in told.world.log.lines if message == "feedback"]
        return [fields["commented"] for fields in lines], "hunter2" in f"{kept}{told.world.log.lines}"

    assert ([True], False) == play(story)


def test_a_table_that_is_down_loses_a_note_but_no_judgement() -> None:
    """An answer that cannot be noted cannot be judged, and is counted as ours; a judgement whose value cannot be
    written goes with the values of requests."""

    async def story(told: Told) -> list[Any]:
        table = told.world.table
        table.down = True
        await told.noted()
        lost = len([fields for _, fields in told.world.log.lines if fields.get("metrics")])
        with pytest.raises(StoreError):
            await told.feedback.take(APP, body())
        table.down = False
        await told.noted()
        down = told.world.store.add_observation

        def refused(seen: Any) -> None:
            raise StoreError("the table is down")

        told.world.store.add_observation = refused  # type: ignore[method-assign,assignment]
        await told.feedback.take(APP, body())
        told.world.store.add_observation = down  # type: ignore[method-assign]
        return [lost, scores(told.world), told.values]

    value = Sample("quality", 0.0, NOW, "feedback:chat")
    assert [1, [], [("lead", (value,))]] == play(story)


def test_a_slow_table_is_not_waited_for_and_what_waits_is_bounded() -> None:
    """Notes go beside the answers; when too many wait, the next are dropped and told of."""

    async def story(world: World) -> tuple[bool, int]:
        world.table.delay = 1.0
        feedback = Feedback(world.store, Local(world), world.clock, world.log)
        for number in range(UNDER_WAY + 5):
            feedback.note(APP, f"r{number}", "lead", "chat")
        _, seconds = await timed(feedback.settle(0.02))
        return seconds <= 0.02, len(world.log.lines)

    assert (True, 5) == in_virtual_time(story)


WRONG: list[Any] = [2, -0.1, True, "fine", []]


@pytest.mark.parametrize(
    ("content", "param", "words"),
    [
        (b"", None, "The body is not valid JSON"),
        (b"[]", None, "The body must be a JSON object with `request_id` and `score`."),
        (b'{"score": 1}', "request_id", "`request_id` must be the `x-request-id` of an answer; it is missing."),
        (body(request_id="r 1"), "request_id", "`request_id` must be the `x-request-id` of an answer; it is 'r 1'."),
        (body(request_id="r" * 129), "request_id", "`request_id` must be the `x-request-id` of an answer; it is"),
        (b'{"request_id": "r1"}', "score", "`score` must be a number from 0 to 1, or one of good, bad, thumbs_up,"),
        *((body(wrong), "score", "`score` must be a number from 0 to 1, or") for wrong in WRONG),
        (b'{"request_id": "r1", "score": NaN}', None, "The body is not valid JSON"),
        (body(comment=7), "comment", "`comment` must be a string; it is an integer."),
        (body(comment="x" * (LONGEST_COMMENT + 1)), "comment", "`comment` must have at most 1000 characters."),
        (body(stars=5), "stars", "`stars` is no field of feedback; there are: request_id, score, comment."),
    ],
)
def test_a_wrong_body_is_refused_by_its_field(content: bytes, param: str | None, words: str) -> None:
    """The error names the field, what it should be and what it is."""
    with pytest.raises(InvalidRequest) as raised:
        judgement(content)
    assert (param, words) == (raised.value.param, str(raised.value)[: len(words)])


def test_a_large_body_is_refused_unread() -> None:
    """Feedback is small; nobody is made to parse more."""
    with pytest.raises(RequestTooLarge):
        judgement(b" " * (BODY_LIMIT + 1))


FIELDS = st.sampled_from(["request_id", "score", "comment", "other"])
SCALARS = st.none() | st.booleans() | st.floats() | st.text(max_size=10) | st.sampled_from(["r1", "good", 0.5])


@given(st.binary(max_size=20) | st.dictionaries(FIELDS, SCALARS).map(lambda given: json.dumps(given).encode()))
@settings(max_examples=150, deadline=None)
def test_any_body_is_read_or_refused(content: bytes) -> None:
    """Nothing else than a judgement or an error of the caller's comes of any bytes."""
    try:
        assert isinstance(judgement(content), Judgement)
    except InvalidRequest as refused:
        assert str(refused)
