"""How long a target's first tokens take: a small histogram that can be added up, sent and kept.

Buckets are a quarter of an octave wide (19 %), so a quantile is at most that much too high and never too low.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Histogram = tuple[tuple[int, float], ...]
"""(bucket, weight), lowest bucket first.  Bucket b holds times up to SHORTEST * 2 ** (b / 4) seconds."""

SHORTEST = 0.001
HIGHEST = 80
"""The last bucket, about 17 minutes."""
MEMORY = 500.0
"""Answers after which an older one has begun to lose its weight."""
KNOWN = 20.0
"""Answers that make a distribution known."""


def bucket(seconds: float) -> int:
    """The bucket of a time."""
    return min(HIGHEST, max(0, math.ceil(4 * math.log2(seconds / SHORTEST)))) if seconds > SHORTEST else 0


def histogram(plain: Iterable[Sequence[float]]) -> Histogram:
    """The histogram that was written as JSON."""
    return tuple((int(place), float(weight)) for place, weight in plain)


def merged(one: Histogram, other: Histogram) -> Histogram:
    """Both together."""
    weights = dict(one)
    for place, weight in other:
        weights[place] = weights.get(place, 0.0) + weight
    return tuple(sorted(weights.items()))


def faded(known: Histogram) -> Histogram:
    """The histogram with no more than MEMORY answers' weight, so that new answers always count."""
    total = sum(weight for _, weight in known)
    if total <= MEMORY:
        return known
    return tuple((place, weight) for place, w in known if (weight := round(w * MEMORY / total, 3)) > 0)


def quantile(known: Histogram, share: float) -> float | None:
    """Seconds within which `share` of the first tokens came; None while too few were seen."""
    total = sum(weight for _, weight in known)
    if total < KNOWN:
        return None
    left = share * total
    for place, weight in known:
        left -= weight
        if left <= 1e-9:
            return float(SHORTEST * 2.0 ** (place / 4))
    return float(SHORTEST * 2.0 ** (known[-1][0] / 4))
