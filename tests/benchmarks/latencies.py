"""Generated streams of latencies: a daily and a weekly pattern, noise with memory and tails, and then a change."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.streams import DAY, HOUR, START, Make, Stream, row_of


@dataclass(frozen=True, slots=True)
class Pattern:
    """Seconds to the first token over the week."""

    base: float
    height: float
    """The busiest hour over the quietest one, less 1."""
    peak: float
    """The busiest hour of the day."""
    width: float
    weekend: float
    sigma: float
    memory: float
    spikes: float

    def centre(self, at: float) -> float:
        """What is normal at that time."""
        hour = at % DAY / HOUR
        away = min(abs(hour - self.peak), 24 - abs(hour - self.peak))
        busy = self.height * math.exp(-((away / self.width) ** 2))
        resting = (at // DAY + 3) % 7 >= 5  # the epoch began on a Thursday
        return self.base * (1 + busy * (self.weekend if resting else 1.0))


def pattern(rng: random.Random) -> Pattern:
    return Pattern(
        base=rng.choice((0.25, 0.5, 0.9, 2.0)),
        height=rng.uniform(0.2, 0.6),
        peak=rng.uniform(9, 20),
        width=rng.uniform(3, 6),
        weekend=rng.uniform(0.1, 0.6),
        sigma=rng.uniform(0.25, 0.4),
        memory=rng.choice((0.0, 0.3, 0.3)),
        spikes=rng.choice((0.0, 0.01, 0.01, 0.02)),
    )


Factor = Callable[[int, float], float]
"""What the latency is multiplied with, by `seq` and epoch seconds."""


def latency(
    factor: float | None = None,
    *,
    days: float = 0.0,
    burst: tuple[int, float] = (0, 1.0),
    drift: float = 0.0,
    gaps: float = 0.0,
) -> Make:
    """`factor`: of the change, None for none.  `days` of healthy time (0: drawn).  `burst`: so many slow answers in a
    row now and then, by that factor.  `drift`: the share by which all gets slower over a month.  `gaps`: the chance
    that hours are missing after a value."""

    def make(rng: random.Random, name: str) -> Stream:
        how, spacing = pattern(rng), rng.choice((300.0, 600.0, 900.0, 1800.0))
        calib = rng.choice((7.0, 7.0, 10.0, 14.0))
        healthy = days or (rng.uniform(1, 10) if factor else 14.0)
        at, noise, rows, changed, slow = START + rng.uniform(0, 7) * DAY, 0.0, [], None, 0
        first, turn = at, at + (calib + healthy) * DAY
        while at < turn or (factor and len(rows) - (changed or len(rows)) < 500):
            noise = how.memory * noise + math.sqrt(1 - how.memory**2) * rng.gauss(0, how.sigma)
            value = how.centre(at) * math.exp(noise) * (1 + drift * (at - first) / (30 * DAY))
            value *= rng.uniform(3, 10) if rng.random() < how.spikes else 1.0
            calibrating = at < first + calib * DAY
            if burst[0] and not calibrating and not slow and rng.random() < 1 / 300:
                slow = burst[0]
            if slow:
                slow, value = slow - 1, value * burst[1]
            if factor and at >= turn:
                changed, value = len(rows) if changed is None else changed, value * factor
            rows.append(row_of(name, len(rows), at, "latency", round(value, 4), -1, 0, calibrating, 0.0))
            at += spacing * rng.uniform(0.9, 1.1)
            at += rng.uniform(2, 30) * HOUR if rng.random() < gaps else 0.0
        return Stream(name, "latency", rows, changed, {"sigma": how.sigma, "memory": how.memory, "spacing": spacing})

    return make
