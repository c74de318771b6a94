"""From a route to a ranked decision: who may serve, who goes first, and why the others do not.

Filters come before any ranking: compliance first, then capability.  Health only ranks: a target that is out of the
rotation is kept as a last resort, so that the last one that may serve is never ejected.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from itertools import groupby

from understudy.catalog import Candidate, Route, Target
from understudy.chat.bound import owner_of_target
from understudy.compliance import Denied, judge
from understudy.errors import Cause, NoCompliantTarget
from understudy.health.standing import Standing


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

    `reroute_refusals`: the route has agreed that a refusal by one target may be answered by the next; `hedge` and
    `continue_in_user_turn` are the route's as well.
    """

    route: str
    candidates: tuple[Ranked, ...]
    denied: tuple[Cause, ...] = ()
    unfit: tuple[Cause, ...] = ()
    reroute_refusals: bool = False
    hedge: bool = False
    continue_in_user_turn: bool = False


def decide(
    route: Route,
    *,
    unfit: Callable[[Target], str | None],
    standing: Callable[[Target], Standing],
    rng: random.Random,
    bound: Set[str] = frozenset(),
) -> Decision:
    """Rank the route's candidates.

    `unfit` says why a target cannot carry the request, or None; `standing` how it does.  `bound` are the owners of
    content that only they can read again (understudy.chat.bound): one that is in the rotation goes first.  Raises
    NoCompliantTarget where constraints leave nobody.  A decision without candidates means that nobody can carry the
    request.
    """
    denied: list[Cause] = []
    misfits: list[Cause] = []
    fit: list[Candidate] = []
    for candidate in route.candidates:
        verdict = judge(candidate.target, route.constraints)
        if isinstance(verdict, Denied):
            denied.append(Cause(candidate.target.name, f"denied by {verdict.rule}: {verdict.reason}"))
        elif (reason := unfit(candidate.target)) is not None:
            misfits.append(Cause(candidate.target.name, reason))
        else:
            fit.append(candidate)
    if not fit and not misfits:
        raise NoCompliantTarget(route.name, denied)
    ranked = _rank(_ordered(fit, rng), standing, rng, bound)
    return Decision(
        route.name,
        ranked,
        tuple(denied),
        tuple(misfits),
        reroute_refusals=route.reroute_refusals,
        hedge=route.hedge,
        continue_in_user_turn=route.continue_in_user_turn,
    )


def _ordered(candidates: Sequence[Candidate], rng: random.Random) -> list[Candidate]:
    """Lower order first; inside one order drawn by weight, without putting back."""
    ordered: list[Candidate] = []
    for _, group in groupby(sorted(candidates, key=lambda c: c.order), key=lambda c: c.order):
        left = list(group)
        while left:
            drawn = rng.choices(left, weights=[c.weight for c in left])[0] if len(left) > 1 else left[0]
            left.remove(drawn)
            ordered.append(drawn)
    return ordered


def _rank(
    ordered: Sequence[Candidate], standing: Callable[[Target], Standing], rng: random.Random, bound: Set[str]
) -> tuple[Ranked, ...]:
    owning: list[Ranked] = []
    ready: list[Ranked] = []
    waiting: list[Ranked] = []
    out: list[Ranked] = []
    for place, candidate in enumerate(ordered, start=1):
        now = standing(candidate.target)
        if now.share > 0 and bound and owner_of_target(candidate.target.name) in bound:
            owning.append(Ranked(candidate.target, f"place {place}, {now.reason}, made what the request brings back"))
        elif now.share >= 1 or (now.share > 0 and rng.random() < now.share):
            ready.append(Ranked(candidate.target, f"place {place}, {now.reason}"))
        elif now.share > 0:
            waiting.append(Ranked(candidate.target, f"place {place}, waits: {now.reason}"))
        else:
            if now.probe_due:
                ready.append(Ranked(candidate.target, f"place {place}, overdue for a probe", probe=True))
            out.append(Ranked(candidate.target, f"last resort: {now.reason}", last_resort=True))
    return (*owning, *ready, *waiting, *out)
