"""Which findings a target's health keeps."""

from __future__ import annotations

from typing import Any

from understudy.detectors.sample import Alarm
from understudy.health.finding import Finding
from understudy.health.item import Health
from understudy.health.quarantine import MOST, with_findings

NOW = 1_800_000_000.0


def finding(stream: str, age: float, state: Any = "confirmed") -> Finding:
    return Finding(stream, state, NOW - age, Alarm("quality", "degraded", NOW, NOW - 60, 30))


def test_a_target_keeps_so_many_findings_and_those_that_matter_first() -> None:
    """However many routes it has: the confirmed, among them those that can be asked again, and the older ones."""
    health = Health("lead")
    told = [finding("core", 0), finding("own", 1, "suspected")]
    told += [finding(f"traffic:finish:r{number}", 10 + number) for number in range(MOST)]
    for one in told:
        health = with_findings(health, {(one.stream, one.kind): one})
    expected = [f"traffic:finish:r{number}" for number in reversed(range(1, MOST))]
    assert [*expected, "core"] == [one.stream for one in health.findings]


def test_a_finding_that_is_over_makes_room() -> None:
    """What is over goes, and the findings of other streams stay as they are, the oldest first."""
    health = with_findings(Health("lead"), {(s, "quality"): finding(s, a) for s, a in (("core", 1), ("own", 2))})
    assert ["own", "core"] == [one.stream for one in health.findings]
    assert ["own"] == [one.stream for one in with_findings(health, {("core", "quality"): None}).findings]
