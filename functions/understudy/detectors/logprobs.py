"""Probabilities of the first tokens of short fixed prompts: any lasting change counts.

Each prompt is its own baseline.  What is compared is the logarithm of the odds of the token, whose noise is about as
large for a token that is nearly sure as for one among many.  Another model moves some prompts up and others down, so
no common shift is looked for: values far from what is normal, and values that are again where they were lately.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.detectors.alarms import of_distances
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.packing import packed, unpacked
from understudy.detectors.sample import Alarm, Sample

SWAPS = (0.15, 0.35, 0.7)
"""The alternatives: this part of the answers comes from another model."""
SPENT = 0.9
LEARN = 3
"""Answers to a prompt before it counts."""
MEMORY = 60.0
DELAY = 4
"""Answers to a prompt that wait before they count as normal."""
MOST = 60
"""Prompts of one stream; more are left out, or the state would not fit."""
LEAST = -20.0
"""The lowest logarithm of a probability that is told from lower ones."""
COARSE = 0.02
"""The part by which a probability may miss 1 without meaning anything: providers round."""
FINEST = 0.01
"""No prompt is taken to vary less than this."""
PRIOR = 2.0
"""Answers that what is known of all prompts' variation counts for, beside those of the one prompt."""
DEGREES = 4.0
"""Of Student's t: batches and kernels now and then move a value far."""
AFAR = (2.5, 8.0)
"""How much wider than usual values spread that are of another model."""
FIRM = (0.03, 10.0)
"""What part of a steady model's values is that far off, before any was seen, and how firmly that is believed."""
RARE, COMMON = 0.003, 0.3
LATELY = 0.8
MOST_LATELY = 2.0
"""What one value can say by being like the latest ones: a prompt that changes alone is no other model."""
CAUTION = 0.3
"""Spreads by which the latest values may be elsewhere without meaning anything."""
WILD = 3
"""Values that it takes to pass the threshold, however far off they are."""
TIES = (0.3, 40.0, 0.85)
"""How much of what moves a value is taken to move the next one too, before any was seen, and how firmly that is
believed; the most that is believed."""
POOL = 500.0
"""Values, or runs, that what is known of all prompts is made of, at most."""
ODD_RUNS = 0.2
"""Runs that argued for a change in vain, before any was seen; as rare as makes one worth half an alarm."""


class Logprobs:
    """State: of each prompt the number, mean and variation of its values and the last ones, which wait; of all prompts
    the pooled variation, how many values are far off, and the memory of their noise; the excursions."""

    __slots__ = ("_far", "_items", "_odd", "_pool", "_run", "_tests", "_threshold", "_ties")

    def __init__(self, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._threshold = math.log(length) + SPENT
        known = plain or {}
        self._items: dict[int, list[float]] = unpacked(known.get("items", ""))
        self._pool: list[float] = list(known.get("pool", (0.0, 0.0)))
        self._far: list[float] = list(known.get("far", (0.0, 0.0)))
        self._ties: list[float] = list(known.get("ties", (0.0, 0.0)))
        # Runs; those that argued for a change in vain; those of which that is not known yet.
        self._odd: list[float] = list(known.get("odd", (0.0, 0.0, 0.0)))
        # The number of the run under way, when it began, and what was argued for until then.
        self._run: list[float] = list(known.get("run", (-1, 0.0, *(0.0,) * (len(SWAPS) + 1))))
        self._tests = Excursions(len(SWAPS) + 1, known.get("tests"))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        known = {name: list(getattr(self, f"_{name}")) for name in ("pool", "far", "ties", "odd", "run")}
        return {"kind": "logprob", "items": packed(self._items), **known, "tests": self._tests.plain()}

    def accept(self) -> None:
        """Forget what was normal of every prompt, not how much it varies."""
        self._items.clear()
        self._tests.clear()

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        known = self._items.get(seen.item)
        return self._scores(known, log_odds(float(seen.value)))[0] if known and known[0] >= LEARN else None

    def step(self, seen: Sample) -> Alarm | None:
        value, known = log_odds(float(seen.value)), self._items.get(seen.item)
        if seen.run != self._run[0]:
            self._next_run(seen)
        if known is None:
            if len(self._items) < MOST:
                self._items[seen.item] = [1.0, value, 0.0]
            return None
        ready = known[0] >= LEARN and not seen.calib
        if not ready:
            self._learn(known, [*known[3:], value])
            del known[3:]
            return None
        scores, off, usual = self._scores(known, value)
        known.append(value)
        if len(known) > 3 + DELAY:
            self._learn_ties(known)
            self._learn(known, [known.pop(3)])
        self._tests.add(scores, off, usual, seen.at)
        if seen.item >= 0:
            self._limit()
        row = self._tests.highest()
        if row[0] < self._threshold or (seen.item >= 0 and row[5] >= self._run[1]):
            return None
        return self._found(row, seen)

    def _next_run(self, seen: Sample) -> None:
        gained = max(row[0] - before for row, before in zip(self._tests.rows, self._run[2:], strict=True))
        odd = self._odd
        _faded(odd)
        odd[0] += 1
        odd[2] += gained >= self._threshold / 6
        if odd[2] and self._tests.highest()[0] < 1:
            odd[1], odd[2] = odd[1] + odd[2], 0.0
        self._run = [seen.run, seen.at, *(row[0] for row in self._tests.rows)]

    def _limit(self) -> None:
        """One run alone may be a bad run, or one that another back end answered: it argues for half an alarm at most,
        and for less the more often there was one."""
        half = self._threshold / 2
        most = min(half, -math.log((self._odd[1] + ODD_RUNS) / (self._odd[0] + ODD_RUNS * math.exp(half))))
        for row, before in zip(self._tests.rows, self._run[2:], strict=True):
            row[0] = min(row[0], before + most)

    def _spread(self, known: Sequence[float]) -> float:
        pooled = self._pool[1] / self._pool[0] if self._pool[0] else 0.0
        return max(FINEST, math.sqrt((PRIOR * pooled + known[2]) / (PRIOR + known[0] - 1)))

    def _scores(self, known: Sequence[float], value: float) -> tuple[list[float], float, float]:
        """The log-likelihood ratios of a value, how far it is off, and how far it usually is."""
        count, mean, waiting = known[0], known[1], known[3:]
        spread, tie, far = self._spread(known), self._tie(), self._share()
        drawn = mean
        if waiting:
            drawn += tie * max(-3 * spread, min(3 * spread, waiting[-1] - mean))
        wide = spread * math.sqrt(1 + 1 / count)
        near = _density(value - drawn, wide)
        other = sum(_density(value - mean, times * wide) for times in AFAR) / len(AFAR)
        normal = (1 - far) * near + far * other
        most = self._threshold / WILD
        scores = [min(most, math.log(1 - swap + swap * other / normal)) for swap in SWAPS]
        scores.append(self._lately(known, value, spread, far, other))
        return scores, abs(value - mean), 0.8 * spread

    def _lately(self, known: Sequence[float], value: float, spread: float, far: float, other: float) -> float:
        count, mean, waiting = known[0], known[1], known[3:]
        if not waiting:
            return 0.0
        among = len(waiting)
        latest = sum(waiting) / among
        # Where it is known from few answers, the latest ones are some more of them.
        middle = (count * mean + among * latest) / (count + among)
        middle += self._tie() * max(-3 * spread, min(3 * spread, waiting[-1] - middle))
        near = _density(value - middle, spread * math.sqrt(1 + 1 / (count + among)))
        normal = (1 - far) * near + far * other
        # A prompt's mean is not always where most of its values are.
        shift = latest - middle
        latest -= math.copysign(min(abs(shift), CAUTION * spread), shift)
        again = _density(value - latest, spread * math.sqrt(1 + 1 / among))
        return min(MOST_LATELY, math.log(1 - LATELY + LATELY * again / normal))

    def _tie(self) -> float:
        """How much of what moved a value moves the next one of its prompt too."""
        usual, firm, most = TIES
        part = (self._ties[0] - (1 - usual) / 2 * firm) / (self._ties[1] + firm)
        return max(0.0, min(most, 1 + 2 * part))

    def _share(self) -> float:
        """The part of normal values that is far off."""
        return max(RARE, min(COMMON, (self._far[0] + FIRM[0] * FIRM[1]) / (self._far[1] + FIRM[1])))

    def _learn(self, known: list[float], values: Sequence[float]) -> None:
        """More normal values (Welford 1962), with the older ones fading."""
        for value in values:
            if known[0] >= LEARN:
                self._learn_noise(known, value)
            count, mean, variation = known[:3]
            if count >= MEMORY:
                count, variation = MEMORY - 1.0, variation * (1 - 1 / MEMORY)
            off = value - mean
            mean += off / (count + 1)
            add = off * (value - mean)
            known[:3] = count + 1, round(mean, 3), round(variation + add, 4)
            if count >= 2:
                pool = self._pool
                # One wild answer must not make all prompts look wild.
                wild = 25 * pool[1] / pool[0] if pool[0] >= 20 else add
                _faded(pool)
                pool[0] += 1
                pool[1] += min(add, wild)

    def _learn_noise(self, known: Sequence[float], value: float) -> None:
        spread, mean, far = self._spread(known), known[1], self._share()
        wide = spread * math.sqrt(1 + 1 / known[0])
        near = (1 - far) * _density(value - mean, wide)
        other = far * sum(_density(value - mean, times * wide) for times in AFAR) / len(AFAR)
        _faded(self._far, 1)
        self._far[0] += other / (near + other)
        self._far[1] += 1

    def _learn_ties(self, known: Sequence[float]) -> None:
        """By differences, which do not depend on how well the mean is known: independent values give -1/2 for the
        product of two by the square of one, noise that remembers a part t gives -(1 - t)/2."""
        spread, (first, second, third) = self._spread(known), known[3:6]
        one, next_one = (max(-4.0, min(4.0, each / spread)) for each in (second - first, third - second))
        _faded(self._ties, 1)
        self._ties[0] += one * next_one
        self._ties[1] += one * one

    def _found(self, row: Row, seen: Sample) -> Alarm:
        alarm = of_distances(row, seen, self._threshold, {"prompts": len(self._items)})
        for known in self._items.values():
            # Armed again on what they have become.
            known[:] = [1.0, known[-1] if len(known) > 3 else known[1], 0.0]
        self._tests.clear()
        # A change that was none, for all that is known here.
        self._odd[1:] = self._odd[1] + self._odd[2], 0.0
        self._run[2:] = [0.0] * (len(SWAPS) + 1)
        return alarm


def log_odds(logprob: float) -> float:
    """The logarithm of the odds of a token; near 1 it says no more than a coarse provider knows."""
    logprob = max(LEAST, min(0.0, logprob))
    return round(logprob - math.log(1 + COARSE - math.exp(logprob)), 3)


def _density(off: float, spread: float) -> float:
    """Student's t, but for a factor that all share."""
    part = off / spread
    return math.pow(1 + part * part / DEGREES, -(DEGREES + 1) / 2) / spread


def _faded(sums: list[float], counter: int = 0) -> None:
    if sums[counter] >= POOL:
        sums[:] = [each * (1 - 1 / POOL) for each in sums]
