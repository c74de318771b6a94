"""What the metrics say of one request: of its route, and of each target that was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from understudy.errors import CallerFault, Refusal, RequestError
from understudy.metrics import Measured
from understudy.routing.journal import Attempt, Journal

LONG_ENOUGH = (16, 0.1)
"""Tokens and seconds after the first token from which on a rate says something."""


def of_targets(attempts: Sequence[Attempt]) -> dict[str, Measured]:
    """By target name, in the order in which they were asked.  An attempt that was broken off, for another target was
    faster or the caller left, is neither good nor bad; a target that nothing is known of is left out."""
    asked: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        asked.setdefault(attempt.target.name, []).append(attempt)
    return {name: Measured("target", name, values) for name, mine in asked.items() if (values := _values(mine))}


def of_route(
    name: str, journal: Journal, error: BaseException | None, seconds: float, found: Mapping[str, int] | None = None
) -> Measured:
    """`error`: what the request ended with; `seconds` until then; `found` what of personal data is in the
    request by kind, where somebody looked."""
    attempts = journal.attempts
    moved = sum(one.target.name != next_.target.name and not next_.hedge for one, next_ in pairwise(attempts))
    values: dict[str, float | Sequence[float]] = {
        "Errors": int(error is not None and not callers_own(error)),
        "Failovers": moved,
        "Resumed": len(journal.resumptions),
        "Latency": round(seconds * 1000, 1),
    }
    if found is not None:
        values["PiiFound"] = sum(found.values())
    return Measured("route", name, values)


def of_blocked(name: str, kinds: Mapping[str, int]) -> Measured:
    """Of a request that went nowhere for what was found in it."""
    return Measured("route", name, {"PiiFound": sum(kinds.values())})


def callers_own(error: BaseException) -> bool:
    """Whether a request ended by what its caller asked for, or by leaving."""
    return isinstance(error, RequestError | CallerFault | Refusal) or not isinstance(error, Exception)


def rate(attempt: Attempt) -> float | None:
    """Tokens a second after the first one; None where the answer is too short or came in one piece."""
    if attempt.outcome != "ok" or attempt.first_token is None:
        return None
    seconds = attempt.seconds - attempt.first_token
    return attempt.received / seconds if attempt.received >= LONG_ENOUGH[0] and seconds >= LONG_ENOUGH[1] else None


def _values(attempts: Sequence[Attempt]) -> dict[str, float | Sequence[float]]:
    costs = [attempt.cost for attempt in attempts]
    samples: dict[str, list[float]] = {
        "Failures": [int(attempt.hurt) for attempt in attempts if attempt.outcome != "cancelled"],
        "FirstToken": [round(a.first_token * 1000, 1) for a in attempts if a.first_token is not None],
        "TokensPerSecond": [round(speed, 1) for a in attempts if (speed := rate(a)) is not None],
        "Cost": [float(cost) for cost in costs if cost is not None],
    }
    return {name: found[0] if len(found) == 1 else found for name, found in samples.items() if found}
