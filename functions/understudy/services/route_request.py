"""The data plane: authenticate, decide, attempt, answer, and say what happened."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from understudy.catalog import Catalog, HealthSettings, Route
from understudy.chat.bound import owner_of_target, owners
from understudy.chat.complete import Completed
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest, unary_chunk
from understudy.errors import (
    InvalidRequest,
    NoTargetAnswered,
    UnderstudyError,
    UnknownModel,
    UnknownPath,
    WrongMethod,
)
from understudy.health.item import Health
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.routing.attempts import Attempts
from understudy.routing.journal import Journal
from understudy.routing.policy import decide
from understudy.routing.scorers import Outlook
from understudy.runtime.gateway import ApiRequest
from understudy.services.decision_log import Handling, log_decision, refusal
from understudy.services.feedback import PATH as FEEDBACK
from understudy.services.feedback import Feedback
from understudy.services.fitness import offence, unfit
from understudy.services.keepsakes import Keepsakes
from understudy.services.outcomes import LocalOutcomes
from understudy.services.outlooks import Outlooks
from understudy.services.read_model import ReadModel
from understudy.services.request_parts import body_of, caller_key, tightened
from understudy.services.shadow import PATIENCE, Shadow, Shadows
from understudy.services.signals import Signals, digest
from understudy.services.upstream import Upstream
from understudy.wire.fronts import FRONTS, front_of
from understudy.wire.fronts.base import Front, Writer, encode
from understudy.wire.fronts.errors import error_headers
from understudy.wire.fronts.models import model, models

SETTLE = 0.02
"""Seconds an answered request waits for its failure reports to be written before the environment may freeze."""
ESTIMATED_HEADER = "x-understudy-estimated"
MODELS = "/models"
CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "*",
}
"""Any page may call: a key is needed for everything, and browsers add none of their own accord."""
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    # The asterisk stands for every header but this one (Fetch standard, "CORS-preflight fetch").
    "access-control-allow-headers": "authorization, *",
    "access-control-max-age": "86400",
}


@dataclass(slots=True)
class Answered:
    """Status, headers, and a body that is whole or comes in pieces; `fault` is a bug of ours that is answered for."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncGenerator[bytes, None]
    fault: Exception | None = None


class RouteRequest:
    """One for each execution environment; used from one event loop."""

    def __init__(
        self,
        read_model: ReadModel,
        outcomes: LocalOutcomes,
        upstream: Upstream,
        keepsakes: Keepsakes,
        feedback: Feedback,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
    ) -> None:
        self._read_model = read_model
        self._outcomes = outcomes
        self._upstream = upstream
        self._keepsakes = keepsakes
        self._feedback = feedback
        self._signals = Signals()
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._outlooks = Outlooks(clock)
        self._shadows = Shadows(upstream, outcomes, clock=clock, logger=logger, rng=rng)

    async def answer(self, request: ApiRequest) -> Answered:
        """The answer to any request; never raises.  A request that brings a time limit is answered within it."""
        request_id = request.request_id or uuid.uuid4().hex
        # The second name is the one that Anthropic's SDKs read.
        headers = CORS | dict.fromkeys(("x-request-id", "request-id", "x-understudy-request-id"), request_id)
        if request.method == "OPTIONS":
            return Answered(204, headers | PREFLIGHT, b"")
        try:
            return await self._dispatch(request, request_id, headers)
        except Exception as error:  # noqa: BLE001 - every request has an answer
            status, body = front_of(request.path, request.headers).error(error)
            fault = error if status == 500 else None
            if fault is not None:
                self._failed(request_id)
            else:
                self._logger.info("refused", request_id=request_id, status=status, **refusal(error))
            headers |= error_headers(error)
            return Answered(status, {**headers, "content-type": "application/json"}, encode(body), fault)

    async def _dispatch(self, request: ApiRequest, request_id: str, headers: dict[str, str]) -> Answered:
        listing = request.path == MODELS or request.path.startswith(MODELS + "/")
        front, judging = FRONTS.get(request.path), request.path == FEEDBACK
        if front is None and not (listing or judging):
            paths = ", ".join(sorted({MODELS, FEEDBACK, *FRONTS}))
            raise UnknownPath(f"There is no {request.path} here; there are: {paths}.")
        if request.method != (method := "GET" if listing else "POST"):
            raise WrongMethod(f"{request.path} takes {method}, not {request.method}.", allowed=method)
        key = caller_key(request)
        known = self._read_model.catalog(urgent=self._outcomes.in_doubt)
        catalog, client = await asyncio.gather(known, self._read_model.authenticate(key))
        if judging:
            await self._feedback.take(client, body_of(request))
            return Answered(204, headers, b"")
        if front is None:
            asked = request.path.removeprefix(MODELS).removeprefix("/")
            body = encode(model(asked, catalog.routes) if asked else models(catalog.routes))
            return Answered(200, {**headers, "content-type": "application/json"}, body)
        handling = await self._handling(request, front, request_id, client, catalog)
        return await self._answer(handling, front, headers)

    async def _handling(
        self, given: ApiRequest, front: Front, request_id: str, client: ClientKey, catalog: Catalog
    ) -> Handling:
        body = body_of(given)
        request = front.read(body, given.headers)
        route = catalog.routes.get(request.model)
        if route is None:
            known = ", ".join(sorted(catalog.routes))
            raise UnknownModel(f"There is no model {request.model!r} here; there are: {known}.", param="model")
        if isinstance(request, ChatRequest):
            request = await self._keepsakes.put_back(client, request)
        self._signals.follow(catalog)
        fleet = await self._read_model.health(route.asked)
        self._outcomes.adopt(catalog.health, fleet, trusted=self._read_model.trusted)
        bound = frozenset(owners(request.native.body if request.native else request.body))
        decision = decide(
            route,
            unfit=partial(unfit, request, route),
            standing=self._outcomes.standing,
            rng=self._rng,
            bound=bound,
            outlook=self._outlook(route, fleet, catalog.health, request_id),
        )
        if not decision.candidates and estimate_of(request) is None:
            reasons = "; ".join(f"{cause.target}: {cause.reason}" for cause in decision.unfit)
            first = offence(request, route, {cause.target for cause in decision.unfit})
            raise InvalidRequest(
                f"No target of route {route.name!r} can carry this request ({reasons}).",
                param=first.field if first else None,
                code=first.code if first else None,
                causes=decision.unfit,
            )
        return Handling(
            id=request_id,
            front=given.path,
            client=client,
            request=request,
            route=route,
            decision=decision,
            bound=bound,
            journal=Journal(),
            version=catalog.version,
            limits=tightened(route.limits, given),
            started_at=self._clock(),
            digest=digest(client.hash, body),
        )

    async def _answer(self, handling: Handling, front: Front, headers: dict[str, str]) -> Answered:
        route, request = handling.route, handling.request
        if not handling.decision.candidates:
            return await self._estimated(handling, front, headers)
        ask = partial(self._upstream, route=route)
        engine = Attempts(ask, self._outcomes, self._outcomes.lease, rng=self._rng)
        handling.shadow = self._shadow(handling)
        whole = route.assured or not request.stream or request.is_structured
        given = engine.run(request, handling.decision, handling.limits, handling.journal, whole=whole)
        chunks = self._kept(handling.client, given)
        try:
            first = await anext(chunks)
        except BaseException as error:
            if estimate_of(request) is not None and isinstance(error, NoTargetAnswered):
                return await self._estimated(handling, front, headers)
            self._log(handling, error)
            await self._settle(handling.shadow)
            raise
        handling.committed_at = self._clock()
        headers |= answer_headers(handling)
        created = int(self._clock())
        one_call = request.body.get("parallel_tool_calls") is False
        completed = Completed(handling.id, created, one_call=one_call)
        if isinstance(request, UnaryRequest) or not request.stream:
            async with aclosing(chunks):
                pieces = [first, *[chunk async for chunk in chunks]]
            if isinstance(request, ChatRequest):
                pieces = [each for chunk in pieces for each in completed.feed(chunk, handling.model)]
            self._log(handling, None)
            await self._settle(handling.shadow)
            body = encode(front.whole(request, pieces, created=created))
            return Answered(200, headers | {"content-type": "application/json"}, body)
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        writer = front.writer(request, created=created)
        return Answered(200, headers, self._stream(handling, first, chunks, completed, writer))

    def _outlook(self, route: Route, fleet: Mapping[str, Health], settings: HealthSettings, request_id: str) -> Outlook:
        """What is known of the targets; nothing where working it out fails, which must not cost the answer."""
        try:
            return self._outlooks.of(route, fleet, settings)
        except Exception:  # noqa: BLE001 - the route's own order serves as well
            self._failed(request_id)
            return Outlook()

    def _shadow(self, handling: Handling) -> Shadow | None:
        """The copy of a request, where there is one; none where beginning it fails."""
        ratings, bound = handling.decision.ratings, bool(handling.bound)
        try:
            return self._shadows.begin(
                handling.request, handling.route, handling.limits, ratings, request_id=handling.id, bound=bound
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
        started = (self._outcomes, self._keepsakes, self._feedback)
        await asyncio.gather(*(each.settle(SETTLE) for each in started))

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
        now, answering = self._clock(), handling.journal.answering
        log_decision(self._logger, handling, error, now)
        try:
            for name, samples in self._signals.of(handling, now, whole=error is None).items():
                self._outcomes.measured(name, samples)
        except Exception:  # noqa: BLE001 - what is measured must not cost the answer
            self._failed(handling.id)
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
    if answering is not None:
        headers |= answering.headers
        if handling.bound - {owner_of_target(answering.target.name)}:
            headers["x-understudy-stripped"] = "content bound to another target"
    return headers


async def _chain(first: Chunk, rest: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    yield first
    async for chunk in rest:
        yield chunk
