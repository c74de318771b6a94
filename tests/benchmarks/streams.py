"""Generated streams of observations, in the form that `understudy replay` reads, with a change where it is known to be.

Each begins with a part marked as in control, goes on healthy for a while, and then (in most scenarios) changes at a
known `seq`.  The figures are those of issue 6; what the issue leaves open is drawn anew for every stream.  The same
scenario, seed and number give the same stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Observation = dict[str, Any]
Value = Callable[[random.Random, int, int], float | str]
"""The value of one item (or -1) in one run."""
START = 1_718_000_000.0
DAY = 86_400.0
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Stream:
    """Observations in order; `changed` is the `seq` of the first one after the change, None where nothing changes.
    Alarms from `excused[0]` up to (not with) `excused[1]` are neither right nor false: an earlier change is there."""

    name: str
    kind: str
    observations: list[Observation]
    changed: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    excused: tuple[int, int] = (0, 0)


Make = Callable[[random.Random, str], Stream]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`bar` and `reference` are mean delays after the change, in `unit`.

    What an alarm means: in a `change` it counts once the change has come; otherwise it is false wherever it comes.
    """

    name: str
    make: Make
    means: Literal["change", "no change", "improvement", "bad run"] = "change"
    bar: float | None = None
    reference: float | None = None
    unit: Literal["observations", "batches"] = "observations"
    odd: bool = False
    """Not one of the issue's, and summed up apart."""


def streams(scenario: Scenario, number: int, seed: int) -> Iterator[Stream]:
    """So many streams of a scenario."""
    for index in range(number):
        rng = random.Random(f"{seed}/{scenario.name}/{index}")
        yield scenario.make(rng, f"{scenario.name}/{index}".replace(" ", "_"))


# --- one-shot streams -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Length:
    """Observations (one-shot) or runs (repeated items) of the three parts of a stream."""

    calib: int
    healthy: int
    after: int


def one_shot(
    rng: random.Random, name: str, kind: str, before: Value, after: Value | None, length: Length, spacing: float = 0.0
) -> Stream:
    """One value after the other, `spacing` seconds apart on average."""
    spacing = spacing or rng.choice((20.0, 60.0, 300.0, 900.0))
    at, rows = START + rng.uniform(0, 7) * DAY, []
    changed = length.calib + length.healthy
    for seq in range(changed + (length.after if after else 0)):
        value = (after if after and seq >= changed else before)(rng, -1, 0)
        rows.append(row_of(name, seq, at, kind, value, -1, 0, seq < length.calib, _price(rng)))
        at += spacing * rng.uniform(0.6, 1.4)
    return Stream(name, kind, rows, changed if after else None)


def row_of(
    name: str, seq: int, at: float, kind: str, value: float | str, item: int, run: int, calib: bool, usd: float
) -> Observation:
    return {
        "stream": name,
        "seq": seq,
        "t": round(at, 3),
        "kind": kind,
        "value": value,
        "item": item,
        "run": run,
        "calib": calib,
        "usd": round(usd, 6),
    }


def _price(rng: random.Random) -> float:
    return rng.uniform(0.0005, 0.02)


def right(share: float) -> Value:
    """Right or wrong."""
    return lambda rng, item, run: 1.0 if rng.random() < share else 0.0


def graded(mean: float) -> Value:
    """A grade in steps of a quarter, of that mean."""
    return lambda rng, item, run: sum(rng.random() < mean for _ in range(4)) / 4


def sticky(share: float, stay: float) -> Value:
    """Right or wrong with memory: with the chance `stay` the same as the one before."""
    last: list[float] = []

    def value(rng: random.Random, item: int, run: int) -> float:
        if not last or rng.random() >= stay:
            last[:] = [1.0 if rng.random() < share else 0.0]
        return last[0]

    return value


def one_shot_length(rng: random.Random, after: int) -> Length:
    return Length(rng.choice((100, 150, 200, 200, 300)), rng.randint(100, 1200), after)


def quality_drop(before: float, after: float, value: Callable[[float], Value] = right) -> Make:
    def make(rng: random.Random, name: str) -> Stream:
        return one_shot(rng, name, "quality", value(before), value(after), one_shot_length(rng, 400))

    return make


def errors(after: float | None) -> Make:
    """Failed calls: a base rate of 0.5 to 3 %, then an outage."""

    def make(rng: random.Random, name: str) -> Stream:
        length = one_shot_length(rng, 200)
        if after is None:
            length = Length(length.calib, 3000, 0)
        base = rng.uniform(0.005, 0.03)
        return one_shot(rng, name, "errors", right(base), None if after is None else right(after), length)

    return make


def heavy(rng: random.Random) -> Callable[[float], Value]:
    """Tokens of callers' answers, in tails: a mixture of short and long ones."""
    short, long = rng.uniform(20, 80), rng.uniform(200, 700)
    share, sigma = rng.uniform(0.2, 0.6), rng.uniform(0.5, 0.9)

    def by(factor: float) -> Value:
        def value(rng: random.Random, item: int, run: int) -> float:
            centre = short if rng.random() < share else long
            return float(max(1, round(centre * factor * rng.lognormvariate(0, sigma))))

        return value

    return by


def one_shot_tokens(factor: float | None) -> Make:
    def make(rng: random.Random, name: str) -> Stream:
        by, length = heavy(rng), one_shot_length(rng, 1200)
        if factor is None:
            length = Length(length.calib, 3000, 0)
        return one_shot(rng, name, "tokens", by(1.0), by(factor) if factor else None, length)

    return make


# --- repeated items ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Runs:
    """How a set of items is asked."""

    items: int
    length: Length
    order: Literal["fixed", "shuffled", "turned", "part"]
    period: float
    missing: float
    """Share of the answers that are absent."""
    lost: float
    """Share of the runs that are absent."""


def runs(rng: random.Random, after: int, healthy: int | None = None, items: int | None = None) -> Runs:
    """`after` and `healthy` in observations."""
    items = items or rng.choice((20, 25, 40, 40, 40, 60))
    parts = Length(
        rng.choice((4, 5, 5, 5, 6, 8)),
        max(2, round((healthy or rng.randint(200, 1600)) / items)),
        max(3, math.ceil(after / items)),
    )
    missing, lost = rng.choice((0.0, 0.0, 0.0, 0.02, 0.1)), rng.choice((0.0, 0.0, 0.0, 0.1))
    order = rng.choice(("fixed", "fixed", "shuffled", "turned", "part"))
    return Runs(items, parts, order, rng.choice((900.0, HOUR, 6 * HOUR, DAY)), missing, lost)  # type: ignore[arg-type]


def repeated(rng: random.Random, name: str, kind: str, before: Value, after: Value | None, how: Runs) -> Stream:
    """Runs of a fixed set; the change comes between two runs or inside one."""
    parts, rows, changed, at = how.length, [], None, START + rng.uniform(0, 7) * DAY
    turn = parts.calib + parts.healthy
    inside = rng.choice((0, 0, rng.randrange(how.items)))
    pace = rng.uniform(1, 20)
    for run in range(turn + (parts.after if after else 0)):
        began = at
        at += how.period * rng.uniform(0.9, 1.1)
        if parts.calib <= run != turn and rng.random() < how.lost:
            continue
        for place, item in enumerate(_order(rng, how, run)):
            began += pace * rng.uniform(0.5, 2)
            late = after is not None and (run > turn or (run == turn and place >= inside))
            if late and changed is None:
                changed = len(rows)
            if run >= parts.calib and rng.random() < how.missing:
                continue
            value = (after if after and late else before)(rng, item, run)
            rows.append(row_of(name, len(rows), began, kind, value, item, run, run < parts.calib, _price(rng)))
    return Stream(name, kind, rows, changed, {"items": how.items, "order": how.order, "period": how.period})


def _order(rng: random.Random, how: Runs, run: int) -> Sequence[int]:
    items = list(range(how.items))
    if how.order == "shuffled":
        rng.shuffle(items)
    if how.order == "turned":
        start = run * 7 % how.items
        return items[start:] + items[:start]
    if how.order == "part" and run >= how.length.calib:
        return items[run % 2 :: 2]
    return items


def item_shares(rng: random.Random, items: int, mean: float) -> list[float]:
    """How often each item is answered right: nearly always or nearly never, but for a few, `mean` on average.

    A suite's score then varies about a fifth (a tenth to two fifths) of what independent answers would make it vary."""
    border = [rng.uniform(0.1, 0.9) for _ in range(round(items * rng.choice((0.0, 0.02, 0.03, 0.05, 0.1))))]
    slip = rng.choice((0.0, 0.001, 0.003, 0.006))
    rest = items - len(border)
    good = min(rest, max(0, round((mean * items - sum(border) - rest * slip) / (1 - 2 * slip))))
    shares = [1 - slip] * good + [slip] * (rest - good) + border
    rng.shuffle(shares)
    return shares


def weaker(rng: random.Random, shares: Sequence[float], mean: float) -> list[float]:
    """Another model's shares: it fails where the first fails, and elsewhere too; it gains a few items."""
    found, order = list(shares), rng.sample(range(len(shares)), len(shares))
    gains = [item for item in order if found[item] < 0.5][: round(len(shares) * rng.uniform(0, 0.04))]
    for item in gains:
        found[item] = 1 - found[item]
    for item in order:
        if sum(found) <= mean * len(found) + 0.25:
            break
        if found[item] > 0.5 and item not in gains:
            found[item] = rng.choice((0.0, 0.01, 0.05, 0.3))
    return found


def by_item(shares: Sequence[float]) -> Value:
    return lambda rng, item, run: 1.0 if rng.random() < shares[item] else 0.0


def mixed(first: Value, second: Value, share: float) -> Value:
    """That share of the calls goes to the second."""
    return lambda rng, item, run: (second if rng.random() < share else first)(rng, item, run)


def canaries(before: float, after: float | None, share: float = 1.0, long: int = 1200) -> Make:
    """Repeated items; then a share of the calls goes to a weaker model (or to a better one)."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, long, healthy=3000 if after is None else None)
        shares = item_shares(rng, how.items, before)
        if after is None:
            return repeated(rng, name, "quality", by_item(shares), None, how)
        if after < before:
            other = weaker(rng, shares, after)
        else:
            other = [1 - one for one in weaker(rng, [1 - one for one in shares], 1 - after)]
        return repeated(rng, name, "quality", by_item(shares), mixed(by_item(shares), by_item(other), share), how)

    return make


def graded_canaries(before: float, after: float) -> Make:
    """Repeated items with grades in steps of a quarter, each near its own grade."""

    def make(rng: random.Random, name: str) -> Stream:
        how, wobble = runs(rng, 1000), rng.uniform(0.0, 0.1)

        def of(grades: Sequence[int]) -> Value:
            def value(rng: random.Random, item: int, run: int) -> float:
                step = rng.choice((-1, 1)) if rng.random() < wobble else 0
                return min(4, max(0, grades[item] + step)) / 4

            return value

        grades = [sum(rng.random() < before for _ in range(4)) for _ in range(how.items)]
        low, places = list(grades), rng.sample(range(how.items), how.items)
        while sum(low) > after / before * sum(grades):
            item = places.pop() if places else rng.randrange(how.items)
            low[item] = max(0, low[item] - rng.randint(1, 3))
        return repeated(rng, name, "quality", of(grades), of(low), how)

    return make


def bad_run(rng: random.Random, name: str) -> Stream:
    """One run in which many answers were aborted, and count as wrong; then all is as before."""
    how = replace(runs(rng, 0, healthy=1600), lost=0.0)
    usual = by_item(item_shares(rng, how.items, rng.uniform(0.6, 0.95)))
    bad, share = how.length.calib + rng.randint(2, how.length.healthy // 2 + 2), rng.uniform(0.4, 1.0)

    def value(rng: random.Random, item: int, run: int) -> float | str:
        return 0.0 if run == bad and rng.random() < share else usual(rng, item, run)

    return repeated(rng, name, "quality", value, None, how)


def item_tokens(rng: random.Random, items: int) -> Callable[[float], Value]:
    """Tokens an item: its own length, with little noise around it; some items never vary."""
    centres = [max(3.0, rng.lognormvariate(4.6, 1.0)) for _ in range(items)]
    typical, fixed = rng.uniform(0.03, 0.10), rng.uniform(0.0, 0.25)
    noise = [0.0 if rng.random() < fixed else min(0.15, typical * rng.uniform(0.6, 1.6)) for _ in range(items)]

    def by(factor: float) -> Value:
        def value(rng: random.Random, item: int, run: int) -> float:
            return float(max(1, round(centres[item] * factor * math.exp(rng.gauss(0, noise[item])))))

        return value

    return by


def canary_tokens(factor: float | None) -> Make:
    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=3000 if factor is None else None)
        by = item_tokens(rng, how.items)
        return repeated(rng, name, "tokens", by(1.0), by(factor) if factor else None, how)

    return make


def canary_cost(factor: float | None) -> Make:
    """US dollars a call: a fixed part, a part by tokens, and noise."""

    def make(rng: random.Random, name: str) -> Stream:
        how = runs(rng, 1000, healthy=3000 if factor is None else None)
        tokens, noise = item_tokens(rng, how.items)(1.0), rng.choice((0.0, 0.05, 0.1, 0.15, 0.2))
        fixed, each = rng.uniform(0.0001, 0.001), rng.choice((0.6e-6, 4e-6, 10e-6, 15e-6))

        def by(factor: float) -> Value:
            def value(rng: random.Random, item: int, run: int) -> float:
                usd = fixed + each * float(tokens(rng, item, run))
                return round(usd * factor * rng.lognormvariate(0, noise), 8)

            return value

        return repeated(rng, name, "cost", by(1.0), by(factor) if factor else None, how)

    return make
