"""What the log says of a request: one line with the whole decision, or why it was turned away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from understudy.catalog import Limits
from understudy.errors import Cause, NoCompliantTarget, PiiFound
from understudy.facts import plain_constraints
from understudy.ports import Logger
from understudy.routing.policy import Decision
from understudy.services import measures
from understudy.services.handling import Handling

SCORED = 5
"""Candidates whose scores are logged: each takes some 280 bytes of every request's line."""


def log_decision(logger: Logger, handling: Handling, error: BaseException | None, now: float) -> None:
    """The decision, whole, on one line, which also counts for the route and for the target that answered; the
    others that were asked have a short line each.

    Usage and cost are those of the target whose answer the caller has; what all attempts cost together stands
    beside them.
    """
    journal, decision = handling.journal, handling.decision
    answering = journal.answering
    spent = answering.cost if answering else None
    asked, seconds = measures.of_targets(journal.attempts), now - handling.started_at
    metrics = [measures.of_route(handling.route.name, journal, error, seconds, handling.found)]
    if answering and (measured := asked.pop(answering.target.name, None)):
        metrics.append(measured)
    for name, measured in asked.items():
        logger.info("asked in vain", target=name, metrics=[measured])
    logger.info(
        "decision",
        metrics=metrics,
        request_id=handling.id,
        client=handling.client.name,
        front=handling.front,
        route=handling.route.name,
        document_version=handling.version,
        stream=handling.request.stream,
        outcome="ok" if error is None else type(error).__name__,
        target=answering.target.name if answering else None,
        reported_model=answering.model if answering else None,
        constraints=plain_constraints(handling.constraints) or None,
        strategy=decision.strategy,
        candidates=list(_candidates(decision)),
        canary=decision.canary or None,
        shadow=handling.shadow.fields() if handling.shadow else None,
        pii=handling.pii.fields() if handling.pii else None,
        held=_told(decision.held),
        denied=_told(decision.denied),
        unfit=_told(decision.unfit),
        skipped=_told(journal.skipped),
        attempts=[attempt.fields() for attempt in journal.attempts],
        resumed=[resumption.fields() for resumption in journal.resumptions],
        usage=answering.usage.payload() if answering and answering.usage else None,
        usage_estimated=bool(answering and answering.estimated),
        cost_usd=None if spent is None else str(spent),
        attempts_cost_usd=str(journal.spent),
        limits=_limits(handling.limits),
        time_to_commit_ms=handling.time_to_commit_ms,
        ms=round(seconds * 1000, 1),
    )


def _limits(limits: Limits) -> dict[str, Any]:
    most = limits.max_cost
    return {"request_ms": round(limits.request * 1000), "max_cost_usd": None if most is None else str(most)}


def refusal(error: BaseException) -> dict[str, Any]:
    """What the log may say of a request that was turned away, and count: words of ours, never the caller's content."""
    named = {name: _word(getattr(error, name, None)) for name in ("code", "param")}
    told: dict[str, Any] = {"outcome": type(error).__name__, **named, "causes": _told(getattr(error, "causes", ()))}
    if isinstance(error, PiiFound):
        told |= {"pii": error.kinds, "metrics": [measures.of_blocked(error.route, error.kinds)]}
    if isinstance(error, NoCompliantTarget):
        told["constraints"] = dict(error.constraints)
    return told


def _candidates(decision: Decision) -> Iterator[dict[str, Any]]:
    """Every candidate with its reason; the first ones, which are asked first, with their scores."""
    for place, ranked in enumerate(decision.candidates):
        told = {"target": ranked.target.name, "reason": ranked.reason}
        known = decision.ratings.get(ranked.target.name) if place < SCORED else None
        yield told if known is None else told | {"score": known.score.value, "parts": known.told}


def _told(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{"target": cause.target, "reason": cause.kept or cause.reason} for cause in causes]


def _word(said: object) -> str | None:
    """A code or the name of a field; not whatever else a provider may have put in its place."""
    return said if isinstance(said, str) and re.fullmatch(r"[\w.:\[\]-]{1,100}", said) else None
