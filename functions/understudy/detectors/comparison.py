"""Two versions of a model, compared by the same questions: whether the new one answers worse, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FEWEST = 20
"""Questions that both must have answered before anything is said."""
Z = 1.96
"""Of a 95 % interval."""

Answers = Mapping[int, tuple[float, float]]
"""Number of answers and their mean value, by question."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the mean of after - before over the questions that both answered, `low` to `high` its 95 %
    interval; `before` and `after` are the means.  `unsure`: neither is proved yet."""

    verdict: Literal["no loss", "loss", "unsure"]
    questions: int
    before: float
    after: float
    difference: float
    low: float
    high: float

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__}


def compared(before: Answers, after: Answers, *, max_loss: float) -> Comparison | None:
    """The comparison by question, None while fewer than FEWEST were answered by both.

    `no loss`: a loss of more than `max_loss` is excluded; `loss`: it is not, and equality is.  The interval is Wald's
    for matched pairs with half an observation added to each of the four cells, which keeps its promise for few pairs
    and for pairs that are all alike (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions"); values between 0 and 1 only narrow it.
    """
    both = sorted(before.keys() & after.keys())
    if len(both) < FEWEST:
        return None
    differences = [after[item][1] - before[item][1] for item in both]
    count = len(both) + 2
    mean = sum(differences) / count
    spread = (sum(one * one for one in differences) + 1) / count - mean * mean
    reach = Z * math.sqrt(max(0.0, spread) / count)
    low, high = mean - reach, mean + reach
    verdict: Literal["no loss", "loss", "unsure"] = "unsure"
    if low > -max_loss:
        verdict = "no loss"
    elif high < 0:
        verdict = "loss"
    means = [sum(side[item][1] for item in both) / len(both) for side in (before, after)]
    figures = (means[0], means[1], sum(differences) / len(both), low, high)
    return Comparison(verdict, len(both), *(round(figure, 4) for figure in figures))


def added(known: Answers, item: int, value: float, most: float = math.inf) -> dict[int, tuple[float, float]]:
    """One answer more; of more than `most` the older ones lose their weight."""
    count, mean = known.get(item, (0.0, 0.0))
    count = min(count + 1, most)
    return {**known, item: (count, round(mean + (value - mean) / count, 4))}
