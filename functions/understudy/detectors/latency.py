"""Latency and speed: logarithms about a daily and weekly profile.

The profile is a sum of harmonics of the day and the week, learned one value at a time by recursive least squares with a
prior: hours that were never seen are known to be unknown, so they raise no alarm.  What is left is whitened by its own
autocorrelation and compared by Student's t, so that a spike says little and ten of them say much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import mul
from typing import Any

from understudy.detectors.alarms import of_ratios
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.sample import Alarm, Kind, Sample

SHIFTS = (0.12, 0.22, 0.4, 0.9)
"""The alternatives: by how much the logarithm is worse."""
SPENT = 0.9
DAY, WEEK = 86400.0, 604800.0
DAILY, WEEKLY = 3, 2
"""Harmonics."""
PRIOR = (3.0, 0.35, 0.25, 0.25)
"""Standard deviations, before anything is seen, of the level, a daily and a weekly harmonic, the weekend's step."""
LEARN = 40
DELAY = 48
"""Values that wait before they count as normal."""
MEMORY = 4000.0
"""Values after which an older one has lost most of its weight."""
DEGREES = 5.0
"""Of Student's t: how heavy the tails are."""
HUBER = 2.0
"""Standard deviations beyond which a value pulls the profile no more."""
MOST_CORRELATION = 0.8
SURE = 0.12
"""A profile is taken as it is once it is known to this part of what is left."""
DRIFT = 0.03
"""How fast a new level of what is left is taken out of its variance and correlation."""
FORGET = 0.995
"""For the variance and the correlation of what is left."""
SHORTEST = 1e-4
"""Seconds that stand for less."""


class Latency:
    """State: the profile's coefficients and their covariance, the variance and correlation of what is left, the values
    that wait, the excursions."""

    __slots__ = (
        "_at",
        "_before",
        "_count",
        "_covariance", "_drift",
        "_kind",
        "_lags",
        "_last",
        "_profile",
        "_square",
        "_tests",
        "_threshold",
        "_waiting",
    )  # fmt: skip

    def __init__(self, kind: Kind, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._kind = kind
        self._threshold = math.log(length) + SPENT
        known = plain or {}
        spreads = [PRIOR[0], *[PRIOR[1]] * (2 * DAILY), *[PRIOR[2]] * (2 * WEEKLY), PRIOR[3]]
        size = len(spreads)
        self._count: int = known.get("count", 0)
        self._profile: list[float] = list(known.get("profile", [0.0] * size))
        packed = known.get("covariance")
        self._covariance: list[list[float]] = (
            _unpacked(packed, size)
            if packed
            else [[s * s if i == j else 0.0 for j in range(size)] for i, s in enumerate(spreads)]
        )
        # Weight and sum of squares of what is left, and of its products with the one before.
        self._square: list[float] = list(known.get("square", (3.0, 0.27)))
        self._lags: list[float] = list(known.get("lags", (3.0, 0.0)))
        self._last, self._at = known.get("last", (0.0, 0.0))
        self._drift: float = known.get("drift", 0.0)
        self._before: list[float] = list(known.get("before", (0.0, 0.0)))
        self._waiting: list[list[float]] = [list(pair) for pair in known.get("waiting", ())]
        self._tests = Excursions(len(SHIFTS), known.get("tests"))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "kind": self._kind,
            "count": self._count,
            "profile": list(self._profile),
            "covariance": _packed(self._covariance),
            "square": list(self._square),
            "lags": list(self._lags),
            "last": [self._last, self._at],
            "drift": self._drift,
            "before": list(self._before),
            "waiting": [list(pair) for pair in self._waiting],
            "tests": self._tests.plain(),
        }

    def accept(self) -> None:
        """What waits is the new level; the shape of day and week stays."""
        self._level(sum(v - self._at_home(at) for at, v in self._waiting) / len(self._waiting) if self._waiting else 0)
        self._tests.clear()

    @property
    def _sign(self) -> int:
        """More is worse, but for speed."""
        return -1 if self._kind == "speed" else 1

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        return self._scores(seen.at, self._log(seen), 0.0)[0] if self._count >= LEARN else None

    def _log(self, seen: Sample) -> float:
        return round(self._sign * math.log(max(SHORTEST, float(seen.value))), 5)

    def step(self, seen: Sample) -> Alarm | None:
        value = self._log(seen)
        ready = self._count >= LEARN and not seen.calib
        if not self._count:
            self._profile[0] = value
        if not ready:
            self._learn(seen.at, value)
            return None
        scores, off = self._scores(seen.at, value, self._correlation(seen.at))
        self._last, self._at = off, seen.at
        self._tests.add(scores, off, 0.0, seen.at)
        self._waiting.append([float(round(seen.at)), value])
        if len(self._waiting) > DELAY:
            self._learn(*self._waiting.pop(0))
        row = self._tests.highest()
        return self._found(row, seen) if row[0] >= self._threshold else None

    def _scores(self, at: float, value: float, correlation: float) -> tuple[list[float], float]:
        """The log-likelihood ratios of a value, and how far it is off."""
        features = _features(at)
        off = value - _dot(self._profile, features)
        spread = self._square[1] / self._square[0]
        unsure = _dot([_dot(row, features) for row in self._covariance], features)
        # An hour that was never seen may lie as far off as is thought possible.
        doubt = max(0.0, math.sqrt(unsure) - SURE * math.sqrt(spread))
        left, part = off - correlation * self._last, 1 - correlation
        left -= doubt * part
        scale = 1 / (DEGREES * (spread * (1 - correlation * correlation) + unsure * part * part))
        at_home, weight = math.log1p(left * left * scale), (DEGREES + 1) / 2
        scores = []
        for shift in SHIFTS:
            beyond = left - shift * part
            scores.append(weight * (at_home - math.log1p(beyond * beyond * scale)))
        return scores, off

    def _correlation(self, at: float) -> float:
        """Of what is left with what was left before; none after a gap."""
        if not 0 <= at - self._at < DAY / 4:
            return 0.0
        return max(0.0, min(MOST_CORRELATION, self._lags[1] / self._lags[0]))

    def _at_home(self, at: float) -> float:
        return _dot(self._profile, _features(at))

    def _learn(self, at: float, value: float) -> None:
        features = _features(at)
        profile, covariance = self._profile, self._covariance
        off = value - _dot(profile, features)
        spread = self._square[1] / self._square[0]
        along = [_dot(row, features) for row in covariance]
        total = spread + _dot(along, features)
        pull = max(-1.0, min(1.0, HUBER * math.sqrt(total) / abs(off))) if off else 1.0
        gain = [a * pull / total for a in along]
        for i, own in enumerate(along):
            profile[i] += gain[i] * off
            covariance[i] = [
                known - (own * other) * pull / total for known, other in zip(covariance[i], along, strict=True)
            ]
        if self._count >= MEMORY:
            for i in range(len(gain)):
                covariance[i][i] *= 1 + 1 / MEMORY
        self._count += 1
        if self._count > 12:
            self._vary(value - _dot(profile, features), at, spread)
        if self._count <= LEARN or not self._waiting:
            self._last, self._at = value - _dot(profile, features), at

    def _vary(self, off: float, at: float, spread: float) -> None:
        """Learn how much is left, without its spikes, and how much of it stays."""
        kept = max(-3 * math.sqrt(spread), min(3 * math.sqrt(spread), off))
        # A level that has changed for the better, and is still being learned, is no correlation.
        self._drift += (kept - self._drift) * DRIFT
        kept -= self._drift
        square, lags = self._square, self._lags
        fade = FORGET if square[0] > 1 / (1 - FORGET) else 1.0
        square[0], square[1] = square[0] * fade + 1, square[1] * fade + kept * kept
        if 0 <= at - self._before[1] < DAY / 4:
            lags[0], lags[1] = lags[0] * fade + kept * kept, lags[1] * fade + kept * self._before[0]
        self._before = [kept, at]

    def _found(self, row: Row, seen: Sample) -> Alarm:
        unit = "times what is normal at this time of the week" + (" (slower)" if self._kind == "speed" else "")
        evidence = {"normal now": round(math.exp(self._sign * self._at_home(seen.at)), 4)}
        alarm = of_ratios(row, seen, self._threshold, "degraded", unit, evidence)
        self._level(row[2] / row[1])
        return alarm

    def _level(self, by: float) -> None:
        """Armed again on a level that is higher by so much; how sure that is, is learned anew."""
        self._profile[0] += by
        self._covariance[0][0] += 0.05
        self._waiting.clear()
        self._tests.clear()
        self._last = 0.0


def _features(at: float) -> list[float]:
    day, week = 2 * math.pi * (at % DAY) / DAY, 2 * math.pi * (at % WEEK) / WEEK
    one, two = math.sin(day), math.cos(day)
    double, twofold = 2 * one * two, 1 - 2 * one * one
    seven, eight = math.sin(week), math.cos(week)
    # The epoch began on a Thursday.
    weekend = 1.0 if (at // DAY + 3) % 7 >= 5 else 0.0
    daily = (one, two, double, twofold, one * twofold + two * double, two * twofold - one * double)
    return [1.0, *daily, seven, eight, 2 * seven * eight, 1 - 2 * seven * seven, weekend]


def _dot(one: list[float], other: list[float]) -> float:
    total: float = sum(map(mul, one, other))
    return total


def _packed(covariance: list[list[float]]) -> list[float]:
    return [value for i, row in enumerate(covariance) for value in row[: i + 1]]


def _unpacked(packed: list[float], size: int) -> list[list[float]]:
    full = [[0.0] * size for _ in range(size)]
    values = iter(packed)
    for i in range(size):
        for j in range(i + 1):
            full[i][j] = full[j][i] = next(values)
    return full
