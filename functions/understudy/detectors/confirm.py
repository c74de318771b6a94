"""The second look: whether a sample that was bought after an alarm says the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from understudy.detectors.sample import Sample
from understudy.detectors.stream import Detector

Confirmation = Literal["confirmed", "refuted", "unsure"]
SURE = math.log(20)
"""A bet against what was normal that returns twentyfold: at most one such sample in twenty does so by chance (Ville
1939), and it was bought because of an alarm that is far rarer already."""
FEWEST = 5
"""Values of which the baseline is known without which nothing is said."""


def confirmation(before: Detector, samples: Sequence[Sample]) -> Confirmation:
    """Judge a confirmation sample by the baselines of the detector as it was before its alarm.

    Confirmed where a bet spread evenly over the alternatives has won twentyfold; refuted where it has lost; unsure
    between the two, and where too few baselines are known.
    """
    found = [scores for sample in samples if (scores := before.scores(sample)) is not None]
    if len(found) < FEWEST:
        return "unsure"
    totals = [sum(column) for column in zip(*found, strict=True)]
    highest = max(totals)
    won = highest + math.log(sum(math.exp(total - highest) for total in totals) / len(totals))
    if won >= SURE:
        return "confirmed"
    return "refuted" if won <= 0 else "unsure"
