"""Generated streams of first output tokens, and a swapped model behind them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.benchmarks.streams import Make, Stream, Value, mixed, repeated, runs

WORDS = [f"tok{number}" for number in range(400)]


def first_tokens(rng: random.Random, items: int, loose: float) -> list[dict[str, float]]:
    """What each item's answer begins with: mostly one token; a share `loose` of the items has two to four."""
    found = []
    for _ in range(items):
        words = rng.sample(WORDS, rng.randint(2, 4))
        weights = [1.0, rng.uniform(0, 0.01), 0, 0]
        if rng.random() < loose:
            weights = [rng.uniform(0.4, 0.9), *(rng.uniform(0.02, 0.4) for _ in range(3))]
        found.append(dict(zip(words, weights, strict=False)))
    return found


def swapped(rng: random.Random, tokens: Sequence[dict[str, float]], share: float) -> list[dict[str, float]]:
    """Another model's: a share of the items begins mostly with another token, one seldom seen or never."""
    found = [dict(one) for one in tokens]
    for item in rng.sample(range(len(found)), max(1, round(share * len(found)))):
        ranked = sorted(found[item], key=found[item].__getitem__)
        word = rng.choice((ranked[0], rng.choice(WORDS)))
        found[item] = {ranked[-1]: rng.uniform(0, 0.2), word: 1.0} if word != ranked[-1] else {WORDS[0]: 1.0}
    return found


def says(tokens: Sequence[dict[str, float]]) -> Value:
    return lambda rng, item, run: rng.choices(list(tokens[item]), list(tokens[item].values()))[0]


def fingerprints(low: float | None, high: float = 0.0, share: float = 1.0, sizes: Sequence[int] = (20, 30, 40)) -> Make:
    """First tokens; then a model that differs in `low` to `high` of the items answers that share of the calls."""

    def make(rng: random.Random, name: str) -> Stream:
        items = rng.choice(sizes)
        how = runs(rng, 12 * items, healthy=3000 if low is None else rng.randint(100, 1500), items=items)
        tokens = first_tokens(rng, items, rng.uniform(0.05, 0.4))
        if low is None:
            return repeated(rng, name, "fingerprint", says(tokens), None, how)
        other = swapped(rng, tokens, rng.uniform(low, high))
        return repeated(rng, name, "fingerprint", says(tokens), mixed(says(tokens), says(other), share), how)

    return make
