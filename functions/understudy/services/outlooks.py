"""What is known of each route's targets: worked out when health was read anew, not for each request."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.catalog import HealthSettings, Route
from understudy.health.item import Health
from understudy.ports import Clock
from understudy.routing.scorers import Outlook, outlook

LASTS = 2.0
"""Seconds after which an outlook is made again although nothing new was read: evidence grows old."""


class Outlooks:
    """One for each execution environment; it remembers the last order of each route, so that orders are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, tuple[Route, Mapping[str, Health], float, Outlook]] = {}

    def of(self, route: Route, health: Mapping[str, Health], settings: HealthSettings) -> Outlook:
        """The outlook of a route by the health that was read last."""
        now, known = self._clock(), self._made.get(route.name)
        if known and known[0] is route and known[1] is health and now - known[2] < LASTS:
            return known[3]
        # An order that was kept for another strategy says nothing.
        before = known[3] if known and known[0].strategy == route.strategy else None
        made = outlook(route, health, settings, now, before)
        self._made[route.name] = (route, health, now, made)
        return made
