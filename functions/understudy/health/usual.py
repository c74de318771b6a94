"""How long a target's first tokens take lately, against what is usual for it: two slow means, a few numbers each.

Means are of logarithms, so that one answer that hung says little, and twice as slow counts as much as twice as fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from understudy.health.latency import SHORTEST, Histogram, weight

RECENT = 20.0
"""Answers after which a past one has lost about two thirds of its weight in the recent mean."""
LASTS = 3 * 86400.0
"""Seconds after which a past observation has lost about two thirds of its weight in the usual mean: the hours of a day
have all been seen then, and a new pace is accepted within a week."""
LEARNED = 10.0
"""Observations that make the usual mean known."""


@dataclass(frozen=True, slots=True)
class Usual:
    """`recent` and `seconds` are the recent and the usual first token, in seconds; `weight` the observations that the
    usual one stands for, the newest at `at` (epoch seconds)."""

    recent: float
    seconds: float
    weight: float
    at: float

    @property
    def ratio(self) -> float | None:
        """How many times the usual the recent ones take; None while it is being learned."""
        return self.recent / self.seconds if self.weight >= LEARNED else None


def usual_from(plain: Mapping[str, Any] | None) -> Usual | None:
    """What was written as JSON; fields of a newer version are ignored."""
    return Usual(**{field.name: plain[field.name] for field in fields(Usual)}) if plain else None


def followed(known: Usual | None, seen: Histogram, at: float) -> Usual | None:
    """After first tokens `seen` by `at`; unchanged where there are none."""
    answers = weight(seen)
    if not answers:
        return known
    # A bucket's bound is up to a quarter octave above its times, in both means alike.
    took = SHORTEST * 2.0 ** (sum(place * part for place, part in seen) / answers / 4)
    if known is None:
        return Usual(round(took, 6), round(took, 6), 1.0, at)
    lately = 1.0 - (1.0 - 1.0 / RECENT) ** answers
    counted = 1.0 + known.weight * math.exp(-max(0.0, at - known.at) / LASTS)
    return Usual(
        recent=_towards(known.recent, took, lately),
        seconds=_towards(known.seconds, took, 1.0 / counted),
        weight=round(counted, 3),
        at=max(known.at, at),
    )


def _towards(mean: float, value: float, part: float) -> float:
    return round(mean * math.pow(value / mean, part), 6)
