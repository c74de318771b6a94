"""Quality and failures of one-shot calls: values between 0 and 1 whose mean must not fall.

The ratio of a value x is that of a bet on it, 1 + b (p - x), where p is what is normal: for right and wrong it is the
likelihood ratio of a lower share, and for anything between it is fair too, whatever the distribution (Waudby-Smith and
Ramdas 2024, "Estimating means of bounded random variables by betting").  Failures are looked at from the other side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.detectors.alarms import of_shares
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.sample import Alarm, Kind, Sample

LOSSES = {"quality": (0.12, 0.25, 0.4, 0.6, 0.8), "errors": (0.08, 0.2, 0.45, 0.85)}
"""The alternatives: this part of the good answers is gone."""
SPENT = {"quality": -0.8, "errors": -0.9}
"""What is added to log(N) for the threshold, found by simulation (tests/benchmarks/detection.py)."""
LEARN = 40
"""Values that must be known before an alarm, where nobody said that all was well."""
DELAY = 80
"""Values that wait before they count as normal: what is about to be found out must not be learned."""
MEMORY = 2000.0
"""Values after which an older one has lost most of its weight: what changed slowly and was borne is normal."""
CAUTION = 0.7
"""Standard errors by which the normal share is taken lower than it was seen."""
NEAR = 0.05
"""The weight of a value in the mean of those just before, about which their correlation is taken: so a level that has
changed is no correlation."""
UNSURE = 1.0
"""Standard errors that are taken off the correlation of a value with the one before.  What repeats the one before says
less than what stands alone: values count (1 - r) / (1 + r)."""
SURE = {"quality": 0.985, "errors": 0.99}
"""No share is taken to be higher: a bet on certainty loses everything at the first slip."""


class Shares:
    """State: the sum and number of normal values, those that wait, the excursions."""

    __slots__ = (
        "_bets",
        "_count",
        "_kind",
        "_lags",
        "_last",
        "_near",
        "_normal",
        "_tests",
        "_threshold",
        "_total",
        "_waiting",
        "_worth",
    )

    def __init__(self, kind: Kind, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._kind: Kind = kind
        self._threshold = math.log(length) + SPENT[kind]
        known = plain or {}
        self._total: float = known.get("total", 0.0)
        self._count: float = known.get("count", 0.0)
        self._waiting: list[float] = list(known.get("waiting", ()))
        self._tests = Excursions(len(LOSSES[kind]), known.get("tests"))
        self._lags: list[float] = list(known.get("lags", (0.0, 0.0)))
        self._last: float = known.get("last", 0.0)
        self._near: float = known.get("near", 0.0)
        self._normal = 0.0
        self._worth = 1.0
        self._bets: list[float] = []
        self._settle()

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        tests = self._tests.plain()
        return {
            "kind": self._kind,
            "total": self._total,
            "count": self._count,
            "lags": list(self._lags),
            "last": self._last,
            "near": self._near,
            "waiting": list(self._waiting),
            "tests": tests,
        }

    def accept(self) -> None:
        """Forget what was normal."""
        self._total = self._count = 0.0
        self._waiting.clear()
        self._tests.clear()
        self._settle()

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        return None if self._count < LEARN else self._scores(self._good(seen))

    def _good(self, seen: Sample) -> float:
        return float(seen.value) if self._kind == "quality" else 1.0 - float(seen.value)

    def _scores(self, good: float) -> list[float]:
        return [self._worth * math.log1p(bet * (self._normal - good)) for bet in self._bets]

    def step(self, seen: Sample) -> Alarm | None:
        good = self._good(seen)
        if seen.calib or self._count < LEARN:
            self._learn(good)
            return None
        self._tests.add(self._scores(good), good, self._normal, seen.at)
        self._waiting.append(good)
        if len(self._waiting) > DELAY:
            self._learn(self._waiting.pop(0))
        row = self._tests.highest()
        if row[0] < self._threshold:
            return None
        if row[2] * self._count >= self._total * row[1]:
            # As good as ever: where nearly nothing is right, nothing can be lost.
            self._tests.clear()
            return None
        return self._found(row, seen)

    def _found(self, row: Row, seen: Sample) -> Alarm:
        quality = self._kind == "quality"
        alarm = of_shares(
            row,
            seen,
            self._threshold,
            "degraded",
            "share of right answers" if quality else "share of failed calls",
            {"baseline values": round(self._count)},
            before=self._total / self._count,
            turned=not quality,
        )
        # Armed again on what it has become: the values since the change are the first of the new normal.
        self._total, self._count = row[2], float(row[1])
        self._waiting.clear()
        self._tests.clear()
        self._settle()
        return alarm

    def _learn(self, good: float) -> None:
        if self._count >= MEMORY:
            self._total *= 1 - 1 / MEMORY
            self._count *= 1 - 1 / MEMORY
            self._lags = [part * (1 - 1 / MEMORY) for part in self._lags]
        if self._count:
            off = good - self._near
            self._near += off * NEAR
            self._lags = [self._lags[0] + off * off, self._lags[1] + off * self._last]
            self._last = off
        else:
            self._near, self._last = good, 0.0
        self._total += good
        self._count += 1
        self._settle()

    def _settle(self) -> None:
        """What is normal, with the bets of the alternatives, from what was learned."""
        share = (self._total + 0.5) / (self._count + 1)
        share -= CAUTION * math.sqrt(share * (1 - share) / (self._count + 1))
        self._normal = normal = min(SURE[self._kind], max(0.02, share))
        square, lag = self._lags
        memory = lag / square - UNSURE / math.sqrt(self._count + 1) if square else 0.0
        self._worth = (1 - min(0.8, memory)) / (1 + min(0.8, memory)) if memory > 0 else 1.0
        self._bets = [loss / (1 - normal) for loss in LOSSES[self._kind]]
