"""How a route's strategy ranks its targets, by what is known of each.

    ordered    as the document says: lower `order` first, drawn by `weight` inside one
    weighted   drawn by `weight` among all
    fastest    the shortest recent first token
    cheapest   the lowest price of those whose quality is known to reach `min_quality`; then those whose quality is not
               known; then the others, the best first
    best       the highest quality of those whose price is known to be within `max_price_per_million`
    adaptive   two are drawn by `weight`, the one with the better score goes first; the others follow by score

What is measured wavers, so an order is kept until another one is better by a margin (`health.score.hysteresis`, in
points of a hundred; per cent of a first token's time).  The last four rank all targets, whatever their `order`.
Pure; worked out when health was read, not for each request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from understudy.catalog import HealthSettings, Route, ScoreSettings, Target
from understudy.detectors.sample import TRAFFIC
from understudy.health.finding import Finding, Hold
from understudy.health.item import Health
from understudy.health.latency import quantile
from understudy.health.score import Score, explained, quality_of, scored
from understudy.pricing.cost import blended, price_at

AUTOMATIC = "understudy"
"""Who holds a target because of a finding, without an operator (`Hold.by`)."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What is known of a target, as one route sees it: `quality` 0 to 1, `first_token` in seconds, `price` in dollars
    for a million tokens, None where not known; `worse` says what has degraded, empty where nothing; `hold` is one that
    counts on this route."""

    score: Score
    quality: float | None = None
    first_token: float | None = None
    price: float | None = None
    worse: str = ""
    hold: Hold | None = None

    @property
    def told(self) -> str:
        """The score in words: made where it is logged, and not for every target at every read."""
        return explained(self.score)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a route's targets by name, and the order of the strategies that rank by it: `order` the best
    first, `reasons` why each stands there, `within` those inside the strategy's floor."""

    ratings: Mapping[str, Rating] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    within: frozenset[str] = frozenset()


def outlook(
    route: Route, health: Mapping[str, Health], settings: HealthSettings, now: float, before: Outlook | None = None
) -> Outlook:
    """What is known of a route's targets at `now`; `before` is the one that it follows, so that orders are kept."""
    targets = route.asked
    prices = {name: _price(target, now) for name, target in targets.items()}
    cheapest = min((price for price in prices.values() if price is not None), default=None)
    ratings = {n: rating(health.get(n), route, settings, now, prices[n], cheapest) for n in targets}
    names = [candidate.target.name for candidate in sorted(route.candidates, key=lambda c: c.order)]
    places = _PLACES.get(route.strategy)
    if places is None:
        return Outlook(ratings)
    known = before or Outlook()
    found = {name: places(name, ratings[name], route, settings.score, known.within) for name in names}
    kept = [name for name in known.order if name in found]
    kept += [name for name in names if name not in kept]
    if not known.order:
        kept.sort(key=lambda name: -found[name].points)
    kept.sort(key=lambda name: found[name].group)
    order = reordered(kept, found, settings.score.hysteresis)
    within = frozenset(name for name in names if found[name].group == 0)
    return Outlook(ratings, order, {name: place.reason for name, place in found.items()}, within)


def rating(
    health: Health | None,
    route: Route,
    settings: HealthSettings,
    now: float,
    price: float | None,
    cheapest: float | None,
) -> Rating:
    """One target as a route sees it; `cheapest` is the lowest price of the route."""
    objective = route.first_token_objective
    score = scored(health, settings.score, now, task=route.task, objective=objective, price=price, cheapest=cheapest)
    quality = quality_of(health, route.task, settings.score, now)
    if health is None:
        return Rating(score, price=price)
    return Rating(
        score,
        quality=quality.mean if quality else None,
        first_token=health.usual.recent if health.usual else quantile(health.first_tokens, 0.5),
        price=price,
        worse="; ".join(one.told for one in health.findings if counts(one, route, settings)),
        hold=health.hold if holds(health.hold, route) else None,
    )


def counts(finding: Finding, route: Route, settings: HealthSettings) -> bool:
    """Whether a finding speaks against a target on this route.

    One on calls to the target whoever made them: later, or failing more often.  Or one on questions that are bought
    again and again: of a set for all targets, or of the route's own.  All others are told and rank nothing: what
    callers ask and say may be their own change, and who gets no more of it could never prove to be well again.
    """
    if not finding.degrades:
        return False
    if finding.stream == TRAFFIC:
        return finding.kind in ("latency", "errors")
    return finding.stream in settings.quality.sets or finding.stream in route.golden_sets


def holds(hold: Hold | None, route: Route) -> bool:
    """Whether a hold counts on this route: a drain always; a quarantine as the route's `quarantine` says."""
    if hold is None or hold.state == "drained":
        return hold is not None
    return route.quarantine == "automatic" or (route.quarantine == "manual" and hold.by != AUTOMATIC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target stands: lower groups first, inside one by points; a `firm` group's points do not waver."""

    group: int
    points: float
    reason: str
    firm: bool = False


def reordered(kept: Sequence[str], places: Mapping[str, Place], margin: float) -> tuple[str, ...]:
    """The order `kept`, whose groups are right, changed where another is better by more than the margin."""
    order = list(kept)
    moved = True
    while moved:
        moved = False
        for i in range(len(order) - 1):
            first, second = places[order[i]], places[order[i + 1]]
            needed = 0.0 if first.firm and second.firm else margin
            # Each swap brings two into the order of their points, so this comes to an end.
            if first.group == second.group and second.points > first.points + needed:
                order[i], order[i + 1] = order[i + 1], order[i]
                moved = True
    return tuple(order)


def _fastest(_: str, known: Rating, route: Route, settings: ScoreSettings, within: frozenset[str]) -> Place:  # noqa: ARG001
    if known.first_token is None:
        return Place(1, 0.0, "first token not known", firm=True)
    return Place(0, -100 * math.log(known.first_token), f"first token {known.first_token:.3g} s")


def _cheapest(name: str, known: Rating, route: Route, settings: ScoreSettings, within: frozenset[str]) -> Place:
    price = "price not known" if known.price is None else f"${known.price:.3g} a million tokens"
    points = -math.inf if known.price is None else -known.price
    floor = route.min_quality
    if floor is None:
        return Place(0, points, price, firm=True)
    if known.quality is None:
        return Place(1, points, f"{price}, quality not known where {floor:g} is wanted", firm=True)
    # Who is in stays until it is clearly out.
    if known.quality >= floor - (settings.hysteresis / 100 if name in within else 0.0):
        return Place(0, points, f"{price}, quality {known.quality:.3g}", firm=True)
    return Place(2, 100 * known.quality, f"quality {known.quality:.3g} is below {floor:g}")


def _best(_: str, known: Rating, route: Route, settings: ScoreSettings, within: frozenset[str]) -> Place:  # noqa: ARG001
    quality = "quality not known" if known.quality is None else f"quality {known.quality:.3g}"
    points = 0.0 if known.quality is None else 100 * known.quality
    ceiling = route.max_price_per_million
    if ceiling is not None and (known.price is None or known.price > ceiling):
        price = "its price is not known" if known.price is None else f"${known.price:.3g} is above ${ceiling:f}"
        return Place(2, points, f"{quality}, {price}")
    return Place(0 if known.quality is not None else 1, points, quality)


def _adaptive(_: str, known: Rating, route: Route, settings: ScoreSettings, within: frozenset[str]) -> Place:  # noqa: ARG001
    return Place(0, known.score.value, f"score {known.score.value:g}")


_PLACES: Mapping[str, Callable[[str, Rating, Route, ScoreSettings, frozenset[str]], Place]] = {
    "fastest": _fastest,
    "cheapest": _cheapest,
    "best": _best,
    "adaptive": _adaptive,
}


def _price(target: Target, now: float) -> float | None:
    price = price_at(target, now)
    return None if price is None else float(blended(price))
