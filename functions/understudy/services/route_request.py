"""The data plane: authenticate, decide, attempt, answer, and say what happened."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from understudy.catalog import Catalog, Limits, Route, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import (
    Cause,
    InvalidRequest,
    RequestTooLarge,
    Unauthenticated,
    UnderstudyError,
    UnknownModel,
    UnknownPath,
    WrongMethod,
)
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.routing.attempts import Attempts
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, decide
from understudy.runtime.gateway import ApiRequest
from understudy.services import measures
from understudy.services.outcomes import LocalOutcomes
from understudy.services.read_model import ReadModel
from understudy.services.upstream import Upstream
from understudy.wire import WIRES
from understudy.wire.fronts.chat import StreamWriter, completion, encode, models, read_request
from understudy.wire.fronts.errors import error_answer

BODY_LIMIT = 6 * 1024 * 1024
"""Bytes; the limit of a synchronous Lambda invocation (AWS Lambda developer guide, "Lambda quotas")."""
SETTLE = 0.02
"""Seconds an answered request waits for its failure reports to be written before the environment may freeze."""
RESERVE = 2.0
"""Seconds before the end of the invocation at which a request's own time is over."""
DEADLINE_HEADER = "x-understudy-deadline-ms"
MAX_COST_HEADER = "x-understudy-max-cost"
METHODS = {"/chat/completions": "POST", "/models": "GET"}


@dataclass(slots=True)
class Answered:
    """Status, headers, and a body that is whole or comes in pieces; `fault` is a bug of ours that is answered for."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncGenerator[bytes, None]
    fault: Exception | None = None


@dataclass(slots=True)
class Handling:
    """One chat request on its way."""

    id: str
    client: ClientKey
    request: ChatRequest
    route: Route
    decision: Decision
    journal: Journal
    version: int
    limits: Limits
    started_at: float
    committed_at: float | None = None


class RouteRequest:
    """One for each execution environment; used from one event loop."""

    def __init__(
        self,
        read_model: ReadModel,
        outcomes: LocalOutcomes,
        upstream: Upstream,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
    ) -> None:
        self._read_model = read_model
        self._outcomes = outcomes
        self._upstream = upstream
        self._clock = clock
        self._logger = logger
        self._rng = rng

    async def answer(self, request: ApiRequest) -> Answered:
        """The answer to any request; never raises.  A request that brings a time limit is answered within it."""
        request_id = request.request_id or uuid.uuid4().hex
        headers = {"x-request-id": request_id, "x-understudy-request-id": request_id}
        try:
            return await self._dispatch(request, request_id, headers)
        except Exception as error:  # noqa: BLE001 - every request has an answer
            status, body = error_answer(error)
            fault = error if status == 500 else None
            if fault is not None:
                self._failed(request_id)
            else:
                self._logger.info("refused", request_id=request_id, status=status, **_refusal(error))
            return Answered(status, {**headers, "content-type": "application/json"}, encode(body), fault)

    async def _dispatch(self, request: ApiRequest, request_id: str, headers: dict[str, str]) -> Answered:
        if request.path not in METHODS:
            raise UnknownPath(f"There is no {request.path} here; there are: {', '.join(sorted(METHODS))}.")
        if request.method != METHODS[request.path]:
            raise WrongMethod(f"{request.path} takes {METHODS[request.path]}, not {request.method}.")
        key = bearer_key(request)
        known = self._read_model.catalog(urgent=self._outcomes.in_doubt)
        catalog, client = await asyncio.gather(known, self._read_model.authenticate(key))
        if request.path == "/models":
            body = encode(models(catalog.routes, created=0))
            return Answered(200, {**headers, "content-type": "application/json"}, body)
        if len(request.body) > BODY_LIMIT:
            raise RequestTooLarge(f"The body has {len(request.body)} bytes; the limit is {BODY_LIMIT}.")
        handling = await self._handling(request, request_id, client, catalog)
        return await self._chat(handling, headers)

    async def _handling(self, given: ApiRequest, request_id: str, client: ClientKey, catalog: Catalog) -> Handling:
        chat = read_request(given.body)
        route = catalog.routes.get(chat.model)
        if route is None:
            known = ", ".join(sorted(catalog.routes))
            raise UnknownModel(f"There is no model {chat.model!r} here; there are: {known}.", param="model")
        names = [candidate.target.name for candidate in route.candidates]
        fleet = await self._read_model.health(names)
        self._outcomes.adopt(catalog.health, fleet, trusted=self._read_model.trusted)
        decision = decide(route, unfit=partial(unfit, chat, route), standing=self._outcomes.standing, rng=self._rng)
        if not decision.candidates:
            reasons = "; ".join(f"{cause.target}: {cause.reason}" for cause in decision.unfit)
            raise InvalidRequest(
                f"No target of route {route.name!r} can carry this request ({reasons}).",
                param=_named_field(chat, route),
                code="unsupported_parameter",
            )
        limits = tightened(route.limits, given)
        return Handling(request_id, client, chat, route, decision, Journal(), catalog.version, limits, self._clock())

    async def _chat(self, handling: Handling, headers: dict[str, str]) -> Answered:
        route, chat = handling.route, handling.request
        ask = partial(self._upstream, route=route)
        engine = Attempts(ask, self._outcomes, self._outcomes.lease, rng=self._rng)
        whole = route.assured or not chat.stream or chat.is_structured
        chunks = engine.run(chat, handling.decision, handling.limits, handling.journal, whole=whole)
        try:
            first = await anext(chunks)
        except BaseException as error:
            self._log(handling, error)
            await self._outcomes.settle(SETTLE)
            raise
        handling.committed_at = self._clock()
        headers |= self._headers(handling)
        created = int(self._clock())
        if not chat.stream:
            async with aclosing(chunks):
                pieces = [first, *[chunk async for chunk in chunks]]
            self._log(handling, None)
            await self._outcomes.settle(SETTLE)
            return Answered(
                200, headers | {"content-type": "application/json"}, encode(completion(pieces, created=created))
            )
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        return Answered(200, headers, self._stream(handling, first, chunks, StreamWriter(chat, created=created)))

    async def _stream(
        self, handling: Handling, first: Chunk, rest: AsyncGenerator[Chunk, None], writer: StreamWriter
    ) -> AsyncGenerator[bytes, None]:
        failure: BaseException | None = None
        try:
            async with aclosing(rest):
                async for chunk in _chain(first, rest):
                    if data := writer.event(chunk):
                        yield data
            yield writer.end()
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
            await self._outcomes.settle(SETTLE)

    def _headers(self, handling: Handling) -> dict[str, str]:
        answering = handling.journal.answering
        return {
            "x-understudy-route": handling.route.name,
            "x-understudy-target": answering.target.name if answering else "",
            "x-understudy-attempts": str(len(handling.journal.attempts)),
        }

    def _failed(self, request_id: str) -> None:
        """Say that the exception being handled is a bug of ours."""
        self._logger.exception("the router failed", request_id=request_id, metrics=[own_failure("RouterErrors")])

    def _log(self, handling: Handling, error: BaseException | None) -> None:
        """The decision, whole, on one line, which also counts for the route and for the target that answered; the
        others that were asked have a short line each.

        Usage and cost are those of the target whose answer the caller has; what all attempts cost together stands
        beside them.
        """
        journal, decision, limits = handling.journal, handling.decision, handling.limits
        answering = journal.answering
        spent = answering.cost if answering else None
        committed, seconds = handling.committed_at, self._clock() - handling.started_at
        asked = measures.of_targets(journal.attempts)
        metrics = [measures.of_route(handling.route.name, journal, error, seconds)]
        if answering and (measured := asked.pop(answering.target.name, None)):
            metrics.append(measured)
        for name, measured in asked.items():
            self._logger.info("asked in vain", target=name, metrics=[measured])
        self._logger.info(
            "decision",
            metrics=metrics,
            request_id=handling.id,
            client=handling.client.name,
            route=handling.route.name,
            document_version=handling.version,
            stream=handling.request.stream,
            outcome="ok" if error is None else type(error).__name__,
            target=answering.target.name if answering else None,
            reported_model=answering.model if answering else None,
            candidates=[{"target": r.target.name, "reason": r.reason} for r in decision.candidates],
            denied=_told(decision.denied),
            unfit=_told(decision.unfit),
            skipped=_told(journal.skipped),
            attempts=[attempt.fields() for attempt in journal.attempts],
            resumed=[resumption.fields() for resumption in journal.resumptions],
            usage=answering.usage.payload() if answering and answering.usage else None,
            usage_estimated=bool(answering and answering.estimated),
            cost_usd=None if spent is None else str(spent),
            attempts_cost_usd=str(journal.spent),
            limits={
                "request_ms": round(limits.request * 1000),
                "max_cost_usd": None if limits.max_cost is None else str(limits.max_cost),
            },
            time_to_commit_ms=None if committed is None else round((committed - handling.started_at) * 1000, 1),
            ms=round(seconds * 1000, 1),
        )


async def _chain(first: Chunk, rest: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    yield first
    async for chunk in rest:
        yield chunk


def tightened(limits: Limits, request: ApiRequest) -> Limits:
    """The route's limits, as far as the request and its invocation leave them.

    A caller may only tighten them; an invocation must be left time to say that its time is over.  Raises
    InvalidRequest where a header is not what it should be.
    """
    times, money = [limits.request], [] if limits.max_cost is None else [limits.max_cost]
    if request.time_left is not None:
        times.append(max(0.0, request.time_left - RESERVE))
    if (given := request.headers.get(DEADLINE_HEADER)) is not None:
        if not re.fullmatch(r"[1-9][0-9]{0,8}", given):
            raise InvalidRequest(f"`{DEADLINE_HEADER}` must be milliseconds, such as 2500.", param=DEADLINE_HEADER)
        times.append(int(given) / 1000)
    if (given := request.headers.get(MAX_COST_HEADER)) is not None:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", given, re.ASCII) or not Decimal(given):
            raise InvalidRequest(f"`{MAX_COST_HEADER}` must be US dollars, such as 0.02.", param=MAX_COST_HEADER)
        money.append(Decimal(given))
    return replace(limits, request=min(times), max_cost=min(money, default=None))


def _refusal(error: BaseException) -> dict[str, Any]:
    """What the log may say of a request that was turned away: words of ours, never the caller's content."""
    named = {name: _word(getattr(error, name, None)) for name in ("code", "param")}
    return {"outcome": type(error).__name__, **named, "causes": _told(getattr(error, "causes", ()))}


def _told(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{"target": cause.target, "reason": cause.kept or cause.reason} for cause in causes]


def _word(said: object) -> str | None:
    """A code or the name of a field; not whatever else a provider may have put in its place."""
    return said if isinstance(said, str) and re.fullmatch(r"[\w.:\[\]-]{1,100}", said) else None


def bearer_key(request: ApiRequest) -> str:
    """The caller's key.  Raises Unauthenticated where there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthenticated("Send your API key in the header `Authorization: Bearer KEY`.")
    return key.strip()


def unfit(request: ChatRequest, route: Route, target: Target) -> str | None:
    """Why a target cannot carry a request, or None."""
    can = target.capabilities
    if request.needs_tools and not can.tools:
        return "it does not take tools"
    if request.needs_vision and not can.vision:
        return "it does not take images"
    if request.needs_json_schema and not can.json_schema:
        return "it does not take a JSON schema"
    if can.context_window is not None and request.size // 8 > can.context_window:
        # A token is rarely more than eight characters, so this never turns away what would fit.
        return f"about {request.size // 4} tokens do not fit its window of {can.context_window}"
    lost = WIRES[target.provider.wire].cannot_carry(request) - route.may_drop
    return f"it cannot carry {', '.join(f'`{name}`' for name in sorted(lost))}" if lost else None


def _named_field(request: ChatRequest, route: Route) -> str | None:
    """The first field that some target of the route has no place for."""
    lost = {
        name
        for candidate in route.candidates
        for name in WIRES[candidate.target.provider.wire].cannot_carry(request) - route.may_drop
    }
    return min(lost, default=None)
