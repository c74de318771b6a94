"""Tokens and cost of a call: amounts whose ratio to what is normal must not change.

The logarithm of an amount is compared with its own question's, or with all of a one-shot stream.  How much it varies is
only known from a few answers, so the ratios are those of Student's t, which also keeps one odd answer from meaning
much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.detectors.alarms import of_ratios
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.packing import packed, unpacked
from understudy.detectors.sample import Alarm, Kind, Sample, Verdict

SHIFTS = {"tokens": (0.03, -0.03, 0.08, -0.08, 0.25, -0.25, 0.7, -0.7), "cost": (0.05, 0.1, 0.25, 0.7)}
"""The alternatives for repeated questions: shifts of the logarithm."""
STEPS = {"tokens": (0.4, -0.4, 0.9, -0.9), "cost": (0.35, 0.7, 1.4)}
"""The alternatives for one-shot calls, in standard deviations: they differ by what was asked."""
BROKEN_OFF = -0.35
"""The logarithm below which the answers of a run on average are so short that the run may be a bad one."""
WILD = 3
"""Values that it takes to pass the threshold, however far off they are: one wild answer is not a change."""
SPENT = {"tokens": -0.3, "cost": 0.0}
SPENT_ONCE = 0.7
CAUTION = 0.8
"""Standard errors of a one-shot stream's mean that a value may be off without meaning anything."""
LEARN = 3
LEARN_ONCE = 60
MOST = 72
"""Questions of one stream; more are left out, or the state would not fit."""
MEMORY = 60.0
MEMORY_ONCE = 2000.0
DELAY = (64, 2)
"""Values that wait before they count as normal: of one-shot calls, and of a question."""
PRIOR = 1.0
"""Answers that what is known of all questions' variation counts for, beside those of the one question."""
FINEST = 0.01
"""No question is taken to vary less than this part; nor less than half a token."""
LEAST = {"tokens": 0.5, "cost": 1e-9}
"""What stands for nothing: it has no logarithm."""
MOST_DEGREES = 30.0


class Amounts:
    """State: of each question the number, mean and variation of its logarithms and the last one, which waits; the same
    of all one-shot calls; the pooled variation; the excursions."""

    __slots__ = ("_items", "_kind", "_once", "_pool", "_run", "_shifts", "_tests", "_threshold", "_waiting")

    def __init__(self, kind: Kind, length: float, *, once: bool, plain: Mapping[str, Any] | None = None) -> None:
        self._kind, self._once = kind, once
        self._threshold = math.log(length) + (SPENT_ONCE if once else SPENT[kind])
        self._shifts = (STEPS if once else SHIFTS)[kind]
        known = plain or {}
        self._items: dict[int, list[float]] = unpacked(known.get("items", ""))
        self._pool: list[float] = list(known.get("pool", (0.0, 0.0)))
        # The number of the run under way, and when it began.
        self._run: list[float] = list(known.get("run", (-1, 0.0)))
        self._waiting: list[float] = list(known.get("waiting", ()))
        self._tests = Excursions(len(self._shifts), known.get("tests"))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        waiting, tests = list(self._waiting), self._tests.plain()
        kept = {"items": packed(self._items), "pool": list(self._pool), "run": list(self._run)}
        return kept | {"waiting": waiting, "tests": tests}

    def accept(self) -> None:
        """Forget what was normal, not how much it varies."""
        self._items.clear()
        self._waiting.clear()
        self._tests.clear()

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        known = self._items.get(seen.item)
        if known is None or known[0] < (LEARN_ONCE if self._once else LEARN):
            return None
        return self._scores(known, self._log(seen))[0]

    def _log(self, seen: Sample) -> float:
        return round(math.log(max(LEAST[self._kind], float(seen.value))), 3)

    def step(self, seen: Sample) -> Alarm | None:
        if not seen.value:
            # An empty answer is absent: a matter of availability.
            return None
        value, known = self._log(seen), self._items.get(seen.item)
        if known is None:
            if len(self._items) < MOST:
                self._items[seen.item] = [1.0, value, 0.0]
            return None
        if self._once:
            return self._step_once(known, value, seen)
        if seen.run != self._run[0]:
            if self._broken_off(self._tests.highest()):
                self._tests.cap(self._threshold / 2)
            self._run = [seen.run, seen.at]
        ready = known[0] >= LEARN and not seen.calib
        scores, off = self._scores(known, value) if ready else ((), 0.0)
        known.append(value)
        if not ready or len(known) > 3 + DELAY[1]:
            # While a question is being learned nothing waits.
            self._learn(known, known.pop(3))
        if not ready:
            return None
        self._tests.add(scores, off, 0.0, seen.at)
        row = self._tests.highest()
        if row[0] < self._threshold or self._broken_off(row):
            return None
        return self._found(row, seen)

    def _broken_off(self, row: Row) -> bool:
        """Whether it may be no more than a run whose answers broke off; the next one says."""
        return row[5] >= self._run[1] and row[2] < BROKEN_OFF * row[1]

    def _step_once(self, known: list[float], value: float, seen: Sample) -> Alarm | None:
        if seen.calib or known[0] < LEARN_ONCE:
            self._learn(known, value)
            return None
        scores, off = self._scores(known, value)
        self._tests.add(scores, off, 0.0, seen.at)
        self._waiting.append(value)
        if len(self._waiting) > DELAY[0]:
            self._learn(known, self._waiting.pop(0))
        row = self._tests.highest()
        return self._found(row, seen) if row[0] >= self._threshold else None

    def _scores(self, known: list[float], value: float) -> tuple[list[float], float]:
        """The log-likelihood ratios of a value, and how far it is off."""
        count, mean, variation = known[0], known[1], known[2]
        if self._once:
            spread, degrees = math.sqrt(variation / (count - 1)) or FINEST, MOST_DEGREES / 5
            shifts = [step * spread for step in self._shifts]
        else:
            pooled = self._pool[1] / self._pool[0] if self._pool[0] else FINEST**2
            degrees = min(MOST_DEGREES, PRIOR + count - 1)
            spread = math.sqrt((PRIOR * pooled + variation) / (PRIOR + count - 1))
            spread = max(spread, FINEST, 0.5 * math.exp(-mean) if self._kind == "tokens" else 0.0)
            shifts = list(self._shifts)
        off, weight = value - mean, (degrees + 1) / 2
        scale = 1 / (degrees * spread * spread * (1 + 1 / count))
        unsure = CAUTION * spread / math.sqrt(count) if self._once else 0.0
        scores = []
        for shift in shifts:
            left = off - math.copysign(unsure, shift)
            score = weight * (math.log1p(left * left * scale) - math.log1p((left - shift) ** 2 * scale))
            scores.append(min(score, self._threshold / WILD))
        return scores, off

    def _learn(self, known: list[float], value: float) -> None:
        """One more normal value (Welford 1962), with the older ones fading."""
        most = MEMORY_ONCE if self._once else MEMORY
        count, mean, variation = known[0], known[1], known[2]
        if count >= most:
            count, variation = most - 1.0, variation * (1 - 1 / most)
        off = value - mean
        count += 1
        mean += off / count
        add = off * (value - mean)
        known[0], known[1], known[2] = count, round(mean, 4), round(variation + add, 5)
        if not self._once and count > 2:
            # One wild answer must not make all questions look wild.
            wild = 25 * self._pool[1] / self._pool[0] if self._pool[0] >= 20 else add
            pool = self._pool
            if pool[0] >= 500:
                pool[0], pool[1] = pool[0] * 0.998, pool[1] * 0.998
            pool[0] += 1
            pool[1] += min(add, wild)

    def _found(self, row: Row, seen: Sample) -> Alarm:
        verdict: Verdict = "changed" if self._kind == "tokens" else "degraded"
        evidence = {} if self._once else {"questions": len(self._items)}
        alarm = of_ratios(row, seen, self._threshold, verdict, "times what is normal", evidence)
        self._arm_again()
        return alarm

    def _arm_again(self) -> None:
        """The baselines are learned anew; the pooled variation stays what it is."""
        for known in self._items.values():
            known[:] = [1.0, known[-1] if len(known) > 3 else known[1], 0.0]
        self._waiting.clear()
        self._tests.clear()
