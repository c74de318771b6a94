"""One call of a probe, over the serving path: the same translation, transport, limits and failure table as a caller's
request, without retries and without another target."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.catalog import Catalog, Limits, Route, Target
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.response import completion_from_chunks
from understudy.chat.unary import UnaryRequest
from understudy.compliance import judge
from understudy.errors import AttemptFailed, NoTargetAnswered, UnderstudyError
from understudy.facts import Constraints
from understudy.health.item import Health
from understudy.health.latency import Histogram
from understudy.health.observation import Observation
from understudy.health.standing import Standing
from understudy.metrics import Measured
from understudy.ports import Clock, Logger
from understudy.routing.attempts import Ask, Attempts
from understudy.routing.journal import Attempt, Journal
from understudy.routing.policy import Decision, Ranked
from understudy.services.outcomes import Collected

ALIVE = frozenset({"caller", "context_length", "refusal"})
"""Failures that say that the provider answered and did not like the question."""


@dataclass(slots=True)
class Seen(Collected):
    """Those of the probes of one target.  Satisfies `routing.attempts.Outcomes`."""

    health: Health
    attempts: list[Attempt] = field(default_factory=list)

    def standing(self, target: Target) -> Standing:  # noqa: ARG002
        return Standing()

    def first_tokens(self, target: Target) -> Histogram:  # noqa: ARG002
        return self.health.first_tokens

    def gaps(self, target: Target) -> Histogram:  # noqa: ARG002
        return self.health.gaps


def seen_of(target: str, health: Health | None, clock: Clock) -> Seen:
    """Nothing seen yet."""
    return Seen(clock, Observation(target, clock(), source="probe"), health or Health(target))


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: `attempt` is None where it could not be sent, `answer` the chat completion where it was answered; it
    ended at `at`."""

    attempt: Attempt | None
    answer: Mapping[str, Any] | None
    at: float


class Caller:
    """Asks one target once."""

    def __init__(self, ask: Ask, *, clock: Clock, logger: Logger, rng: random.Random) -> None:
        self._ask = ask
        self._clock = clock
        self._logger = logger
        self._rng = rng

    async def ask(
        self, request: ChatRequest | UnaryRequest, target: Target, limits: Limits, seen: Seen, constraints: Constraints
    ) -> Asked:
        """What became of the call; `seen` is told as well.  `constraints` are those of what is asked."""
        decision = Decision("probe", (Ranked(target, "probe", probe=True),))
        engine = Attempts(
            self._ask, seen, _granted, judged=lambda one: judge(one, constraints, self._clock()), rng=self._rng
        )
        journal = Journal(at=self._clock())
        answer = None
        try:
            chunks = [chunk async for chunk in engine.run(request, decision, limits, journal, whole=True)]
            answer = completion_from_chunks(chunks) if isinstance(request, ChatRequest) else None
        except (AttemptFailed, NoTargetAnswered):
            pass
        except UnderstudyError as error:
            self._logger.warning("a probe could not be sent", target=target.name, error=str(error))
        seen.attempts += journal.attempts
        if any(attempt.outcome in ALIVE for attempt in journal.attempts):
            seen.observation = replace(seen.observation, ok=seen.observation.ok + 1, last_ok_at=self._clock())
        return Asked(next(iter(journal.attempts), None), answer, round(self._clock(), 3))


def liveness(target: Target, current: Catalog) -> ChatRequest | UnaryRequest:
    """A short chat; an embedding of the same text where the target answers no chats."""
    settings = current.health
    if target.capabilities.embeddings and not target.capabilities.chat:
        body = {"model": target.model, "input": settings.probe_prompt}
        return UnaryRequest("embeddings", target.model, body)
    longest = settings.probe_max_tokens
    if target.capabilities.reasoning:
        # A model that thinks first would be cut off before its first word.
        longest = max(longest, settings.probe_reasoning_tokens)
    messages = [{"role": "user", "content": settings.probe_prompt}]
    return chat_request({"model": target.model, "messages": messages, "max_tokens": longest})


def routes_of(target: Target, current: Catalog) -> list[Route]:
    """The routes that name the target."""
    return [route for route in current.routes.values() if target.name in route.asked]


def probe_limits(target: Target, current: Catalog) -> Limits:
    """Those of a route that may ask the target, for one call without retries; probes have a budget of their own."""
    routes = routes_of(target, current)
    return replace(routes[0].limits if routes else Limits(), retries_per_target=0, max_cost=None)


def measured(target: Target, attempts: list[Attempt]) -> list[Measured]:
    """One sample for each probe that was sent, and its dollars where they are known."""
    costs = [float(cost) for attempt in attempts if (cost := attempt.cost) is not None]
    values: dict[str, list[float]] = {"ProbeFailures": [int(attempt.hurt) for attempt in attempts]}
    return [Measured("target", target.name, values | ({"ProbeCost": costs} if costs else {}))] if attempts else []


async def _granted(_: Target) -> bool:
    """The lease was taken before the probe began."""
    return True
