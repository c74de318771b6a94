"""A copy of a request for a candidate, beside the real one: its answer is judged in form and thrown away.

The caller never hears of it: it has limits of its own, and whatever happens to it is a line in the log.  It runs while
the real answer is given, beside a stream a moment longer; then it is cut off, since an execution environment may
freeze.  Its cost counts for itself, each copy within the route's budget for one request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from understudy.catalog import Limits, Route, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.detectors.sample import Kind, Sample
from understudy.errors import UnderstudyError
from understudy.health.latency import Histogram
from understudy.health.observation import Observation
from understudy.health.standing import Standing
from understudy.metrics import Measured
from understudy.ports import Clock, Logger
from understudy.routing.attempts import Attempts
from understudy.routing.journal import Attempt, Journal
from understudy.routing.limits import dearest
from understudy.routing.policy import Decision, Judged, Ranked, kept_back
from understudy.routing.scorers import Outlook, Rating
from understudy.services.fitness import unfit
from understudy.services.measures import rate
from understudy.services.metering import Metering
from understudy.services.outcomes import Collected, LocalOutcomes
from understudy.services.upstream import Upstream
from understudy.services.validity import flaws

STREAM = "shadow"
"""The stream of samples that copies bring: never mixed with those of callers' requests."""
MOST = 4
"""Copies that one execution environment has under way."""
PATIENCE = 0.25
"""Seconds that the end of a stream waits for its copy; the caller has all of the answer before."""

CLOSING = 0.02
"""Seconds at most that a copy which is cut off has for closing its connection."""


@dataclass(slots=True)
class Shadow:
    """One copy under way, or why there is none (`reason`)."""

    target: str
    reason: str = ""
    task: asyncio.Task[None] | None = None

    def fields(self) -> dict[str, str]:
        """As a field of the decision's log line."""
        return {"target": self.target, "reason": self.reason or "asked as well"}


class Shadows:
    """One for each execution environment; used from one event loop."""

    def __init__(
        self,
        upstream: Upstream,
        outcomes: LocalOutcomes,
        *,
        clock: Clock,
        logger: Logger,
        rng: random.Random,
        metering: Metering | None = None,
    ) -> None:
        self._metering = metering
        self._upstream = upstream
        self._outcomes = outcomes
        self._clock = clock
        self._logger = logger
        self._rng = rng
        self._running: set[asyncio.Task[None]] = set()

    def begin(
        self,
        request: ChatRequest | UnaryRequest,
        route: Route,
        limits: Limits,
        ratings: Mapping[str, Rating],
        *,
        judged: Judged,
        request_id: str,
        bound: bool,
    ) -> Shadow | None:
        """Start the copy where one was drawn; None where none was.  `judged` says whether a target may see the request;
        `bound`: the request has content that only another can read."""
        if route.shadow is None or self._rng.random() >= route.shadow.share:
            return None
        target = route.shadow.target
        if isinstance(request, UnaryRequest):
            return Shadow(target.name, "only chats are copied")
        if reason := self._refused(
            request, target, route, limits, ratings.get(target.name), judged=judged, bound=bound
        ):
            return Shadow(target.name, reason)
        copy = self._run(request, target, route, limits, request_id, judged)
        task = asyncio.get_running_loop().create_task(copy)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return Shadow(target.name, task=task)

    async def settle(self, shadow: Shadow | None, patience: float) -> None:
        """Give the copy so many seconds more, then cut it off."""
        task = shadow.task if shadow else None
        if task is None:
            return
        if not task.done() and patience > 0:
            await asyncio.wait({task}, timeout=patience)
        if task.cancel():
            # Its line is written while it is being cut off, which takes no more than closing a connection.
            await asyncio.wait({task}, timeout=CLOSING)

    def _refused(
        self,
        request: ChatRequest,
        target: Target,
        route: Route,
        limits: Limits,
        known: Rating | None,
        *,
        judged: Judged,
        bound: bool,
    ) -> str:
        if bound:
            return "the request brings back what only another can read"
        if known is not None and known.hold is not None and known.hold.state == "drained":
            return f"drained by {known.hold.by}: {known.hold.cause}"
        # What was found of it is no reason: nobody gets its answer, and a copy may show that it is well again.
        fitness, standing = partial(unfit, request, route), self._outcomes.standing
        if reason := kept_back(
            target, judged=judged, unfit=fitness, standing=standing, rng=self._rng, outlook=Outlook()
        ):
            return reason
        worst = dearest(request, target)
        if limits.max_cost is not None and (worst is None or worst > limits.max_cost):
            return "its price is not known" if worst is None else f"it may cost ${worst:f}"
        return f"{MOST} copies are under way" if len(self._running) >= MOST else ""

    async def _run(
        self, request: ChatRequest, target: Target, route: Route, limits: Limits, request_id: str, judged: Judged
    ) -> None:
        """One copy, from its beginning to its line in the log; never raises but where it is cut off."""
        decision = Decision(route.name, (Ranked(target, "shadow"),))
        alone = replace(limits, retries_per_target=0, attempts_per_request=1)
        observation = Observation(target.name, self._clock(), source="shadow")
        seen = _Seen(self._clock, observation, self._outcomes)
        journal, chunks = Journal(at=self._clock()), list[Chunk]()
        engine = Attempts(partial(self._upstream, route=route), seen, _never, judged=judged, rng=self._rng)
        outcome, found = "cut off", list[str]()
        try:
            async for chunk in engine.run(request, decision, alone, journal, whole=True):
                chunks.append(chunk)
            found, outcome = flaws(request, journal.delivered), "ok"
        except UnderstudyError as error:
            outcome = journal.attempts[-1].outcome if journal.attempts else type(error).__name__
        except Exception as error:  # noqa: BLE001 - a copy that breaks breaks nothing else
            outcome = f"not judged: {type(error).__name__}"
        finally:
            attempt = journal.attempts[-1] if journal.attempts else None
            if self._metering is not None:
                self._metering.own("shadow", journal.attempts, route.name)
            self._tell(seen.observation, attempt, whole=outcome == "ok", valid=not found)
            self._log(request_id, route, target, attempt, outcome, found, chunks)

    def _tell(self, seen: Observation, attempt: Attempt | None, *, whole: bool, valid: bool) -> None:
        """What a call has shown is news of the target's health like that of any other call."""
        samples = () if attempt is None else _samples(attempt, self._clock(), whole=whole, valid=valid)
        seen = replace(seen, at=self._clock()).measured(*samples)
        if seen.ok or seen.by_kind:
            self._outcomes.copied(seen)

    def _log(
        self,
        request_id: str,
        route: Route,
        target: Target,
        attempt: Attempt | None,
        outcome: str,
        found: list[str],
        chunks: list[Chunk],
    ) -> None:
        cost = attempt.cost if attempt else None
        reasons = sorted({reason for chunk in chunks for reason in chunk.finish_reasons.values()})
        self._logger.info(
            "shadow",
            request_id=request_id,
            route=route.name,
            target=target.name,
            outcome=outcome,
            valid=not found if outcome == "ok" else None,
            flaws=found,
            finish=[reason for reason in reasons if reason.isidentifier()],
            characters=sum(len(chunk.text) for chunk in chunks),
            first_token_ms=_ms(attempt.first_token) if attempt else None,
            ms=_ms(attempt.seconds) if attempt else None,
            usage=attempt.usage.payload() if attempt and attempt.usage else None,
            usage_estimated=bool(attempt and attempt.estimated),
            cost_usd=None if cost is None else str(cost),
            metrics=[] if cost is None else [Measured("target", target.name, {"ShadowCost": float(cost)})],
        )


@dataclass(slots=True)
class _Seen(Collected):
    """That of one copy.  Satisfies `routing.attempts.Outcomes`; its limits are those of callers'."""

    outcomes: LocalOutcomes

    def standing(self, target: Target) -> Standing:
        return self.outcomes.standing(target)

    def first_tokens(self, target: Target) -> Histogram:
        return self.outcomes.first_tokens(target)

    def gaps(self, target: Target) -> Histogram:
        return self.outcomes.gaps(target)


def _samples(attempt: Attempt, now: float, *, whole: bool, valid: bool) -> Iterator[Sample]:
    cost, values = attempt.cost, dict[Kind, float]()
    if whole or attempt.hurt:
        values["errors"] = float(attempt.hurt)
    if attempt.first_token is not None:
        values["latency"] = attempt.first_token
    if whole:
        values["quality"] = float(valid)
        if (speed := rate(attempt)) is not None:
            values["speed"] = speed
        if attempt.usage is not None and not attempt.estimated:
            values["tokens"] = float(attempt.usage.completion_tokens)
            if cost is not None and not attempt.price.assumed:
                values["cost"] = float(cost)
    usd = 0.0 if cost is None else float(cost)
    for number, (kind, value) in enumerate(values.items()):
        # What the call cost is told once.
        yield Sample(kind, value, now, stream=STREAM, usd=0.0 if number else usd)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


async def _never(_: Target) -> bool:
    """A copy is nobody's probe."""
    return False
