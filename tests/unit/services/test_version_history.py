"""Versions are kept in one item a target, written seldom, and never at the cost of health."""

from __future__ import annotations

from typing import Any

from tests.unit.health.test_versions import reported
from tests.unit.services.worlds import Clock, World
from understudy.health.versions import history_from
from understudy.services.version_history import PAUSE, VersionHistory


class Kept:
    def __init__(self) -> None:
        self.clock = Clock()
        self.world = World(self.clock)
        self.history = VersionHistory(self.world.store, clock=self.clock, logger=self.world.log)

    def see(self, *names: str) -> None:
        for name in names:
            self.history.observe(reported(self.clock.now, name))
        self.history.flush(self.clock.now + 10)

    @property
    def calls(self) -> dict[str, int]:
        kept = self.world.store.version_history("lead")
        return {one.name: one.calls for one in history_from(kept.plain).versions} if kept else {}

    @property
    def writes(self) -> int:
        return self.world.table.calls.count("put")


def test_a_minute_of_observations_is_one_write() -> None:
    """And a new version is written at once."""
    kept = Kept()
    for _ in range(20):
        kept.see("v1")
    assert ({"v1": 1}, 1) == (kept.calls, kept.writes)
    kept.see("v2")
    assert ({"v1": 20, "v2": 1}, 2) == (kept.calls, kept.writes)
    kept.clock.now += PAUSE
    kept.see("v2")
    assert ({"v1": 20, "v2": 2}, 3) == (kept.calls, kept.writes)


def test_another_environments_counts_are_kept() -> None:
    """What it wrote meanwhile is read again, and neither is lost."""
    kept = Kept()
    other = VersionHistory(kept.world.store, clock=kept.clock, logger=kept.world.log)
    other.observe(reported(kept.clock.now, "v1"))
    kept.world.table.before_put = lambda: other.flush(kept.clock.now + 1)
    kept.see("v1", "v1")
    assert {"v1": 3} == kept.calls


def test_a_table_that_is_down_costs_counts_and_nothing_else() -> None:
    """It is told, and the next minute counts again."""
    kept = Kept()
    kept.world.table.down = True
    kept.see("v1")
    kept.world.table.down = False
    told: list[Any] = [message for message, _ in kept.world.log.lines if message == "versions were not kept"]
    kept.clock.now += PAUSE
    kept.see("v1")
    assert (1, {"v1": 1}) == (len(told), kept.calls)
