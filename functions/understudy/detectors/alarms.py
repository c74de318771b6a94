"""What an excursion that has passed its threshold says, in figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.detectors.excursions import Row
from understudy.detectors.sample import Alarm, Sample, Verdict


def of_shares(
    row: Row,
    seen: Sample,
    threshold: float,
    verdict: Verdict,
    unit: str,
    evidence: Mapping[str, Any],
    *,
    before: float | None = None,
    turned: bool = False,
) -> Alarm:
    """Values between 0 and 1: their mean, which was to be as expected, or `before`; `turned`: 1 less each of them."""
    count = int(row[1])
    low, high = interval(row[2], count)
    before, after = row[3] / count if before is None else before, row[2] / count
    if turned:
        before, after, low, high = 1 - before, 1 - after, 1 - high, 1 - low
    return _of(row, seen, threshold, verdict, unit, evidence, (before, after, low, high))


def of_ratios(
    row: Row, seen: Sample, threshold: float, verdict: Verdict, unit: str, evidence: Mapping[str, Any]
) -> Alarm:
    """Logarithms: how many times what was expected they are, on average."""
    count = int(row[1])
    mean = row[2] / count
    half = 1.96 * math.sqrt(max(1e-12, row[4] / count - mean**2) / count)
    figures = (1.0, math.exp(mean), math.exp(mean - half), math.exp(mean + half))
    return _of(row, seen, threshold, verdict, unit, evidence, figures)


def of_distances(row: Row, seen: Sample, threshold: float, evidence: Mapping[str, Any]) -> Alarm:
    """How far logarithms of odds are from their prompt's: on average now, and as a rule."""
    count = int(row[1])
    before, after = row[3] / count, row[2] / count
    half = 1.96 * math.sqrt(max(0.0, row[4] / count - (after - before) ** 2) / count)
    figures = (before, after, max(0.0, after - half), after + half)
    unit = "mean distance of the first token's log-odds from normal"
    return _of(row, seen, threshold, "changed", unit, evidence, figures)


def _of(
    row: Row,
    seen: Sample,
    threshold: float,
    verdict: Verdict,
    unit: str,
    evidence: Mapping[str, Any],
    figures: tuple[float, float, float, float],
) -> Alarm:
    before, after, low, high = (round(figure, 4) for figure in figures)
    return Alarm(
        kind=seen.kind,
        verdict=verdict,
        at=seen.at,
        changed_at=row[5],
        samples_since=int(row[1]),
        before=before,
        after=after,
        low=low,
        high=high,
        unit=unit,
        statistic=round(row[0], 3),
        threshold=round(threshold, 3),
        evidence=evidence,
    )


def interval(total: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, z = total / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(max(0.0, share * (1 - share) / count) + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)
