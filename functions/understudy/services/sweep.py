"""Which targets are probed by the clock, and when: the plan of one minute, pure.

A minute has one to four rounds, so that a target can be probed every 15 s although the schedule ticks once a minute.
Runs of golden sets and drift prompts have moments of their own, spread over their period by a hash of the target's
name, so that the plan knows without reading what is due.  Each message names one target; whoever gets it looks again
whether the target still needs to be asked.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, get_args

from understudy.catalog import Catalog, HealthSettings, Route, Target
from understudy.compliance import Allowed, judge
from understudy.facts import NO_CONSTRAINTS, Constraints
from understudy.golden.drift import DRIFT
from understudy.golden.item import CORE
from understudy.health.breaker import lease
from understudy.health.item import Health
from understudy.ports import AskKind, Due

MINUTE = 60.0
"""Seconds between two ticks of the schedule."""
ROUNDS = 4
"""Most rounds of one minute."""
GROUP = 10
"""Targets whose messages become visible in the same second: they fill one batch of a worker."""
SPREAD = 1 / 3
"""The part of a round's time over which the groups are spread, so that not all workers are wanted in one moment."""
JITTER = 2
"""Whole seconds by which a group's place moves from minute to minute, so that many stacks do not keep step."""
SLACK = 3.0 + JITTER
"""Seconds by which two rounds may come closer together than the period: schedules and queues are not exact."""
OVERLAP = 5.0
"""Seconds of the minute before that a plan looks at again, since ticks are not exact; a run is not taken twice."""


Run = tuple[AskKind, float]
"""What kind of run a stream has, and every how many seconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """A message of either queue, read: `due` is None for a recovery probe, and for what confirms an alarm; `again`: it
    has come before and failed; `stream` is what is asked, where it is no health check."""

    target: str
    due: float | None = None
    again: bool = False
    ask: AskKind = "liveness"
    stream: str = ""

    @property
    def recovery(self) -> bool:
        return self.ask == "liveness" and self.due is None


def call_from(body: str, receives: int) -> Call:
    """Read a message's body.  Raises ValueError where it names no target, or asks for something unknown."""
    plain: Any = json.loads(body)
    given = plain if isinstance(plain, dict) else {}
    target, due, ask, stream = given.get("target"), given.get("due"), given.get("ask", "liveness"), given.get("set", "")
    timed = isinstance(due, int | float) or (due is None and ask in ("liveness", "confirm"))
    if not isinstance(target, str) or not timed or ask not in get_args(AskKind) or not isinstance(stream, str):
        raise ValueError(f"this is no request for a probe: {body[:200]}")
    return Call(target, due, receives > 1, ask, stream)


def rounds(period: float) -> int:
    """How many rounds a minute has for targets that are probed every `period` seconds."""
    return max(1, min(ROUNDS, round(MINUTE / period)))


def due(health: Health | None, settings: HealthSettings, at: float) -> bool:
    """Whether a target is to be probed at that time, as far as is known now."""
    if health is None:
        return True
    if health.state != "closed":
        # The recovery queue sees to it; the sweep is the net under a message that was lost.
        return lease(health.breaker, at, settings.breaker, live=True) is not None
    return at - health.last_ok_at >= settings.probe_period - SLACK and at >= health.benched_until


def well(health: Health | None, at: float) -> bool:
    """Whether a target may be asked more than whether it is alive: nobody is that is down, benched or drained."""
    if health is None:
        return True
    drained = health.hold is not None and health.hold.state == "drained"
    return health.state == "closed" and at >= health.benched_until and not (drained or health.credential_failed)


def late(call: Call, settings: HealthSettings, now: float) -> bool:
    """Whether the next round has come since: two probes at once would say no more than one.  What failed before is
    tried again however late, or its failure would never be told."""
    return not call.again and call.due is not None and now - call.due >= MINUTE / rounds(settings.probe_period)


def plan(current: Catalog, known: Mapping[str, Health], now: float, salt: str = "") -> list[Due]:
    """The messages of the minute that begins now, the earliest first; `salt` differs from stack to stack.

    A target that no route may use gets none: a probe is an egress like any other.  A target keeps its place within
    the round from minute to minute, but for the jitter, so that its probes come at even distances.
    """
    settings = current.health
    routes = allowing(current, now)
    names = sorted(routes)
    count = rounds(settings.probe_period)
    length = MINUTE / count
    messages = []
    for place, name in enumerate(names):
        group = place // GROUP * GROUP
        offset = group / len(names) * length * SPREAD + jitter(salt, names[group], now)
        for number in range(count):
            delay = math.floor(number * length + offset)
            if due(known.get(name), settings, now + delay):
                messages.append(Due(name, round(now + delay, 3), delay))
        asked = runs_of(current.targets[name], routes[name], current, now)
        messages += _runs(name, asked, known.get(name), now, salt)
    return sorted(messages, key=lambda message: message.delay)


def jitter(salt: str, name: str, now: float) -> int:
    """Whole seconds by which the group that begins with a target is later in this minute; none for a stack without
    others."""
    if not salt:
        return 0
    return zlib.crc32(f"{salt}/{name}/{int(now // MINUTE)}".encode()) % (JITTER + 1)


def _runs(name: str, asked: Mapping[str, Run], health: Health | None, now: float, salt: str) -> Iterator[Due]:
    for stream, (ask, period) in asked.items():
        at = moment(period, f"{salt}/{name}/{stream}", now - OVERLAP)
        delay = max(0, math.floor(at - now))
        if at < now + MINUTE and well(health, now + delay):
            yield Due(name, round(at, 3), delay, ask, stream)


def moment(period: float, key: str, after: float) -> float:
    """The first moment from `after` on of those that a key has, one in each period."""
    phase = zlib.crc32(key.encode()) / 2**32 * period
    return math.ceil((after - phase) / period) * period + phase


def overdue(call: Call, period: float, now: float) -> bool:
    """Whether a run comes so late that the next one is nearer."""
    return call.due is not None and now - call.due >= period / 2


def allowing(current: Catalog, now: float) -> dict[str, list[Route]]:
    """For each target the routes that may use it; one that no route may use is not in it, and never probed."""
    found: dict[str, list[Route]] = {}
    for route in current.routes.values():
        for target in route.asked.values():
            if isinstance(judge(target, route.constraints, now), Allowed):
                found.setdefault(target.name, []).append(route)
    return found


def demanded_of(stream: str, current: Catalog) -> Constraints:
    """What everybody must meet who is asked a golden set, or judges answers to it: what all routes demand whose set it
    is.  What comes with the package belongs to nobody."""
    routes = () if stream in (CORE, DRIFT) else current.routes.values()
    owning = (route.constraints for route in routes if stream in route.golden_sets)
    return reduce(Constraints.and_, owning, NO_CONSTRAINTS)


def runs_of(target: Target, routes: Sequence[Route], current: Catalog, now: float) -> dict[str, Run]:
    """The streams in which a target is asked again and again: golden sets, those for all and those of the `routes` that
    may use it, and drift prompts.

    A set of a route is the route's content: whoever may not see its requests is not asked it on behalf of another.
    There are no drift prompts for a target that thinks first: what it says first is drawn anew each time.
    """
    settings = current.health
    if not target.capabilities.chat:
        return {}
    named = {*settings.quality.sets, *(name for route in routes for name in route.golden_sets)}
    sets = (name for name in named if isinstance(judge(target, demanded_of(name, current), now), Allowed))
    found: dict[str, Run] = dict.fromkeys(sorted(sets), ("quality", settings.quality.period))
    if settings.drift.prompts and not target.capabilities.reasoning:
        found[DRIFT] = ("drift", settings.drift.period)
    return found


def asked_of(name: str, current: Catalog, now: float) -> dict[str, Run] | None:
    """The streams in which a target of the catalog is asked again and again; None where no route may use it."""
    target = current.targets[name]
    routes = [
        route
        for route in current.routes.values()
        if name in route.asked and isinstance(judge(target, route.constraints, now), Allowed)
    ]
    return runs_of(target, routes, current, now) if routes else None


def demanded_of_judges(stream: str, routes: Sequence[Route], current: Catalog) -> Constraints:
    """What whoever judges answers to a set must meet: what every route demands whose set it is, and where it is asked
    of all targets what all of the `routes` demand for which this one is."""
    everywhere = stream in current.health.quality.sets
    asking = (route.constraints for route in routes if everywhere or stream in route.golden_sets)
    return reduce(Constraints.and_, asking, demanded_of(stream, current))


def judge_for(target: Target, stream: str, routes: Sequence[Route], current: Catalog, now: float) -> Target | None:
    """The target that judges the answers to a set, where there is one that may see them; nobody judges itself.

    `routes` are those that may use the target.
    """
    settings = current.health.quality
    found = current.targets.get(settings.judge) if settings.judge else None
    if found is None or found.name == target.name or not found.capabilities.chat:
        return None
    return found if isinstance(judge(found, demanded_of_judges(stream, routes, current), now), Allowed) else None
