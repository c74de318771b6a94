"""Quality of repeated questions: each is its own baseline.

Asked again, almost every question is answered as before: a suite's score varies far less between runs than its share of
right answers would let one think.  So one wrong answer to a question that was always answered rightly says more than
ten to one that is answered now and then.  How rarely a question changes that has not changed in n answers is learned
over all of them: about a / n, where a is small for a steady model (the posterior of a Beta(a, a) prior with small a).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.detectors.alarms import of_shares
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.packing import packed, unpacked
from understudy.detectors.sample import Alarm, Sample

LOSSES = (0.025, 0.07, 0.18, 0.35, 0.6)
"""The alternatives: this part of what was answered rightly is now wrong."""
SPENT = -1.0
LEARN = 3
"""Answers to a question before it counts."""
MEMORY = 60.0
"""Answers to a question after which an older one has begun to lose its weight."""
MOST = (110, 220)
"""Questions of one stream, and of one whose answers are only right or wrong; more are left out, or the state would not
fit."""
DELAY = 2
"""Answers to a question that wait before they count as normal: what is about to be found out must not be learned."""
FIRM = (0.02, 4.0)
"""What is believed of `a` before anything was seen, and how firmly: as if it had been seen in this many chances."""
MIXED = 0.3
"""Weight of the prior's two sides for a question that has been answered both ways."""
FEWEST = (5, 3)
"""Wrong answers without which there is no alarm: within one run, and over several."""
AGAIN = 1.5
WORSE = 0.9
"""Standard errors by which more must be lost than was gained: another model is not always a worse one."""
BURST = (1.0, 1.0, 0.5)
"""How much the first, second, third wrong answer of an unbroken row within a run counts; further ones say nothing new:
what breaks off breaks off once."""
BAD_RUN = (3, 0.38)
"""A run with this many wrong answers that make up more than this part may be a bad run, not a bad model: the next run
must say so too, and nothing is learned from it."""


class Canaries:
    """State: for each question the number and sum of its normal values and the last ones, which wait; the chances and
    changes from which `a` is learned; the run under way; the excursions."""

    __slots__ = (
        "_asked",
        "_chances",
        "_changes",
        "_fine",
        "_items",
        "_missed",
        "_row",
        "_run",
        "_seen",
        "_spared",
        "_tests",
        "_threshold",
    )

    def __init__(self, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._threshold = math.log(length) + SPENT
        known = plain or {}
        self._items: dict[int, list[float]] = unpacked(known.get("items", ""))
        self._chances: float = known.get("chances", 0.0)
        self._changes: float = known.get("changes", 0.0)
        # Its number, its values, those of questions that are answered rightly, the wrong ones, their unbroken row.
        self._run, self._seen, self._asked, self._missed, self._row = known.get("run", (0, 0, 0, 0, 0))
        # How many values on a second bad run is believed: as many as it takes to ask the same questions again.
        self._spared: float = known.get("spared", 0)
        self._fine: bool = known.get("fine", False)
        self._tests = Excursions(len(LOSSES), known.get("tests"))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "items": packed(self._items),
            "chances": self._chances,
            "changes": self._changes,
            "run": [self._run, self._seen, self._asked, self._missed, self._row],
            "spared": self._spared,
            "fine": self._fine,
            "tests": self._tests.plain(),
        }

    def accept(self) -> None:
        """Forget what was normal of every question, not how steady they are."""
        self._items.clear()
        self._tests.clear()
        self._asked = self._missed = self._row = 0

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        known = self._items.get(seen.item)
        return _scores(float(seen.value), self._normal(known)) if known and known[0] >= LEARN else None

    def step(self, seen: Sample) -> Alarm | None:
        value, known = self._graded(float(seen.value)), self._items.get(seen.item)
        if known is None:
            if len(self._items) < MOST[not self._fine]:
                self._items[seen.item] = [0.0, 0.0, value]
            return None
        if seen.run != self._run:
            self._next_run(seen.run)
        if seen.calib or known[0] < LEARN:
            self._learn(known, known.pop(2) if len(known) > 2 else value)
            known.append(value)
            return None
        if not self._bad_run():
            known.append(value)
            if len(known) > 2 + DELAY:
                self._learn(known, known.pop(2))
        self._seen += 1
        self._spared -= self._spared > 0
        normal = self._normal(known)
        weight = self._weight(value, normal)
        self._tests.add([weight * score for score in _scores(value, normal)], value, normal, seen.at)
        return self._found(seen)

    def _graded(self, value: float) -> float:
        """Of many questions only right and wrong are kept, since grades take twice the space."""
        if len(self._items) > MOST[0] and not self._fine:
            return float(value >= 0.5)
        self._fine = self._fine or 0.0 < value < 1.0
        return round(value, 3)

    def _weight(self, value: float, normal: float) -> float:
        """What an answer counts within its run."""
        if normal < 0.5:
            return 1.0
        self._asked += 1
        if value > 0.5 * normal:
            self._row = 0
            return 1.0
        self._missed += 1
        self._row += 1
        return BURST[self._row - 1] if self._row <= len(BURST) else 0.0

    def _next_run(self, run: int) -> None:
        if self._bad_run():
            self._spared = AGAIN * len(self._items)
            self._tests.cap(self._threshold / 3)
        self._run = run
        self._seen = self._asked = self._missed = self._row = 0

    def _bad_run(self) -> bool:
        """Whether the run under way may be one; two are no accident."""
        return self._spared <= 0 and bool(self._missed >= BAD_RUN[0] and self._missed > BAD_RUN[1] * self._asked)

    def _found(self, seen: Sample) -> Alarm | None:
        row = self._tests.highest()
        if row[0] < self._threshold or row[3] - row[2] < WORSE * math.sqrt(row[4]):
            return None
        # What was lost and what was gained, from their difference and their squares.
        lost = (row[4] + row[3] - row[2]) / 2
        if self._bad_run() or lost < FEWEST[row[1] > self._seen] - 0.5:
            return None
        return self._alarm(row, seen)

    def _alarm(self, row: Row, seen: Sample) -> Alarm:
        evidence = {"questions": len(self._items), "runs known": round(self._depth(), 1)}
        alarm = of_shares(row, seen, self._threshold, "degraded", "mean value of the same questions", evidence)
        for known in self._items.values():
            # Armed again on what they have become: two answers more and each counts again.
            known[:2] = 0.0, 0.0
        self._tests.clear()
        self._seen = self._asked = self._missed = self._row = 0
        return alarm

    def _depth(self) -> float:
        return sum(known[0] for known in self._items.values()) / len(self._items)

    def _learn(self, known: list[float], value: float) -> None:
        count, total = known[0], known[1]
        if count >= 2 and (total <= 0.0 or total >= count):
            self._chances += 1 / (count + 1)
            self._changes += value > 0 if total <= 0.0 else value < 1
        if count >= MEMORY:
            count, total = count - 1, total * (1 - 1 / MEMORY)
        known[0], known[1] = count + 1, round(total + value, 3)

    def _normal(self, known: list[float]) -> float:
        count, total = known[0], known[1]
        if 0.0 < total < count:
            return (total + MIXED) / (count + 2 * MIXED)
        steadiness = (self._changes + FIRM[0] * FIRM[1]) / (self._chances + FIRM[1])
        slip = max(0.0005, min(0.3, steadiness / (count + 1)))
        return 1 - slip if total > 0 else slip


def _scores(value: float, normal: float) -> list[float]:
    """Log-likelihood ratios; each bets as if that part of the right answers were gone."""
    return [math.log1p(loss / (1 - normal) * (normal - value)) for loss in LOSSES]
