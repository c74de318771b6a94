"""How long a target takes, for its first tokens and between two: small histograms that are added up, sent and kept.

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
HINTED = 3.0
"""Answers that say something of it."""


def bucket(seconds: float) -> int:
    """The bucket of a time."""
    return min(HIGHEST, max(0, math.ceil(4 * math.log2(seconds / SHORTEST)))) if seconds > SHORTEST else 0


def one(seconds: float) -> Histogram:
    """The histogram of a single time."""
    return ((bucket(seconds), 1.0),)


def histogram(plain: Iterable[Sequence[float]]) -> Histogram:
    """The histogram that was written as JSON."""
    return tuple((int(place), float(part)) for place, part in plain)


def merged(known: Histogram, other: Histogram) -> Histogram:
    """Both together."""
    if not known or not other:
        return known or other
    weights = dict(known)
    for place, part in other:
        weights[place] = weights.get(place, 0.0) + part
    return tuple(sorted(weights.items()))


def faded(known: Histogram) -> Histogram:
    """The histogram with no more than MEMORY answers' weight, so that new answers always count."""
    total = weight(known)
    if total <= MEMORY:
        return known
    return tuple((place, kept) for place, part in known if (kept := round(part * MEMORY / total, 3)) > 0)


def weight(known: Histogram) -> float:
    """How many answers it stands for."""
    return sum(part for _, part in known)


def quantile(known: Histogram, share: float) -> float | None:
    """Seconds within which `share` of the times lie; None while next to nothing was seen."""
    total = weight(known)
    if total < HINTED:
        return None
    left = share * total
    for place, part in known:
        left -= part
        if left <= 1e-9:
            return float(SHORTEST * 2.0 ** (place / 4))
    return float(SHORTEST * 2.0 ** (known[-1][0] / 4))
