"""Generated streams of what short prompts are answered with first: the token, or the logarithm of its probability.

A model is a list of logits for each prompt; a call moves them by noise that is seldom large, and gives the highest one
(Student's t: batching and kernels; none at all for a provider that is deterministic).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.benchmarks.streams import Make, Runs, Stream, Value, mixed, repeated, runs

Logits = list[list[float]]
Kind = Literal["logprob", "fingerprint"]
Other = Callable[[random.Random, Logits], Logits]
Noise = Callable[[random.Random, int, int], float]
"""How far a logit is off in one call of one item in one run."""
NOISES = (0.0, 0.005, 0.02, 0.05, 0.1)


def model(rng: random.Random, items: int) -> Logits:
    """Prompts of which some are on a border and some are nearly sure."""
    spread = rng.uniform(0.8, 2.0)
    found = [[rng.gauss(0, spread) for _ in range(8)] for _ in range(items)]
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


def usual(rng: random.Random) -> Noise:
    """Small and heavy-tailed, alike for all items."""
    scale = rng.choice(NOISES)
    return lambda rng, item, run: scale * heavy(rng)


def heavy(rng: random.Random, degrees: int = 3) -> float:
    """Student's t."""
    return rng.gauss(0, 1) / math.sqrt(rng.gammavariate(degrees / 2, 2 / degrees))


def says(kind: Kind, logits: Logits, noise: Noise, temperature: float = 0.0) -> Value:
    """The first token of an answer, or the logarithm of its probability."""

    def value(rng: random.Random, item: int, run: int) -> float | str:
        one = [each + noise(rng, item, run) for each in logits[item]]
        total = math.log(sum(math.exp(each) for each in one))
        first = max(range(len(one)), key=one.__getitem__)
        if temperature:
            first = rng.choices(range(len(one)), [math.exp(each / temperature) for each in one])[0]
        return f"tok{first}" if kind == "fingerprint" else min(0.0, round(one[first] - total, 6))

    return value


def drift(
    kind: Kind, other: Other | None, share: float = 1.0, noise: Callable[[random.Random], Noise] = usual, few: int = 0
) -> Make:
    """Drift prompts; then another model answers that share of the calls.  `few`: only so many are asked in a run, in
    turn."""

    def make(rng: random.Random, name: str) -> Stream:
        items = rng.choice((20, 30, 32, 40))
        how = runs(rng, 30 * items, healthy=3000 if other is None else rng.randint(100, 1500), items=items)
        logits, moves = model(rng, items), noise(rng)
        well = says(kind, logits, moves)
        ill = mixed(well, says(kind, other(rng, logits), moves), share) if other else None
        return asked(rng, name, kind, well, ill, how, few)

    return make


def asked(rng: random.Random, name: str, kind: Kind, well: Value, ill: Value | None, how: Runs, few: int = 0) -> Stream:
    """The stream of whole runs, or of runs of `few`."""
    stream = repeated(rng, name, kind, well, ill, how)
    if few:
        for row in stream.observations:
            row["run"] = row["seq"] // few
    return stream


def twin(rng: random.Random) -> Noise:
    """Two back ends, of which each call meets one: their kernels differ by a little that is always the same."""
    scale, apart, part = rng.choice(NOISES), rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.5)
    state: dict[str, Any] = {"call": None, "turn": 0}
    ways = random.Random(rng.random())

    def noise(rng: random.Random, item: int, run: int) -> float:
        # Eight logits a call.
        state["turn"] = (state["turn"] + 1) % 8
        if state["turn"] == 1:
            state["second"] = rng.random() < part
        side = random.Random(f"{item}/{state['turn']}/{seed}").gauss(0, apart) if state["second"] else 0.0
        return scale * heavy(rng) + side

    seed = ways.random()
    return noise


def turns(share: float) -> Callable[[random.Random], Noise]:
    """Two back ends, of which each whole run meets one."""

    def made(rng: random.Random) -> Noise:
        scale, apart, seed = rng.choice(NOISES), rng.uniform(0.05, 0.5), rng.random()
        place = [0]

        def noise(rng: random.Random, item: int, run: int) -> float:
            place[0] = (place[0] + 1) % 8
            second = random.Random(f"{run}/{seed}").random() < share
            side = random.Random(f"{item}/{place[0]}/{seed}").gauss(0, apart) if second else 0.0
            return scale * heavy(rng) + side

        return noise

    return made


def lasting(memory: float) -> Callable[[random.Random], Noise]:
    """Noise that remembers: each item's moves on from where it was."""

    def made(rng: random.Random) -> Noise:
        scale, last, place = rng.choice(NOISES[1:]), {}, [0]

        def noise(rng: random.Random, item: int, run: int) -> float:
            place[0] = (place[0] + 1) % 8
            key = (item, place[0])
            before = last.get(key, 0.0)
            last[key] = memory * before + math.sqrt(1 - memory**2) * scale * rng.gauss(0, 1)
            return last[key]

        return noise

    return made


def wild(rng: random.Random) -> Noise:
    """Heavier tails still, and items that vary more than others."""
    scale = rng.choice(NOISES[1:])
    own = [scale * rng.uniform(0.2, 3) for _ in range(60)]
    return lambda rng, item, run: own[item] * heavy(rng, 2)


def coarse(make: Make, step: float) -> Make:
    """The same stream, told coarsely."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        for row in stream.observations:
            row["value"] = min(0.0, round(round(row["value"] / step) * step, 6))
        return stream

    return made


def sampled(rng: random.Random, name: str) -> Stream:
    """A provider that has only one temperature, and draws."""
    items = rng.choice((20, 30, 40))
    how = runs(rng, 0, healthy=3000, items=items)
    return repeated(rng, name, "logprob", says("logprob", model(rng, items), usual(rng), 1.0), None, how)


def bad_batch(rng: random.Random, name: str) -> Stream:
    """One run that something else answered."""
    items = rng.choice((20, 30, 40))
    how = runs(rng, 0, healthy=2000, items=items)
    logits, noise = model(rng, items), usual(rng)
    well, ill = says("logprob", logits, noise), says("logprob", another(rng, logits), noise)
    bad = how.length.calib + rng.randint(2, how.length.healthy - 2)
    return repeated(rng, name, "logprob", lambda r, item, run: (ill if run == bad else well)(r, item, run), None, how)


def never_moving(other: Sequence[float]) -> Make:
    """A provider that says the same number each time, and then another one of two."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 600, healthy=3000 if not other else None)
        well = [round(-rng.expovariate(1.5), 6) for _ in range(how.items)]
        ill = [round(min(0.0, one - rng.choice((-1, 1)) * rng.choice(other)), 6) for one in well] if other else well
        changes: Value | None = (lambda rng, item, run: ill[item]) if other else None
        return repeated(rng, name, "logprob", lambda rng, item, run: well[item], changes, how)

    return make
