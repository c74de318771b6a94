"""Which targets are probed by the clock, and when: the plan of one minute, pure.

A minute has one to four rounds, so that a target can be probed every 15 s although the schedule ticks once a minute.
Each message of a round names one target; whoever gets it looks again whether the target still needs to be probed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.catalog import Catalog, HealthSettings
from understudy.compliance import Allowed, judge
from understudy.health.breaker import lease
from understudy.health.item import Health
from understudy.ports import Due

MINUTE = 60.0
"""Seconds between two ticks of the schedule."""
ROUNDS = 4
"""Most rounds of one minute."""
GROUP = 10
"""Targets whose messages become visible in the same second: they fill one batch of a worker."""
SPREAD = 1 / 3
"""The part of a round's time over which the groups are spread, so that not all workers are wanted in one moment."""
SLACK = 3.0
"""Seconds by which two rounds may come closer together than the period: schedules and queues are not exact."""


@dataclass(frozen=True, slots=True)
class Call:
    """A message of either queue, read: `due` is None for a recovery probe; `again`: it has come before and failed."""

    target: str
    due: float | None = None
    again: bool = False


def call_from(body: str, receives: int) -> Call:
    """Read a message's body.  Raises ValueError where it names no target."""
    plain: Any = json.loads(body)
    target, due = (plain.get("target"), plain.get("due")) if isinstance(plain, dict) else (None, None)
    if not isinstance(target, str) or not (due is None or isinstance(due, int | float)):
        raise ValueError(f"this is no request for a probe: {body[:200]}")
    return Call(target, due, again=receives > 1)


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


def late(call: Call, settings: HealthSettings, now: float) -> bool:
    """Whether the next round has come since: two probes at once would say no more than one.  What failed before is
    tried again however late, or its failure would never be told."""
    return not call.again and call.due is not None and now - call.due >= MINUTE / rounds(settings.probe_period)


def plan(current: Catalog, known: Mapping[str, Health], now: float) -> list[Due]:
    """The messages of the minute that begins now, the earliest first.

    A target that no route may use gets none: a probe is an egress like any other.  A target keeps its place within
    the round from minute to minute, so that its probes come at even distances.
    """
    settings = current.health
    names = sorted(usable(current))
    count = rounds(settings.probe_period)
    length = MINUTE / count
    messages = []
    for place, name in enumerate(names):
        offset = place // GROUP * GROUP / len(names) * length * SPREAD
        for number in range(count):
            delay = math.floor(number * length + offset)
            if due(known.get(name), settings, now + delay):
                messages.append(Due(name, round(now + delay, 3), delay))
    return sorted(messages, key=lambda message: message.delay)


def usable(current: Catalog) -> set[str]:
    """The targets that some route may use; no other is probed."""
    return {
        target.name
        for route in current.routes.values()
        for target in route.asked.values()
        if isinstance(judge(target, route.constraints), Allowed)
    }
