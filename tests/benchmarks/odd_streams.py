"""Streams as they are met beside the textbook's: no calibration, sets that change, caches, caps, blips, second changes.

They have no bars of their own but those for all: found in at least 95 %, and hardly a false alarm.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from tests.benchmarks.first_logprobs import (
    another,
    bad_batch,
    coarse,
    drift,
    lasting,
    moved,
    never_moving,
    two_ends,
    wild,
)
from tests.benchmarks.first_tokens import fingerprints, first_tokens, says
from tests.benchmarks.latencies import latency
from tests.benchmarks.streams import (
    Length,
    Make,
    Scenario,
    Stream,
    Value,
    by_item,
    canaries,
    errors,
    item_shares,
    item_tokens,
    one_shot,
    quality_drop,
    repeated,
    right,
    runs,
    sticky,
    weaker,
)


def uncalibrated(make: Make, kept: int = 0) -> Make:
    """The same stream, of whose calibration only the first `kept` are there; the rest, as far as it is needed to know
    what is normal, is there without its mark."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        rows = [row | {"calib": row["seq"] < kept} for row in stream.observations]
        return replace(stream, observations=rows)

    return made


def without_calibration(make: Make, kept: int) -> Make:
    """The same stream, whose calibration ends after `kept` observations; the others of it were never made."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        calib = sum(row["calib"] for row in stream.observations)
        left = stream.observations[:kept] + stream.observations[calib:]
        rows = [row | {"seq": seq} for seq, row in enumerate(left)]
        changed = None if stream.changed is None else stream.changed - max(0, calib - kept)
        return replace(stream, observations=rows, changed=changed)

    return made


def thinned(make: Make, runs_lost: float, answers_lost: float) -> Make:
    """The same stream, of which after its calibration many runs and many answers are absent."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        lost = {run for run in {row["run"] for row in stream.observations} if rng.random() < runs_lost}
        rows, changed = [], None
        for row in stream.observations:
            if not row["calib"] and (row["run"] in lost or rng.random() < answers_lost):
                continue
            if changed is None and stream.changed is not None and row["seq"] >= stream.changed:
                changed = len(rows)
            rows.append(row | {"seq": len(rows)})
        return replace(stream, observations=rows, changed=changed)

    return made


def rounded(make: Make, step: float) -> Make:
    """The same stream, measured coarsely."""

    def made(rng: random.Random, name: str) -> Stream:
        stream = make(rng, name)
        rows = [row | {"value": max(step, round(row["value"] / step) * step)} for row in stream.observations]
        return replace(stream, observations=rows)

    return made


def new_items(after: float | None) -> Make:
    """Canaries of which a third is replaced by others, with other numbers, long before the change."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=2000)
        old, new = item_shares(rng, how.items, 0.86), item_shares(rng, how.items, 0.86)
        turn, moved = how.length.calib + how.length.healthy // 2, set(range(0, how.items, 3))
        worse = (weaker(rng, old, after), weaker(rng, new, after)) if after else (old, new)

        def of(kept: list[float], fresh: list[float]) -> Value:
            return lambda rng, item, run: by_item(fresh if run >= turn and item in moved else kept)(rng, item, run)

        stream = repeated(rng, name, "quality", of(old, new), of(*worse) if after else None, how)
        for row in stream.observations:
            if row["run"] >= turn and row["item"] in moved:
                row["item"] += 1000
        return stream

    return make


def tokens_of(change: Callable[[int, float], float] | None, special: Callable[[random.Random, float], float]) -> Make:
    """Tokens of repeated items; `change` says what becomes of an item's, `special` what happens now and then."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=3000 if change is None else None)
        usual = item_tokens(rng, how.items)(1.0)

        def before(rng: random.Random, item: int, run: int) -> float:
            return float(round(special(rng, float(usual(rng, item, run)))))

        def after(rng: random.Random, item: int, run: int) -> float:
            assert change is not None
            return float(round(special(rng, change(item, float(usual(rng, item, run))))))

        return repeated(rng, name, "tokens", before, after if change else None, how)

    return make


def constant_tokens(factor: float | None) -> Make:
    """Items that are always answered with the same number of tokens."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 800, healthy=3000 if factor is None else None)
        sizes = [float(max(2, round(rng.lognormvariate(4.6, 1.0)))) for _ in range(how.items)]
        after = [float(round(size * (factor or 1))) for size in sizes]
        changes: Value | None = (lambda rng, item, run: after[item]) if factor else None
        return repeated(rng, name, "tokens", lambda rng, item, run: sizes[item], changes, how)

    return make


def aborted(kind: Literal["tokens", "cost", "fingerprint"]) -> Make:
    """One run of aborted answers, as the other kinds see it: nothing, or the few tokens of an excuse."""

    def make(rng: random.Random, name: str) -> Stream:
        how = replace(runs(rng, 0, healthy=1600), lost=0.0)
        usual = item_tokens(rng, how.items)(1.0)
        if kind == "fingerprint":
            usual = says(first_tokens(rng, how.items, 0.1))
        bad, share = how.length.calib + rng.randint(2, how.length.healthy // 2 + 2), rng.uniform(0.4, 1.0)
        excuse = rng.choice((("", 0.0), ("Sorry", 4.0)))

        def value(rng: random.Random, item: int, run: int) -> float | str:
            found = usual(rng, item, run)
            if run == bad and rng.random() < share:
                found = excuse[0] if kind == "fingerprint" else excuse[1]
            return found if kind != "cost" else 1e-5 * (20 + float(found))

        return repeated(rng, name, kind, value, None, how)

    return make


def cached_cost(factor: float | None) -> Make:
    """Cost of repeated items, a fifth of which is answered from a cache at half the price."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=3000 if factor is None else None)
        tokens, hit = item_tokens(rng, how.items)(1.0), rng.uniform(0.05, 0.3)

        def by(times: float) -> Value:
            def value(rng: random.Random, item: int, run: int) -> float:
                usd = 0.0004 + 1e-5 * float(tokens(rng, item, run))
                return usd * times * (0.5 if rng.random() < hit else 1.0)

            return value

        return repeated(rng, name, "cost", by(1.0), by(factor) if factor else None, how)

    return make


def border_inputs(changes: bool) -> Make:
    """First tokens of prompts chosen so that two or three answers are about as likely; another model leans otherwise,
    mostly among the same tokens."""

    def make(rng: random.Random, name: str) -> Stream:
        items = rng.choice((20, 30, 40))
        how = runs(rng, 15 * items, healthy=3000 if not changes else None, items=items)
        lean = rng.uniform(0.3, 0.7)

        def model() -> list[dict[str, float]]:
            sharp = rng.uniform(0.5, 2.5)
            return [
                {f"tok{n}": rng.expovariate(1) ** sharp for n in range(rng.choice((2, 2, 3)))} for _ in range(items)
            ]

        one, other = model(), model()
        other = [new if rng.random() < lean else old for old, new in zip(one, other, strict=True)]
        return repeated(rng, name, "fingerprint", says(one), says(other) if changes else None, how)

    return make


def noisy_canaries(after: float | None) -> Make:
    """Repeated items that are answered at a high temperature: a quarter of them now so, now otherwise."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=3000 if after is None else None, items=40)
        shares = [rng.uniform(0.3, 0.95) if item % 4 == 0 else 0.99 for item in range(40)]
        other = by_item(weaker(rng, shares, after)) if after else None
        return repeated(rng, name, "quality", by_item(shares), other, how)

    return make


def many_items(rng: random.Random, name: str) -> Stream:
    """A set of 300 items."""
    how = runs(rng, 1200, healthy=1500, items=300)
    shares = item_shares(rng, 300, 0.86)
    return repeated(rng, name, "quality", by_item(shares), by_item(weaker(rng, shares, 0.64)), how)


def two_modes(factor: float | None) -> Make:
    """Latency of calls that do or do not meet a warm cache."""

    def make(rng: random.Random, name: str) -> Stream:
        stream = latency(factor)(rng, name)
        warm, part = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.5)
        for row in stream.observations:
            row["value"] = round(row["value"] * (part if rng.random() < warm else 1.0), 4)
        return stream

    return make


def steady_memory(memory: float) -> Make:
    """Latency whose noise has more memory than usual, and nothing else."""

    def make(rng: random.Random, name: str) -> Stream:
        def value(state: list[float]) -> Value:
            def next_one(rng: random.Random, item: int, run: int) -> float:
                state[0] = memory * state[0] + math.sqrt(1 - memory**2) * rng.gauss(0, 0.3)
                return round(0.8 * math.exp(state[0]), 4)

            return next_one

        return one_shot(rng, name, "latency", value([0.0]), None, Length(1000, 4000, 0), 600.0)

    return make


def constant(kind: str, value: float, after: float | None = None) -> Make:
    """The same value all the time; then another."""

    def make(rng: random.Random, name: str) -> Stream:
        changes: Value | None = (lambda rng, item, run: after) if after is not None else None
        length = Length(200, rng.randint(100, 1500) if changes else 5000, 300)
        return one_shot(rng, name, kind, lambda rng, item, run: value, changes, length)

    return make


def long_quiet(kind: str, value: Value) -> Make:
    """Nothing happens, for long: how often is there an alarm?"""
    return lambda rng, name: one_shot(rng, name, kind, value, None, Length(200, 15_000, 0), 60.0)


def twice(kind: str, good: Callable[[random.Random], Value], bad: Callable[[random.Random], Value]) -> Make:
    """A change, long enough to be noticed, then all is well again for long, then the same change again."""

    def make(rng: random.Random, name: str) -> Stream:
        well, ill = good(rng), bad(rng)
        first = 200 + rng.randint(200, 600)
        again = first + 300
        second = again + rng.randint(600, 1000)
        place = [0]

        def value(rng: random.Random, item: int, run: int) -> float | str:
            place[0] += 1
            return (ill if first < place[0] <= again or place[0] > second else well)(rng, item, run)

        stream = one_shot(rng, name, kind, value, value, Length(200, second - 200, 400))
        return replace(stream, excused=(first, again + 300))

    return make


ODD = (
    Scenario("quality, memory 0.3", quality_drop(0.84, 0.51, lambda share: sticky(share, 0.3))),
    Scenario("uncalibrated quality", uncalibrated(quality_drop(0.84, 0.51))),
    Scenario("uncalibrated canary", uncalibrated(canaries(0.86, 0.64))),
    Scenario("uncalibrated errors", uncalibrated(errors(0.45))),
    Scenario("uncalibrated latency", uncalibrated(latency(1.5))),
    Scenario("uncalibrated swap", uncalibrated(fingerprints(0.3, 0.6)), unit="batches"),
    Scenario("10 calibrated quality", without_calibration(quality_drop(0.84, 0.51), 10)),
    Scenario("10 calibrated errors", without_calibration(errors(0.45), 10)),
    Scenario("50 calibrated latency", without_calibration(latency(1.5), 50)),
    Scenario("new items 86-64", new_items(0.64)),
    Scenario("half is missing 86-64", thinned(canaries(0.86, 0.64), 0.4, 0.3)),
    Scenario("noisy canary 86-64", noisy_canaries(0.64)),
    Scenario("300 items 86-64", many_items),
    Scenario("border inputs, swap", border_inputs(True), bar=5, reference=4, unit="batches"),
    Scenario("tokens, capped x1.1", tokens_of(lambda item, size: size * 1.1, lambda rng, size: min(size, 120.0))),
    Scenario(
        "tokens, 1 in 5 x1.5", tokens_of(lambda item, size: size * 1.5 if item % 5 == 0 else size, lambda rng, s: s)
    ),
    Scenario(
        "tokens, wild x1.1", tokens_of(lambda i, s: s * 1.1, lambda rng, s: s * (3 if rng.random() < 0.01 else 1))
    ),
    Scenario("tokens, zeros x1.1", tokens_of(lambda i, s: s * 1.1, lambda rng, s: 0.0 if rng.random() < 0.03 else s)),
    Scenario("constant tokens x1.03", constant_tokens(1.03)),
    Scenario("cached cost x1.1", cached_cost(1.1)),
    Scenario("coarse latency x1.5", rounded(latency(1.5), 0.25)),
    Scenario("two-mode latency x1.5", two_modes(1.5)),
    Scenario("constant latency x1.5", constant("latency", 0.5, 0.75)),
    Scenario("constant quality 1-0", constant("quality", 1.0, 0.0)),
    Scenario("constant cost x1.1", constant("cost", 0.01, 0.011)),
    Scenario("all fail", constant("errors", 0.0, 1.0)),
    Scenario("quality twice", twice("quality", lambda rng: right(0.84), lambda rng: right(0.35))),
    Scenario("outage twice", twice("errors", lambda rng: right(0.01), lambda rng: right(0.85))),
    Scenario("logprob, swap, 3 a run", drift("logprob", another, few=3), unit="batches"),
    Scenario("swap, 3 a run", drift("fingerprint", another, few=3), unit="batches"),
    Scenario("logprob, coarse, fewer bits", coarse(drift("logprob", moved(0.3)), 0.01), unit="batches"),
    Scenario("uncalibrated logprob, swap", uncalibrated(drift("logprob", another)), unit="batches"),
    Scenario("constant logprob +-0.05", never_moving(0.05), unit="batches"),
)
ODD_QUIET = (
    Scenario("quality with memory", long_quiet("quality", sticky(0.84, 0.3)), "no change"),
    Scenario("quality 84 %, long", long_quiet("quality", right(0.84)), "no change"),
    Scenario("quality 98 %, long", long_quiet("quality", right(0.98)), "no change"),
    Scenario("quality 30 %, long", long_quiet("quality", right(0.30)), "no change"),
    Scenario("errors 0.2 %, long", long_quiet("errors", right(0.002)), "no change"),
    Scenario("errors 3 %, long", long_quiet("errors", right(0.03)), "no change"),
    Scenario("errors 20 %, long", long_quiet("errors", right(0.20)), "no change"),
    Scenario("new items", new_items(None), "no change"),
    Scenario("half is missing", thinned(canaries(0.86, None), 0.4, 0.3), "no change"),
    Scenario("noisy canary", noisy_canaries(None), "no change"),
    Scenario("border inputs", border_inputs(False), "no change"),
    Scenario("uncalibrated canary st.", uncalibrated(canaries(0.86, None)), "no change"),
    Scenario("uncalibrated latency st.", uncalibrated(latency()), "no change"),
    Scenario("logprob, heavy tails", drift("logprob", None, noise=wild), "no change"),
    Scenario("logprob, two back ends", drift("logprob", None, noise=two_ends()), "no change"),
    Scenario("logprob, back end a run", drift("logprob", None, noise=two_ends(0.1, whole_runs=True)), "no change"),
    Scenario("logprob, memory 0.5", drift("logprob", None, noise=lasting(0.5)), "no change"),
    Scenario("logprob, memory 0.8", drift("logprob", None, noise=lasting(0.8)), "no change"),
    Scenario("logprob, coarse", coarse(drift("logprob", None), 0.1), "no change"),
    Scenario("logprob, drawn", drift("logprob", None, temperature=1.0), "no change"),
    Scenario("logprob, 3 a run", drift("logprob", None, few=3), "no change"),
    Scenario("logprob, half missing", thinned(drift("logprob", None), 0.4, 0.3), "no change"),
    Scenario("logprob, constant", never_moving(0.0), "no change"),
    Scenario("uncalibrated logprob", uncalibrated(drift("logprob", None)), "no change"),
    Scenario("logprob, one bad run", bad_batch, "bad run"),
    Scenario("aborted run, tokens", aborted("tokens"), "bad run"),
    Scenario("aborted run, cost", aborted("cost"), "bad run"),
    Scenario("aborted run, tokens 1st", aborted("fingerprint"), "bad run"),
    Scenario("tokens, wild", tokens_of(None, lambda rng, s: s * (3 if rng.random() < 0.01 else 1)), "no change"),
    Scenario("tokens, zeros", tokens_of(None, lambda rng, s: 0.0 if rng.random() < 0.03 else s), "no change"),
    Scenario("constant tokens", constant_tokens(None), "no change"),
    Scenario("cached cost", cached_cost(None), "no change"),
    Scenario("two-mode latency", two_modes(None), "no change"),
    Scenario("latency, memory 0.6", steady_memory(0.6), "no change"),
    Scenario("latency, memory 0.8", steady_memory(0.8), "no change"),
    Scenario("coarse latency", rounded(latency(), 0.25), "no change"),
    Scenario("constant latency", constant("latency", 0.5), "no change"),
    Scenario("constant quality 0", constant("quality", 0.0), "no change"),
    Scenario("constant errors 1", constant("errors", 1.0), "no change"),
)
