"""What probes may cost: estimates before, counts after, one allowance for each target and day (UTC).

A target without a price is counted at an assumed one, so that a missing figure is no way around the allowance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from understudy.catalog import HealthSettings, Target
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.ports import AskKind
from understudy.routing.journal import Attempt
from understudy.routing.limits import dearest
from understudy.store_ports import Probing

BEYOND = 2
"""Health checks, and what confirms an alarm, go on up to so many times the allowance: they are few tokens, and without
them nobody would know that a target is down, or that it is not."""
RESERVED = "under way"
"""Where the price of probes counts that are not paid yet."""
_FIRST_TO_GO = frozenset({"quality", "drift"})


def estimated(requests: Iterable[ChatRequest | UnaryRequest], target: Target) -> Decimal:
    """US dollars that these calls cost at most: their prompts, and answers as long as they may be."""
    known = priced(target)
    return sum((dearest(request, known) or Decimal(0) for request in requests), Decimal(0))


def counted(attempts: Iterable[Attempt]) -> Decimal:
    """US dollars that these calls cost, as far as their tokens are known."""
    costs = (attempt.cost for attempt in attempts)
    return sum((one for one in costs if one is not None), Decimal(0))


def priced(target: Target) -> Target:
    """The target, with a price in any case."""
    return target if target.price else replace(target, price=target.assumed_price)


def reserved(known: Probing, price: Decimal) -> Probing:
    """What is known of a target when a probe that may cost `price` has begun: others may share the same reading."""
    return replace(known, spent={**known.spent, RESERVED: known.spent.get(RESERVED, Decimal(0)) + price})


def too_dear(ask: AskKind, price: Decimal, known: Probing, settings: HealthSettings) -> str | None:
    """Why a probe that may cost `price` is left out today; None where it is not."""
    allowed = settings.probe_usd_per_day * (1 if ask in _FIRST_TO_GO else BEYOND)
    if known.total + price <= allowed:
        return None
    return f"it may cost ${price:.6f}; ${known.total:.6f} of the day's ${allowed:f} are spent"
