"""The data plane: authenticate, decide, attempt, answer, and say what happened."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from understudy.catalog import Catalog, HealthSettings, Route
from understudy.chat.bound import owners
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.compliance import judge
from understudy.errors import (
    Cause,
    GuardUnavailable,
    InvalidRequest,
    NoCompliantTarget,
    UnknownModel,
    UnknownPath,
    WrongMethod,
)
from understudy.facts import plain_constraints
from understudy.health.item import Health
from understudy.keys import ClientKey, hash_key
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger
from understudy.routing.journal import Journal
from understudy.routing.policy import decide
from understudy.routing.scorers import Outlook
from understudy.runtime.gateway import ApiRequest
from understudy.services.admission import Admissions
from understudy.services.audit import Audit
from understudy.services.decision_log import refusal
from understudy.services.demands import HEADER, in_force
from understudy.services.feedback import PATH as FEEDBACK
from understudy.services.feedback import Feedback
from understudy.services.fitness import offence, unfit
from understudy.services.handling import Answered, Asked, Guarded, Handling
from understudy.services.keepsakes import Keepsakes
from understudy.services.metering import PATH as USAGE
from understudy.services.metering import Metering
from understudy.services.outcomes import LocalOutcomes
from understudy.services.outlooks import Outlooks
from understudy.services.read_model import ReadModel
from understudy.services.request_parts import body_of, caller_key, tightened
from understudy.services.serving import Serving, estimate_of
from understudy.services.signals import Signals, digest
from understudy.services.upstream import Upstream
from understudy.wire.fronts import FRONTS, front_of
from understudy.wire.fronts.base import Front, encode
from understudy.wire.fronts.errors import error_headers
from understudy.wire.fronts.models import model, models

if TYPE_CHECKING:
    from understudy.services.guarding import Guarding

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
        admissions: Admissions | None = None,
        metering: Metering | None = None,
        audit: Audit | None = None,
        guarding: Callable[[], Guarding] | None = None,
    ) -> None:
        """`guarding` looks for personal data; it is loaded with the first request that wants it."""
        self._guarding = guarding
        self._read_model = read_model
        self._outcomes = outcomes
        self._keepsakes = keepsakes
        self._feedback = feedback
        self._metering = metering
        self._signals = Signals()
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._outlooks = Outlooks(clock)
        self._audit = audit
        self._serving = Serving(
            outcomes,
            upstream,
            keepsakes,
            feedback,
            self._signals,
            clock=clock,
            logger=logger,
            rng=rng,
            admissions=admissions,
            metering=metering,
            audit=audit,
        )

    async def answer(self, request: ApiRequest) -> Answered:
        """The answer to any request; never raises.  A request that brings a time limit is answered within it."""
        request_id = request.request_id or uuid.uuid4().hex
        # The second name is the one that Anthropic's SDKs read.
        headers = CORS | dict.fromkeys(("x-request-id", "request-id", "x-understudy-request-id"), request_id)
        if request.method == "OPTIONS":
            return Answered(204, headers | PREFLIGHT, b"")
        asked = Asked(request_id, request.path)
        try:
            return await self._dispatch(request, asked, headers)
        except Exception as error:  # noqa: BLE001 - every request has an answer
            status, body = front_of(request.path, request.headers).error(error)
            fault = error if status == 500 else None
            if fault is not None:
                self._failed(request_id)
            else:
                self._logger.info("refused", request_id=request_id, status=status, **refusal(error))
            if self._audit is not None:
                self._audit.refused(asked, error, status)
            headers |= error_headers(error)
            return Answered(status, {**headers, "content-type": "application/json"}, encode(body), fault)

    async def _dispatch(self, request: ApiRequest, asked: Asked, headers: dict[str, str]) -> Answered:
        listing = request.path == MODELS or request.path.startswith(MODELS + "/")
        front, judging, spending = FRONTS.get(request.path), request.path == FEEDBACK, request.path == USAGE
        if front is None and not (listing or judging or spending):
            paths = ", ".join(sorted({MODELS, FEEDBACK, USAGE, *FRONTS}))
            raise UnknownPath(f"There is no {request.path} here; there are: {paths}.")
        if request.method != (method := "GET" if listing or spending else "POST"):
            raise WrongMethod(f"{request.path} takes {method}, not {request.method}.", allowed=method)
        key = caller_key(request)
        asked.key_hash = hash_key(key)
        known = self._read_model.catalog(urgent=self._outcomes.in_doubt)
        catalog, client = await asyncio.gather(known, self._read_model.authenticate(key))
        asked.client, asked.version = client, catalog.version
        if judging:
            await self._feedback.take(client, body_of(request))
            return Answered(204, headers, b"")
        if spending:
            usage = await self._metering.usage(client) if self._metering else {}
            return Answered(200, {**headers, "content-type": "application/json"}, encode(usage))
        if front is None:
            name = request.path.removeprefix(MODELS).removeprefix("/")
            routes = [route for route in catalog.routes if client.may_ask(route)]
            body = encode(model(name, routes) if name else models(routes))
            return Answered(200, {**headers, "content-type": "application/json"}, body)
        handling = asked.handling = await self._handling(request, front, asked, client, catalog)
        return await self._serving.answer(handling, front, headers)

    async def _handling(
        self, given: ApiRequest, front: Front, asked: Asked, client: ClientKey, catalog: Catalog
    ) -> Handling:
        body = body_of(given)
        request = front.read(body, given.headers)
        asked.route, route = request.model, catalog.routes.get(request.model)
        if route is None or not client.may_ask(route.name):
            # A route that the key may not ask is none for it, so that nobody learns its name by asking.
            known = ", ".join(sorted(filter(client.may_ask, catalog.routes)))
            raise UnknownModel(f"There is no model {request.model[:200]!r} here; there are: {known}.", param="model")
        constraints = asked.constraints = in_force(route, client, given.headers.get(HEADER), catalog)
        request, pii = await self._guarded(given, front, body, request, route, constraints.pii)
        if isinstance(request, ChatRequest):
            request = await self._keepsakes.put_back(client, request)
        self._signals.follow(catalog)
        fleet = await self._read_model.health(route.asked)
        self._outcomes.adopt(catalog.health, fleet, trusted=self._read_model.trusted)
        now, bound = self._clock(), frozenset(owners(request.native.body if request.native else request.body))
        try:
            decision = decide(
                route,
                judged=partial(judge, constraints=constraints, now=now),
                unfit=partial(unfit, request, route),
                standing=self._outcomes.standing,
                rng=self._rng,
                bound=bound,
                outlook=self._outlook(route, fleet, catalog.health, asked.id),
            )
        except NoCompliantTarget as refused:
            refused.constraints = plain_constraints(constraints)
            raise
        if not decision.candidates and estimate_of(request) is None:
            raise _unserved(request, route, decision.unfit)
        return Handling(
            id=asked.id,
            front=given.path,
            client=client,
            request=request,
            route=route,
            decision=decision,
            bound=bound,
            journal=Journal(at=now),
            version=catalog.version,
            limits=tightened(route.limits, given),
            constraints=constraints,
            started_at=now,
            digest=digest(client.hash, body),
            pii=pii,
        )

    async def _guarded(
        self,
        given: ApiRequest,
        front: Front,
        body: bytes,
        request: ChatRequest | UnaryRequest,
        route: Route,
        demanded: str,
    ) -> tuple[ChatRequest | UnaryRequest, Guarded | None]:
        """The request as targets may see it, and what of personal data was found; see services/guarding.py."""
        rules = route.pii.under(demanded)
        if rules.mode == "off":
            return request, None
        if self._guarding is None:
            raise GuardUnavailable("This route guards personal data, and nothing here can.")
        return await self._guarding().read(front, body, given.headers, request, route.name, rules)

    def _outlook(self, route: Route, fleet: Mapping[str, Health], settings: HealthSettings, request_id: str) -> Outlook:
        """What is known of the targets; nothing where working it out fails, which must not cost the answer."""
        try:
            return self._outlooks.of(route, fleet, settings)
        except Exception:  # noqa: BLE001 - the route's own order serves as well
            self._failed(request_id)
            return Outlook()

    def _failed(self, request_id: str) -> None:
        """Say that the exception being handled is a bug of ours."""
        self._logger.exception("the router failed", request_id=request_id, metrics=[own_failure("RouterErrors")])


def _unserved(request: ChatRequest | UnaryRequest, route: Route, unfit: Sequence[Cause]) -> InvalidRequest:
    """What a caller is told whose request nobody on the route can carry."""
    reasons = "; ".join(f"{cause.target}: {cause.reason}" for cause in unfit)
    first = offence(request, route, {cause.target for cause in unfit})
    return InvalidRequest(
        f"No target of route {route.name!r} can carry this request ({reasons}).",
        param=first.field if first else None,
        code=first.code if first else None,
        causes=unfit,
    )
