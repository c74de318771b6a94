"""What people and machines read of an incident."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json
from understudy.incidents.evidence import PAGE
from understudy.incidents.incident import Incident
from understudy.incidents.wording import notice

OUTAGE = Incident(
    subject="lead",
    kind="outage",
    status="open",
    severity="critical",
    opened_at=1_700_000_000.0,
    changed_at=1_700_000_075.0,
    noticed_at=1_700_000_000.0,
    notices=1,
    summary="5 failures in a row, the last: transient: HTTP 500",
    facts={"provider": "alpha", "model": "big", "routes": "chat"},
    link="https://runbook.example/lead",
)
REMINDER = replace(OUTAGE, notices=2, changed_at=1_700_003_600.0)
OVER = replace(OUTAGE, status="resolved", notices=3, resolved_at=1_700_007_260.0, changed_at=1_700_009_999.0)

SUBJECTS = [
    (OUTAGE, "[critical] lead is down"),
    (replace(OUTAGE, severity="warning"), "[warning] lead is down"),
    (replace(OUTAGE, kind="credential"), "[critical] lead refuses our credential"),
    (REMINDER, "[critical] lead is down (still, since 2023-11-14 22:13:20 UTC)"),
    (OVER, "[resolved] lead is back"),
    (replace(OUTAGE, subject="größe\n2"), "[critical] gr??e?2 is down"),
]


@pytest.mark.parametrize(("incident", "subject"), SUBJECTS)
def test_the_subject_says_what_to_act_on(incident: Incident, subject: str) -> None:
    """The subject line names severity, target and what is wrong; a reminder says since when."""
    assert subject == notice(incident).subject


@given(st.text(min_size=1, max_size=300), st.sampled_from([OUTAGE, REMINDER, OVER]))
def test_the_subject_is_what_sns_takes(name: str, incident: Incident) -> None:
    """Whatever a target is called, the subject is one line of at most 100 printable ASCII characters."""
    subject = notice(replace(incident, subject=name)).subject
    assert (True, True) == (len(subject) < 100, all(" " <= c <= "~" for c in subject))


def test_the_text_of_an_outage() -> None:
    """The text names what, since when, the evidence, what was done, what to do, and where to read more."""
    expected = """\
lead is down.

What:      5 failures in a row, the last: transient: HTTP 500
Since:     2023-11-14 22:13:20 UTC
Duration:  1 min 15 s
Evidence:  model: big; provider: alpha; routes: chat
"""
    text = notice(OUTAGE).text
    assert expected == text[: len(expected)]
    labels = [line.split(":")[0] for line in text.splitlines() if ":  " in line]
    assert ["What", "Since", "Duration", "Evidence", "Done", "To do", "More"] == labels
    assert ["More:      https://runbook.example/lead", "", f"Incident {OUTAGE.id}"] == text.splitlines()[-3:]


def test_the_text_of_the_end() -> None:
    """The last text says from when until when, that traffic is back and that there is nothing to do."""
    lines = notice(OVER).text.splitlines()
    expected = [
        "lead is back.",
        "Since:     2023-11-14 22:13:20 UTC until 2023-11-15 00:14:20 UTC",
        "Duration:  2 h 1 min",
        "Done:      It takes traffic again.",
        "To do:     Nothing.",
    ]
    assert expected == [lines[0], *[line for line in lines if line.startswith(("Since", "Duration", "Done", "To do"))]]


@pytest.mark.parametrize(("incident", "done", "do"), [
    (OUTAGE, "out of the rotation", "infra/runbooks/outage.md"),
    (replace(OUTAGE, kind="credential"), "benched", "infra/runbooks/credential.md"),
])  # fmt: skip
def test_each_kind_has_its_own_advice(incident: Incident, done: str, do: str) -> None:
    """Each kind says what Understudy did by itself, and points to its own runbook."""
    lines = {line.split(":")[0]: line for line in notice(incident).text.splitlines()}
    assert (True, True) == (done in lines["Done"], do in lines["To do"])


ALL = [
    ("latency", "[warning] lead is slower than it was", "[resolved] lead is as fast as it was"),
    ("quality", "[warning] lead answers worse than it did", "[resolved] lead answers as well as it did"),
    (
        "tokens",
        "[warning] lead writes answers of another length",
        "[resolved] lead has a usual length of answers again",
    ),
    ("cost", "[warning] lead costs more than it did", "[resolved] lead costs what it did"),
    ("changed", "[warning] lead answers like another model", "[resolved] lead no longer counts as changed"),
    ("version", "[warning] lead is another version now", "[resolved] lead is accepted in its new version"),
]


@pytest.mark.parametrize(("kind", "opening", "end"), ALL)
def test_every_kind_is_told_from_its_opening_to_its_end(kind: Any, opening: str, end: str) -> None:
    """A subject for both, a runbook, what was done with times, the trend, and commands that can be copied."""
    facts = {"provider": "alpha", "trend": "##=__ (oldest first; _ is 0.6, # is 0.9)"}
    actions = ((1_700_000_000.0, "the detector gave an alarm"),)
    open_ = replace(OUTAGE, kind=kind, severity="warning", facts=facts, actions=actions)
    over = replace(open_, status="resolved", resolved_at=1_700_007_260.0)
    assert [opening, end] == [notice(one).subject for one in (open_, over)]
    lines = notice(open_).text.splitlines()
    assert f"Trend:     {facts['trend']}" in lines
    assert "           2023-11-14 22:13:20 UTC  the detector gave an alarm" in lines
    to_do = next(line for line in lines if line.startswith("To do:"))
    assert (True, False) == (f"Runbook: infra/runbooks/{kind}.md" in to_do, "{" in to_do)
    assert ("`understudy" in to_do, True) == (True, len(notice(open_).text) < 1500)


def test_a_provider_a_doubt_and_a_failing_target_are_told_as_such() -> None:
    """All targets of a provider; what is not sure; calls that fail more often though the target is up."""
    slow = replace(OUTAGE, kind="latency", severity="warning")
    found = [
        replace(slow, subject="provider:alpha"),
        replace(slow, facts={"second look": "not sure"}),
        replace(OUTAGE, severity="warning", facts={"failed calls": "1 % before, 9 % now"}),
    ]
    assert [
        "[warning] Every target of alpha is slower than it was",
        "[warning] lead perhaps is slower than it was",
        "[warning] lead fails more often than it did",
    ] == [notice(one).subject for one in found]
    assert "understudy drain TARGET" in notice(found[0]).text


def test_whoever_has_taken_it_is_named() -> None:
    """In the text of whatever is told later."""
    assert "Taken by:  ann" in notice(replace(OVER, acknowledged_by="ann")).text.splitlines()


def test_without_link_and_facts() -> None:
    """An incident without a link or figures is told all the same."""
    text = notice(replace(OUTAGE, link="", facts={})).text
    assert (True, False) == ("Evidence:  none" in text, "More:" in text)


def test_one_id_for_one_telling() -> None:
    """The same telling has the same id however often it is built; each further telling has its own."""
    ids = [notice(incident).id for incident in (OUTAGE, OUTAGE, REMINDER, OVER)]
    assert [f"lead/outage/1700000000000/{n}" for n in (1, 1, 2, 3)] == ids


@pytest.mark.parametrize(("facts", "provider"), [({"provider": "alpha"}, "alpha"), ({}, "unknown")])
def test_attributes_and_data_for_machines(facts: dict[str, Any], provider: str) -> None:
    """Filter policies find severity, kind, status, target and provider; the data is the whole incident, as JSON."""
    told = notice(replace(OUTAGE, facts=facts))
    expected = {
        "severity": "critical",
        "kind": "outage",
        "status": "open",
        "target": "lead",
        "provider": provider,
    }
    assert expected == told.attributes
    assert {"incident": OUTAGE.id, **replace(OUTAGE, facts=facts).plain()} == as_json(told.data)


def test_what_the_provider_says_itself_has_a_line() -> None:
    """After the evidence, which it is none of; at the end of trouble it says that it may be older."""
    page = {PAGE: "says: Partial outage (minor), changed 2023-11-14 22:10 UTC"}
    lines = [notice(replace(one, facts={**one.facts, **page})).text.splitlines() for one in (OUTAGE, OVER)]
    said = f"Provider:  its own status page {page[PAGE]}"
    assert (said, f"{said} (when it was last looked at)") == (lines[0][6], lines[1][6])
    assert lines[0][5] == notice(OUTAGE).text.splitlines()[5]
