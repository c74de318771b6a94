"""From a route to a ranked decision: who may serve, who goes first, and why the others do not.

Filters come before any ranking: compliance first, then capability.  Health only ranks: a target that is out of the
rotation is kept as a last resort, so that the last one that may serve is never ejected.  The strategy of the route
(understudy.routing.scorers) ranks; then comes, in this order:

    whoever made what the request brings back    in the rotation, whatever else is known
    the canary, for its share of requests        in the rotation and not degraded
    the ready                                    in the rotation
    the degraded                                 in the rotation, and a finding says: worse than it did
    the waiting                                  coming back, and not this time
    the last resort                              breaker open or benched, then the quarantined

A drained target is asked by nobody as long as somebody else can carry the request, whether that one answers or not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import groupby

from understudy.catalog import Candidate, Route, Share, Target
from understudy.chat.bound import owner_of_target
from understudy.compliance import Allowed, Denied
from understudy.errors import Cause, NoCompliantTarget
from understudy.health.finding import Hold
from understudy.health.standing import Standing
from understudy.routing.scorers import Outlook, Rating


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate's place in the decision.  `last_resort`: out of the rotation, tried only when nobody else answered;
    `probe`: to be tried once in its own place if the fleet-wide lease can be had."""

    target: Target
    reason: str
    last_resort: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one request, before anything was sent.

    `reroute_refusals`: the route has agreed that a refusal by one target may be answered by the next; `hedge`,
    `continue_in_user_turn` and `strategy` are the route's as well.  `held` are drained and not asked; `canary` says
    what became of the canary where it was drawn; `ratings` are what was known of each target.
    """

    route: str
    candidates: tuple[Ranked, ...]
    denied: tuple[Cause, ...] = ()
    unfit: tuple[Cause, ...] = ()
    reroute_refusals: bool = False
    hedge: bool = False
    continue_in_user_turn: bool = False
    strategy: str = "ordered"
    held: tuple[Cause, ...] = ()
    canary: str = ""
    ratings: Mapping[str, Rating] = field(default_factory=dict)


_NOTHING = Outlook()
Judged = Callable[[Target], Allowed | Denied]


def decide(
    route: Route,
    *,
    judged: Judged,
    unfit: Callable[[Target], str | None],
    standing: Callable[[Target], Standing],
    rng: random.Random,
    bound: Set[str] = frozenset(),
    outlook: Outlook = _NOTHING,
) -> Decision:
    """Rank the route's candidates.

    `judged` says whether a target may see the request under the constraints in force (understudy.compliance), `unfit`
    why it cannot carry it, or None; `standing` how it does, `outlook` what else is known.
    `bound` are the owners of content that only they can read again (understudy.chat.bound): one that is in the rotation
    goes first.  Raises NoCompliantTarget where constraints leave nobody.  A decision without candidates means that
    nobody can carry the request.
    """
    denied: list[Cause] = []
    misfits: list[Cause] = []
    fit: list[Candidate] = []
    for candidate in route.candidates:
        verdict = judged(candidate.target)
        if isinstance(verdict, Denied):
            denied.append(_denial(candidate.target, verdict))
        elif (reason := unfit(candidate.target)) is not None:
            misfits.append(Cause(candidate.target.name, reason))
        else:
            fit.append(candidate)
    if not fit and not misfits:
        raise NoCompliantTarget(route.name, denied)
    fit, drained = _undrained(fit, outlook)
    standings = {candidate.target.name: standing(candidate.target) for candidate in fit}
    ranked = _rank(_by_strategy(route, fit, standings, rng, outlook), standings, rng, bound, outlook)
    decision = Decision(
        route.name,
        ranked,
        tuple(denied),
        tuple(misfits),
        reroute_refusals=route.reroute_refusals,
        hedge=route.hedge,
        continue_in_user_turn=route.continue_in_user_turn,
        strategy=route.strategy,
        held=drained,
        ratings=outlook.ratings,
    )
    if route.canary is None or not ranked or rng.random() >= route.canary.share:
        return decision
    return _led(decision, route.canary, judged=judged, unfit=unfit, standing=standing, rng=rng, bound=bound)


def _denial(target: Target, verdict: Denied) -> Cause:
    return Cause(target.name, verdict.told, kept=verdict.cause)


def _undrained(fit: list[Candidate], outlook: Outlook) -> tuple[list[Candidate], tuple[Cause, ...]]:
    """Those that are not drained, and the others with the reason; where all are, they stay: the last one that may
    serve is never ejected."""
    drained = {c.target.name: hold for c in fit if (hold := _hold(c.target, outlook)) and hold.state == "drained"}
    if len(drained) in (0, len(fit)):
        return fit, ()
    # Who drained it, and why, is for operators: causes are told to callers as well.
    causes = tuple(
        Cause(name, "drained by an operator", kept=f"drained by {hold.by}: {hold.cause}")
        for name, hold in drained.items()
    )
    return [candidate for candidate in fit if candidate.target.name not in drained], causes


def _hold(target: Target, outlook: Outlook) -> Hold | None:
    known = outlook.ratings.get(target.name)
    return known.hold if known else None


def _by_strategy(
    route: Route, fit: Sequence[Candidate], standings: Mapping[str, Standing], rng: random.Random, outlook: Outlook
) -> list[Candidate]:
    """The candidates as the route's strategy ranks them, whoever is in the rotation."""
    if route.strategy == "ordered":
        return _ordered(fit, rng)
    if route.strategy == "weighted":
        return _drawn(fit, rng)
    places = {name: place for place, name in enumerate(outlook.order)}
    best_first = sorted(fit, key=lambda candidate: (places.get(candidate.target.name, len(places)), candidate.order))
    if route.strategy != "adaptive":
        return best_first
    ready = [c for c in best_first if standings[c.target.name].share > 0 and _sound(c.target, outlook)]
    if len(ready) < 3:
        return best_first
    two = _drawn(ready, rng, 2)
    leading = min(two, key=ready.index)
    return [leading, *(candidate for candidate in best_first if candidate is not leading)]


def _sound(target: Target, outlook: Outlook) -> bool:
    """Whether nothing that was found or decided speaks against the target."""
    known = outlook.ratings.get(target.name)
    return known is None or (known.hold is None and not known.worse)


def _ordered(candidates: Sequence[Candidate], rng: random.Random) -> list[Candidate]:
    """Lower order first; inside one order drawn by weight, without putting back."""
    ordered: list[Candidate] = []
    for _, group in groupby(sorted(candidates, key=lambda c: c.order), key=lambda c: c.order):
        ordered += _drawn(list(group), rng)
    return ordered


def _drawn(candidates: Sequence[Candidate], rng: random.Random, most: int | None = None) -> list[Candidate]:
    """All of them, or as many, drawn by weight, without putting back."""
    left, drawn = list(candidates), list[Candidate]()
    while left and (most is None or len(drawn) < most):
        drawn.append(rng.choices(left, weights=[c.weight for c in left])[0] if len(left) > 1 else left[0])
        left.remove(drawn[-1])
    return drawn


def _rank(
    ordered: Sequence[Candidate],
    standings: Mapping[str, Standing],
    rng: random.Random,
    bound: Set[str],
    outlook: Outlook,
) -> tuple[Ranked, ...]:
    owning: list[Ranked] = []
    ready: list[Ranked] = []
    behind: list[Ranked] = []
    waiting: list[Ranked] = []
    out: list[Ranked] = []
    held: list[Ranked] = []
    for place, candidate in enumerate(ordered, start=1):
        target, known = candidate.target, outlook.ratings.get(candidate.target.name)
        now, said = standings[target.name], _said(target, outlook)
        if known is not None and known.hold is not None:
            words = f"last resort: {known.hold.state} by {known.hold.by}: {known.hold.cause}"
            held.append(Ranked(target, words, last_resort=True))
        elif now.share > 0 and bound and owner_of_target(target.name) in bound:
            owning.append(Ranked(target, f"place {place}, {now.reason}, made what the request brings back"))
        elif now.share >= 1 or (now.share > 0 and rng.random() < now.share):
            if known is not None and known.worse:
                behind.append(Ranked(target, f"place {place}, behind the others: degraded, {known.worse}{said}"))
            else:
                ready.append(Ranked(target, f"place {place}, {now.reason}{said}"))
        elif now.share > 0:
            waiting.append(Ranked(target, f"place {place}, waits: {now.reason}{said}"))
        else:
            if now.probe_due:
                ready.append(Ranked(target, f"place {place}, overdue for a probe", probe=True))
            out.append(Ranked(target, f"last resort: {now.reason}", last_resort=True))
    return (*owning, *ready, *behind, *waiting, *out, *held)


def _said(target: Target, outlook: Outlook) -> str:
    """What the strategy has to say of a target's place."""
    reason = outlook.reasons.get(target.name)
    return f", {reason}" if reason else ""


def _led(
    decision: Decision,
    canary: Share,
    *,
    judged: Judged,
    unfit: Callable[[Target], str | None],
    standing: Callable[[Target], Standing],
    rng: random.Random,
    bound: Set[str],
) -> Decision:
    """The decision with the canary in front of all, where it may go there; else as it was, with the reason."""
    target, others = canary.target, decision.candidates
    if reason := kept_back(
        target, judged=judged, unfit=unfit, standing=standing, rng=rng, outlook=Outlook(decision.ratings)
    ):
        return replace(decision, canary=f"{target.name} not asked: {reason}")
    if bound and any(owner_of_target(one.target.name) in bound and not one.last_resort for one in others):
        return replace(decision, canary=f"{target.name} not in front: another made what the request brings back")
    leading = Ranked(target, f"canary, for {canary.share:.3g} of the requests")
    rest = tuple(one for one in others if one.target.name != target.name)
    return replace(decision, candidates=(leading, *rest), canary=f"{target.name} in front")


def kept_back(
    target: Target,
    *,
    judged: Judged,
    unfit: Callable[[Target], str | None],
    standing: Callable[[Target], Standing],
    rng: random.Random,
    outlook: Outlook,
) -> str:
    """Why a target may not be tried out with a request of the route; empty where it may."""
    verdict = judged(target)
    if isinstance(verdict, Denied):
        return verdict.told
    if (reason := unfit(target)) is not None:
        return reason
    known = outlook.ratings.get(target.name)
    if known is not None and known.hold is not None:
        return f"{known.hold.state} by {known.hold.by}: {known.hold.cause}"
    if known is not None and known.worse:
        return f"degraded, {known.worse}"
    now = standing(target)
    return "" if now.share >= 1 or (now.share > 0 and rng.random() < now.share) else now.reason
