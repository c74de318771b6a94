"""Generated streams of what short prompts are answered with first: the token, or the logarithm of its probability.

A model is a list of logits for each prompt; a call moves them by noise that is seldom large, and gives the highest one
(Student's t: batching and kernels; none at all for a provider that is deterministic).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from tests.benchmarks.streams import Make, Stream, Value, mixed, repeated, runs

Kind = Literal["logprob", "fingerprint"]
Logits = list[list[float]]
Other = Callable[[random.Random, Logits], Logits]
Noise = Callable[[random.Random, int, int], list[float]]
"""How far each logit is off in one call of one item in one run."""
TOKENS = 8
LOUD = (0.0, 0.005, 0.02, 0.05, 0.1)
QUIET = LOUD[:3]


def model(rng: random.Random, items: int) -> Logits:
    """Prompts of which some are on a border and some are nearly sure."""
    spread = rng.uniform(0.8, 2.0)
    found = [[rng.gauss(0, spread) for _ in range(TOKENS)] for _ in range(items)]
    for logits in found:
        if rng.random() < 0.3:
            logits[0] += rng.uniform(2, 8)
    return found


def another(rng: random.Random, logits: Logits) -> Logits:
    """Another model of the same kind: of about half of the prompts the first token is another one."""
    kept = rng.uniform(0.4, 0.8)
    return [[kept * one + math.sqrt(1 - kept**2) * rng.gauss(0, 1.5) for one in each] for each in logits]


def moved(by: float) -> Other:
    """The same model in fewer bits, or after a step of training: every logit moves a little."""
    return lambda rng, logits: [[one + rng.gauss(0, by) for one in each] for each in logits]


def heavy(rng: random.Random, degrees: int = 3) -> float:
    """Student's t."""
    return rng.gauss(0, 1) / math.sqrt(rng.gammavariate(degrees / 2, 2 / degrees))


def usual(rng: random.Random, scales: Sequence[float] = LOUD) -> Noise:
    """Small and heavy-tailed, alike for all items."""
    scale = rng.choice(scales)
    return lambda rng, item, run: [scale * heavy(rng) for _ in range(TOKENS)]


def quiet(rng: random.Random) -> Noise:
    """That of a provider whose batches hardly matter."""
    return usual(rng, QUIET)


def wild(rng: random.Random) -> Noise:
    """Heavier tails still, and items that vary more than others."""
    scale = rng.choice(LOUD[1:])
    own = [scale * rng.uniform(0.2, 3) for _ in range(60)]
    return lambda rng, item, run: [own[item] * heavy(rng, 2) for _ in range(TOKENS)]


def two_ends(part: float | None = None, *, whole_runs: bool = False) -> Callable[[random.Random], Noise]:
    """Two back ends whose kernels differ by a little that is always the same; a call, or a whole run, meets one."""

    def made(rng: random.Random) -> Noise:
        usually, apart, share = usual(rng), rng.uniform(0.05, 0.5), part or rng.uniform(0.1, 0.5)
        side = [[rng.gauss(0, apart) for _ in range(TOKENS)] for _ in range(60)]
        met: dict[int, bool] = {}

        def noise(rng: random.Random, item: int, run: int) -> list[float]:
            second = met.setdefault(run, rng.random() < share) if whole_runs else rng.random() < share
            return [one + second * other for one, other in zip(usually(rng, item, run), side[item], strict=True)]

        return noise

    return made


def lasting(memory: float) -> Callable[[random.Random], Noise]:
    """Noise that remembers: each item's moves on from where it was."""

    def made(rng: random.Random) -> Noise:
        scale, last = math.sqrt(1 - memory**2) * rng.choice(LOUD[1:]), [[0.0] * TOKENS for _ in range(60)]

        def noise(rng: random.Random, item: int, run: int) -> list[float]:
            last[item] = [memory * one + scale * rng.gauss(0, 1) for one in last[item]]
            return last[item]

        return noise

    return made


def says(kind: Kind, logits: Logits, noise: Noise, temperature: float = 0.0) -> Value:
    """The first token of an answer, or the logarithm of its probability."""

    def value(rng: random.Random, item: int, run: int) -> float | str:
        one = [each + off for each, off in zip(logits[item], noise(rng, item, run), strict=True)]
        first = max(range(TOKENS), key=one.__getitem__)
        if temperature:
            first = rng.choices(range(TOKENS), [math.exp(each / temperature) for each in one])[0]
        if kind == "fingerprint":
            return f"tok{first}"
        return min(0.0, round(one[first] - math.log(sum(math.exp(each) for each in one)), 6))

    return value


def drift(
    kind: Kind,
    other: Other | None,
    share: float = 1.0,
    noise: Callable[[random.Random], Noise] = usual,
    *,
    few: int = 0,
    temperature: float = 0.0,
) -> Make:
    """Drift prompts; then another model answers that share of the calls.  `few`: a run is of so many, in turn."""

    def make(rng: random.Random, name: str) -> Stream:
        items = rng.choice((20, 30, 32, 40))
        how = runs(rng, 30 * items, healthy=3000 if other is None else rng.randint(100, 1500), items=items)
        logits, moves = model(rng, items), noise(rng)
        well = says(kind, logits, moves, temperature)
        ill = mixed(well, says(kind, other(rng, logits), moves, temperature), share) if other else None
        stream = repeated(rng, name, kind, well, ill, how)
        if few:
            for row in stream.observations:
                row["run"] = row["seq"] // few
        return stream

    return make


def coarse(make: Make, step: float) -> Make:
    """The same stream, told coarsely."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        rows = [row | {"value": min(0.0, round(round(row["value"] / step) * step, 6))} for row in stream.observations]
        return replace(stream, observations=rows)

    return made


def bad_batch(rng: random.Random, name: str) -> Stream:
    """One run that something else answered."""
    items = rng.choice((20, 30, 40))
    how = runs(rng, 0, healthy=2000, items=items)
    logits, noise = model(rng, items), usual(rng)
    well, ill = says("logprob", logits, noise), says("logprob", another(rng, logits), noise)
    bad = how.length.calib + rng.randint(2, how.length.healthy - 2)
    return repeated(rng, name, "logprob", lambda r, item, run: (ill if run == bad else well)(r, item, run), None, how)


def never_moving(by: float) -> Make:
    """A provider that says the same number each time; then one that is off by `by` and as constant, if not 0."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 600, healthy=None if by else 3000)
        well = [round(-rng.expovariate(1.5), 6) for _ in range(how.items)]
        ill = [round(min(0.0, one + rng.choice((-by, by))), 6) for one in well]
        changes: Value | None = (lambda rng, item, run: ill[item]) if by else None
        return repeated(rng, name, "logprob", lambda rng, item, run: well[item], changes, how)

    return make
