"""One request from its decision to the end of its answer: attempt, answer, and say what happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from understudy.chat.bound import owner_of_target
from understudy.chat.complete import Completed
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest, unary_chunk
from understudy.compliance import judge
from understudy.errors import NoTargetAnswered, UnderstudyError
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.routing.attempts import Attempts
from understudy.routing.policy import Judged
from understudy.services.admission import Admissions
from understudy.services.audit import Audit
from understudy.services.decision_log import log_decision
from understudy.services.feedback import Feedback
from understudy.services.handling import Answered, Handling
from understudy.services.keepsakes import Keepsakes
from understudy.services.metering import Metering
from understudy.services.outcomes import LocalOutcomes
from understudy.services.shadow import PATIENCE, Shadow, Shadows
from understudy.services.signals import Signals
from understudy.services.upstream import Upstream
from understudy.wire.fronts.base import Front, Writer, encode

SETTLE = 0.02
"""Seconds an answered request waits for its failure reports to be written before the environment may freeze."""
ESTIMATED_HEADER = "x-understudy-estimated"


class Serving:
    """One for each execution environment; used from one event loop."""

    def __init__(
        self,
        outcomes: LocalOutcomes,
        upstream: Upstream,
        keepsakes: Keepsakes,
        feedback: Feedback,
        signals: Signals,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
        admissions: Admissions | None = None,
        metering: Metering | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._metering = metering
        self._outcomes = outcomes
        self._upstream = upstream
        self._keepsakes = keepsakes
        self._feedback = feedback
        self._signals = signals
        self._audit = audit
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._admissions = admissions
        self._shadows = Shadows(upstream, outcomes, clock=clock, logger=logger, rng=rng, metering=metering)

    async def answer(self, handling: Handling, front: Front, headers: dict[str, str]) -> Answered:
        route, request = handling.route, handling.request
        if self._admissions:
            await self._admissions.enter(handling)
        if not handling.decision.candidates:
            return await self._estimated(handling, front, headers)
        ask = partial(self._upstream, route=route)
        engine = Attempts(ask, self._outcomes, self._outcomes.lease, judged=self._judged(handling), rng=self._rng)
        handling.shadow = self._shadow(handling)
        whole = route.assured or not request.stream or request.is_structured
        given = engine.run(request, handling.decision, handling.limits, handling.journal, whole=whole)
        chunks = self._kept(handling.client, given)
        created, body = int(self._clock()), b""
        completed = Completed(handling.id, created, one_call=request.body.get("parallel_tool_calls") is False)
        try:
            unary = isinstance(request, UnaryRequest) or not request.stream
            writer = None if unary else front.writer(request, created=created)  # type: ignore[arg-type]
            coming = anext(chunks)
            first = await (self._admissions.first(handling, coming) if self._admissions else coming)
            handling.committed_at = self._clock()
            if writer is None:
                body = await self._whole(handling, front, first, chunks, completed, created)
        except BaseException as error:
            await chunks.aclose()
            if estimate_of(request) is not None and isinstance(error, NoTargetAnswered):
                return await self._estimated(handling, front, headers)
            self._log(handling, error)
            await self._settle(handling.shadow)
            raise
        headers |= answer_headers(handling)
        if writer is None:
            self._log(handling, None)
            await self._settle(handling.shadow)
            return Answered(200, headers | {"content-type": "application/json"}, body)
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        return Answered(200, headers, self._stream(handling, first, chunks, completed, writer))

    async def _whole(
        self,
        handling: Handling,
        front: Front,
        first: Chunk,
        rest: AsyncGenerator[Chunk, None],
        completed: Completed,
        created: int,
    ) -> bytes:
        """The body of an answer that is given in one piece."""
        async with aclosing(rest):
            pieces = [first, *[chunk async for chunk in rest]]
        if isinstance(handling.request, ChatRequest):
            pieces = [each for chunk in pieces for each in completed.feed(chunk, handling.model)]
        return encode(front.whole(handling.request, pieces, created=created))

    def _judged(self, handling: Handling) -> Judged:
        """Whether a target may see the request at the moment of asking."""
        return lambda target: judge(target, handling.constraints, self._clock())

    def _shadow(self, handling: Handling) -> Shadow | None:
        """The copy of a request, where there is one; none where beginning it fails."""
        ratings, bound = handling.decision.ratings, bool(handling.bound)
        try:
            return self._shadows.begin(
                handling.request,
                handling.route,
                handling.limits,
                ratings,
                judged=self._judged(handling),
                request_id=handling.id,
                bound=bound,
            )
        except Exception:  # noqa: BLE001 - a copy must not cost the answer
            self._failed(handling.id)
            return None

    async def _estimated(self, handling: Handling, front: Front, headers: dict[str, str]) -> Answered:
        """What stands for the answer where nobody on the route can give one."""
        self._log(handling, None)
        await self._settle()
        chunk = unary_chunk(estimate_of(handling.request) or {}, None)
        body = encode(front.whole(handling.request, [chunk], created=int(self._clock())))
        headers |= answer_headers(handling) | {ESTIMATED_HEADER: "true", "content-type": "application/json"}
        return Answered(200, headers, body)

    async def _kept(self, client: ClientKey, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.has_tool_calls:
                    self._keepsakes.keep(client, chunk)
                yield chunk

    async def _settle(self, shadow: Shadow | None = None, patience: float = 0.0) -> None:
        """Before the environment may freeze, what was begun is given a moment to be written."""
        await self._shadows.settle(shadow, patience)
        started = (self._outcomes, self._keepsakes, self._feedback, self._metering, self._admissions, self._audit)
        await asyncio.gather(*(each.settle(SETTLE) for each in started if each is not None))

    async def _stream(
        self,
        handling: Handling,
        first: Chunk,
        rest: AsyncGenerator[Chunk, None],
        completed: Completed,
        writer: Writer,
    ) -> AsyncGenerator[bytes, None]:
        failure: BaseException | None = None
        try:
            async with aclosing(rest):
                async for chunk in _chain(first, rest):
                    for each in completed.feed(chunk, handling.model):
                        if data := writer.event(each):
                            yield data
            if data := writer.end():
                # An empty piece would end a chunked body.
                yield data
        except UnderstudyError as error:
            # The status is sent: the stream itself must say it.
            failure = error
            yield writer.broken(error)
        except Exception as error:
            # A fault of ours is told to the caller alike, and raised, so that the invocation counts as failed.
            failure = error
            self._failed(handling.id)
            yield writer.broken(error)
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            self._log(handling, failure)
            await self._settle(handling.shadow, 0.0 if failure else PATIENCE)

    def _failed(self, request_id: str) -> None:
        """Say that the exception being handled is a bug of ours."""
        self._logger.exception("the router failed", request_id=request_id, metrics=[own_failure("RouterErrors")])

    def _log(self, handling: Handling, error: BaseException | None) -> None:
        """Money first, then the record; whatever goes wrong in one step costs neither the others nor the answer."""
        now = self._clock()
        steps: list[Callable[[], object]] = []
        if self._metering is not None:
            steps.append(partial(self._metering.request, handling))
        if self._admissions is not None:
            steps.append(partial(self._admissions.leave, handling))
        if self._audit is not None:
            steps.append(partial(self._audit.answered, handling, error, now))
        steps += [
            partial(log_decision, self._logger, handling, error, now),
            partial(self._measure, handling, error, now),
        ]
        for step in steps:
            try:
                step()
            except Exception:  # noqa: BLE001 - see above
                self._failed(handling.id)

    def _measure(self, handling: Handling, error: BaseException | None, now: float) -> None:
        """What the answer says of its target, and whose answer it is where its caller may judge it."""
        answering = handling.journal.answering
        for name, samples in self._signals.of(handling, now, whole=error is None).items():
            self._outcomes.measured(name, samples)
        if handling.route.feedback and error is None and answering is not None:
            self._feedback.note(handling.client, handling.id, answering.target.name, handling.route.name)


def estimate_of(request: ChatRequest | UnaryRequest) -> Mapping[str, Any] | None:
    """What may stand for the answer, or None."""
    return request.estimate if isinstance(request, UnaryRequest) else None


def answer_headers(handling: Handling) -> dict[str, str]:
    """Who answered, after how many attempts, and what of the request could not be sent to it."""
    answering = handling.journal.answering
    headers = {
        "x-understudy-route": handling.route.name,
        "x-understudy-target": answering.target.name if answering else "",
        "x-understudy-attempts": str(len(handling.journal.attempts)),
    }
    if handling.ticket is not None:
        headers |= handling.ticket.headers
    if answering is not None:
        headers |= answering.headers
        if handling.bound - {owner_of_target(answering.target.name)}:
            headers["x-understudy-stripped"] = "content bound to another target"
    return headers


async def _chain(first: Chunk, rest: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    yield first
    async for chunk in rest:
        yield chunk
