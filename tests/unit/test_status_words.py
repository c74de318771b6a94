"""What the operator is told of each target."""

from __future__ import annotations

from dataclasses import replace

from tests.builders import as_json
from understudy.catalog import HealthSettings
from understudy.health.finding import Hold
from understudy.health.item import Health
from understudy.incidents.evidence import PAGE
from understudy.incidents.incident import Incident
from understudy.status import STATUS, incident_lines, status, status_row

NOW = 1_795_568_524.0
SETTINGS = HealthSettings()
WELL = Health("lead", last_ok_at=NOW - 5, first_token=0.412, score=0.98)


def test_a_row_has_state_score_and_cause() -> None:
    """Each target has its state, since when, its score and why, and its last failure."""
    held = replace(WELL, hold=Hold("quarantined", NOW - 60, "ada", "wrong sums"))
    failed = replace(held, last_failure_at=NOW - 90, last_failure="silent: no first token within 10 s")
    rows = [status_row("lead", health, SETTINGS, NOW) for health in (None, WELL, failed)]
    assert [
        ("lead", "unknown", "-", "-", "-", "never seen", "-"),
        ("lead", "healthy", "-", "98", "412 ms", "98% of recent answers were good", "-"),
        ("lead", "quarantined", "2026-11-25 01:01:04 UTC", "98", "412 ms", "wrong sums",
         "2026-11-25 01:00:34 UTC silent: no first token within 10 s"),
    ] == rows  # fmt: skip
    assert {len(STATUS)} == {len(row) for row in rows}


def test_for_machines_it_is_plain_data() -> None:
    """The same as JSON, with the parts of the score in words."""
    told = status(WELL, SETTINGS, NOW)
    assert told == as_json(told)
    parts = "availability 98.0 of 100.0 (98.0% good), latency not known, quality not known, cost not known"
    assert ("healthy", 98.0, parts) == (told["state"], told["score"], told["parts"])


def test_an_open_incident_repeats_what_the_provider_says() -> None:
    """Severity, subject, kind and since when; what it is; what the provider's own page says, where that is known."""
    outage = Incident("lead", "outage", "open", "critical", NOW, NOW, NOW, 1, "5 failures in a row")
    lines = ["  critical lead outage since 2026-11-25 01:02:04 UTC", "    5 failures in a row"]
    said = replace(outage, facts={PAGE: "says that all is well"}, acknowledged_by="ada")
    assert lines == incident_lines(outage)
    assert [f"{lines[0]}, taken by ada", lines[1], "    its own status page says that all is well"] == incident_lines(
        said
    )
