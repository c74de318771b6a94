"""What callers think of an answer: `POST /v1/feedback` with the request's id and a score.

Whose answer it was is known from a record of it, kept for a day, and only for routes that ask for feedback, since it
costs a write for each request (infra/decisions/0020-answers-are-noted-where-feedback-is-asked-for.md).  The record is
written beside the answer and read by the id together with the key that made the request, so that another client finds
nothing.  A score becomes one quality value of the target, in the stream `feedback:ROUTE`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from understudy.chat.request import wrong
from understudy.detectors.sample import Sample
from understudy.errors import Conflict, FeedbackGiven, InvalidRequest, RequestTooLarge, StoreError, UnknownAnswer
from understudy.health.observation import Observation
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Answer, AnswerStore, Clock, Logger, ObservationStore
from understudy.wire.fronts.base import decoded

PATH = "/feedback"
KEPT = 86_400.0
"""Seconds for which an answer may be judged."""
BODY_LIMIT = 16 * 1024
"""Bytes; the longest comment takes 4,000."""
LONGEST_COMMENT = 1000
"""Characters."""
UNDER_WAY = 100
"""Records that may wait for a slow table; of more, those answers cannot be judged."""

_FIELDS = ("request_id", "score", "comment")
_WORDS = {"good": 1.0, "bad": 0.0, "thumbs_up": 1.0, "thumbs_down": 0.0}
_ID = re.compile(r"[\w.=:+-]{1,128}", re.ASCII)

T = TypeVar("T")


class Writes(AnswerStore, ObservationStore, Protocol):
    """The part of the store that feedback needs."""


class Values(Protocol):
    """Where a value goes that cannot be written now."""

    def measured(self, name: str, samples: tuple[Sample, ...]) -> None: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a caller says of one answer, from 0 (bad) to 1.  What he writes beside it is neither kept nor logged."""

    request_id: str
    score: float
    commented: bool


class Feedback:
    """One for each execution environment; used from one event loop."""

    def __init__(self, store: Writes, values: Values, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._values = values
        self._clock = clock
        self._logger = logger
        self._threads = ThreadPoolExecutor(2, "understudy-feedback")
        self._writes: set[asyncio.Task[None]] = set()

    def note(self, client: ClientKey, request_id: str, target: str, route: str) -> None:
        """Keep whose answer a request got; written in the background."""
        if len(self._writes) >= UNDER_WAY:
            self._failed("an answer could not be noted for feedback", StoreError("the table is behind"))
            return
        answer = Answer(request_id, client.account, target, route, self._clock())
        task = asyncio.get_running_loop().create_task(self._write(answer))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def settle(self, patience: float) -> None:
        """Wait for writes under way, but not long: the caller waits too."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=patience)

    async def take(self, client: ClientKey, body: bytes) -> None:
        """Count a judgement.  The first of an answer counts; the same one again changes nothing.

        Raises InvalidRequest or RequestTooLarge for the body, UnknownAnswer where this client has no such answer,
        FeedbackGiven where it has said something else before, StoreError.
        """
        given = judgement(body)
        answer = await self._claimed(client, given)
        if answer is None:
            return
        now = self._clock()
        value = Sample("quality", given.score, round(now, 3), f"feedback:{answer.route}")
        seen = Observation(answer.target, now).measured(value)
        try:
            await self._in_thread(self._store.add_observation, seen)
        except StoreError as error:
            self._failed("feedback could not be written; it is kept", error)
            self._values.measured(answer.target, (value,))
        self._logger.info(
            "feedback",
            request_id=given.request_id,
            client=client.name,
            route=answer.route,
            target=answer.target,
            score=given.score,
            commented=given.commented,
        )

    async def _claimed(self, client: ClientKey, given: Judgement) -> Answer | None:
        """The answer that is judged, marked as judged; None where the same was said of it before."""
        for _ in range(2):
            answer = await self._in_thread(self._store.answer, client.account, given.request_id)
            if answer is None or self._clock() - answer.at > KEPT:
                raise UnknownAnswer(
                    "No answer with this request id can be judged with this key: it must be the `x-request-id` of an "
                    "answer of the last day, from a route with `feedback: true`.",
                    param="request_id",
                )
            if answer.score is not None:
                if answer.score == given.score:
                    return None
                raise FeedbackGiven("This answer was judged before, and differently; the first judgement counts.")
            try:
                await self._in_thread(self._store.put_answer, replace(answer, score=given.score))
            except Conflict:
                continue
            return answer
        raise FeedbackGiven("This answer is being judged by several requests at once; the first judgement counts.")

    async def _write(self, answer: Answer) -> None:
        try:
            await self._in_thread(self._store.put_answer, answer)
        except StoreError as error:
            self._failed("an answer could not be noted for feedback", error)

    def _failed(self, message: str, error: Exception) -> None:
        self._logger.warning(message, error=str(error), metrics=[own_failure("StoreErrors")])

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def judgement(body: bytes) -> Judgement:
    """Read the body of a judgement.  Raises InvalidRequest naming the field, or RequestTooLarge."""
    if len(body) > BODY_LIMIT:
        raise RequestTooLarge(f"The body is larger than {BODY_LIMIT} bytes, which is the limit for feedback.")
    given = decoded(body)
    if not isinstance(given, Mapping):
        raise InvalidRequest("The body must be a JSON object with `request_id` and `score`.")
    unknown = next((name for name in given if name not in _FIELDS), None)
    if unknown is not None:
        named = unknown if len(unknown) <= 40 else unknown[:37] + "..."
        raise InvalidRequest(f"`{named}` is no field of feedback; there are: {', '.join(_FIELDS)}.", param=named)
    request_id, comment = given.get("request_id"), given.get("comment")
    if not isinstance(request_id, str) or not _ID.fullmatch(request_id):
        raise wrong("request_id", "the `x-request-id` of an answer", request_id)
    if not isinstance(comment, str | None):
        raise wrong("comment", "a string", comment)
    if comment is not None and len(comment) > LONGEST_COMMENT:
        raise InvalidRequest(f"`comment` must have at most {LONGEST_COMMENT} characters.", param="comment")
    return Judgement(request_id, _score(given.get("score")), bool(comment))


def _score(given: Any) -> float:
    if isinstance(given, str) and given in _WORDS:
        return _WORDS[given]
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1:
        return float(given)
    raise wrong("score", f"a number from 0 to 1, or one of {', '.join(_WORDS)}", given)
