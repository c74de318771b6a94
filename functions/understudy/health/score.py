"""How well a target does, as one number from 0 to 100 that is made of four parts with published weights.

    availability   the recent share of good answers
    latency        first tokens against what is usual for the target, and against the route's objective: 1 in time or
                   better, a half at twice as slow; the worse of the two counts
    quality        judged answers of the route's task, else of all, against what was normal: 1 as good or better
    cost           the cheapest price of the route against the target's own: a half at twice as dear

Each part is 0 to 1.  Evidence that grows old draws its part toward NEUTRAL, by half after each half-life; a part of
which nothing was ever known is left out, and the others count for it.  Of a target never seen nothing is known at all:
its score is NEUTRAL.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.catalog import ScoreSettings
from understudy.health.finding import Quality

if TYPE_CHECKING:
    from understudy.health.item import Health

MEMORY = 20.0
"""Calls after which a past outcome has lost about two thirds of its weight."""
NEUTRAL = 0.75
"""What a part comes to when its evidence is too old to say anything: less than well, more than badly."""
SELDOM = 24.0
"""Evidence of quality is seldom and dear: it lasts this many times as long as that of calls."""
JUDGED = 10.0
"""Judged answers that make quality known."""
FORGOTTEN = 4.0
"""Half-lives after which quality is not known any more."""


def blend(score: float, ok: int, failed: int) -> float:
    """The availability after `ok` good and `failed` bad calls; an empty observation leaves it as it was."""
    calls = ok + failed
    if not calls:
        return score
    weight = 1.0 - (1.0 - 1.0 / MEMORY) ** calls
    return round(score + (ok / calls - score) * weight, 6)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: 0 to 1, None where nothing was ever known; `weight` as it is published; `why` in words."""

    name: str
    value: float | None
    weight: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is 0 to 100."""

    value: float
    parts: tuple[Part, ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"value": self.value, "parts": {part.name: part.value for part in self.parts}}


def scored(
    health: Health | None,
    settings: ScoreSettings,
    now: float,
    *,
    task: str = "",
    objective: float | None = None,
    price: float | None = None,
    cheapest: float | None = None,
) -> Score:
    """The score of a target; `objective` in seconds to the first token, prices in dollars for a million tokens."""
    parts = (
        _availability(health, settings, now),
        _latency(health, settings, now, objective),
        _quality(health, settings, now, task),
        _cost(settings, price, cheapest),
    )
    known = [(part.value, part.weight) for part in parts if part.value is not None and part.weight > 0]
    if health is None or not known:
        return Score(100 * NEUTRAL, parts)
    total = sum(weight for _, weight in known)
    return Score(round(100 * sum(value * weight for value, weight in known) / total, 1), parts)


def explained(score: Score) -> str:
    """The parts in words: the points that each brings, of how many, and why."""
    counting = sum(part.weight for part in score.parts if part.value is not None) or 1.0
    return ", ".join(_told(part, 100 / counting) for part in score.parts)


def _told(part: Part, scale: float) -> str:
    if part.value is None:
        return f"{part.name} not known"
    why = f" ({part.why})" if part.why else ""
    return f"{part.name} {part.value * part.weight * scale:.1f} of {part.weight * scale:.1f}{why}"


def quality_of(health: Health | None, task: str, settings: ScoreSettings, now: float) -> Quality | None:
    """What is known of how good the answers to a task are, else to all tasks; None where that is too little or old."""
    if health is None:
        return None
    oldest = now - FORGOTTEN * SELDOM * settings.half_life
    known = (health.quality.get(name) for name in dict.fromkeys((task, "")))
    return next((one for one in known if one and one.weight >= JUDGED and one.at >= oldest), None)


def _availability(health: Health | None, settings: ScoreSettings, now: float) -> Part:
    at = max(health.last_ok_at, health.last_failure_at) if health else 0.0
    if health is None or not at:
        return Part("availability", None, settings.availability)
    value = _drawn(health.score, now - at, settings.half_life)
    return Part("availability", value, settings.availability, f"{health.score:.1%} good{_age(now - at, settings)}")


def _latency(health: Health | None, settings: ScoreSettings, now: float, objective: float | None) -> Part:
    usual = health.usual if health else None
    if usual is None or (usual.ratio is None and objective is None):
        return Part("latency", None, settings.latency)
    # Each ratio is how many times too slow.
    slow = list(_too_slow(usual.recent, usual.ratio, objective))
    ratio, why = max(slow, key=lambda one: one[0])
    value = _drawn(min(1.0, 1.0 / ratio), now - usual.at, settings.half_life)
    return Part("latency", value, settings.latency, f"{usual.recent:.3g} s, {why}{_age(now - usual.at, settings)}")


def _too_slow(recent: float, ratio: float | None, objective: float | None) -> Iterator[tuple[float, str]]:
    if ratio is not None:
        yield ratio, f"{ratio:.2f} times its usual"
    if objective is not None:
        yield recent / objective, f"the objective is {objective:g} s"


def _quality(health: Health | None, settings: ScoreSettings, now: float, task: str) -> Part:
    known = quality_of(health, task, settings, now)
    if known is None or known.baseline is None:
        return Part("quality", None, settings.quality)
    against = min(1.0, known.mean / known.baseline) if known.baseline > 0 else 1.0
    value = _drawn(against, now - known.at, SELDOM * settings.half_life)
    return Part("quality", value, settings.quality, f"{known.mean:.3g} where {known.baseline:.3g} was normal")


def _cost(settings: ScoreSettings, price: float | None, cheapest: float | None) -> Part:
    if price is None or cheapest is None:
        return Part("cost", None, settings.cost)
    value = min(1.0, cheapest / price) if price > 0 else 1.0
    return Part("cost", value, settings.cost, f"${price:.3g} a million tokens")


def _drawn(value: float, age: float, half_life: float) -> float:
    """The value as far as its evidence is fresh, the rest neutral."""
    fresh = math.pow(0.5, max(0.0, age) / half_life)
    return round(NEUTRAL + (value - NEUTRAL) * fresh, 4)


def _age(age: float, settings: ScoreSettings) -> str:
    return f", {age / 60:.0f} min old" if age > settings.half_life / 4 else ""
