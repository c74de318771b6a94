"""What an alarm says, in words, figures and a small picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.detectors.sample import KINDS, Alarm
from understudy.incidents.evidence import KIND, VALUE, Found, actions, facts, sparkline, summary
from understudy.incidents.incident import KINDS as INCIDENTS

WHEN = 1_700_000_000.0
ALARM = Alarm("quality", "degraded", WHEN + 600, WHEN, 34, 0.92, 0.7123, 0.61, 0.8, "mean value of the same questions")
FOUND = Found("lead", "core", True, ALARM)


def test_every_kind_of_value_has_words_and_an_incident() -> None:
    """A new kind needs both."""
    assert (KINDS, KINDS) == (KIND.keys(), VALUE.keys())
    assert set() == set(KIND.values()) - set(INCIDENTS)


def test_the_summary_says_before_and_now_and_how_sure() -> None:
    """In one sentence, with the moment since when."""
    expected = (
        "right answers of the questions of core: 0.92 before, 0.712 now (95 % sure: 0.61 to 0.8), "
        "since about 2023-11-14 22:13:20 UTC"
    )
    assert expected == summary([FOUND])
    assert f"not confirmed: {expected}; and 2 more like it" == summary([replace(FOUND, confirmed=False), FOUND, FOUND])


@pytest.mark.parametrize(("kind", "evidence", "words"), [
    ("version", {"before": "v1", "after": "v2"}, "version of callers' requests changed (before: v1; after: v2), since"),
    ("fingerprint", {}, "first words of callers' requests differ, since about"),
])  # fmt: skip
def test_a_text_that_changed_is_told_by_what_it_was(kind: str, evidence: dict[str, str], words: str) -> None:
    """There are no numbers to tell."""
    alarm = Alarm(kind, "changed", WHEN, WHEN, 1, evidence=evidence)  # type: ignore[arg-type]
    assert words == summary([Found("lead", "", True, alarm)])[: len(words)]


def test_figures_for_people_leave_out_what_is_for_programs() -> None:
    """Where it was seen, whether it was confirmed, how many values, the unit, the trend, what the detector adds."""
    evidence = {
        "e_value": 9.0,
        "doubt": True,
        "good": 0,
        "actions": [[WHEN, "x"]],
        "trend": [1.0, 0.5],
        "questions": 40,
    }
    told = facts([replace(FOUND, alarm=replace(ALARM, evidence=evidence))])
    assert {
        "seen in": "of the questions of core",
        "second look": "confirmed",
        "values since": 34,
        "unit": "mean value of the same questions",
        "trend": "#_ (oldest first; _ is 0.5, # is 1)",
        "questions": "40",
    } == told


def test_actions_say_of_which_target_and_stream() -> None:
    """Several may be told in one incident."""
    alarm = replace(ALARM, evidence={"actions": [[WHEN, "a run was bought"]]})
    assert [(WHEN, "lead, of the questions of core: a run was bought")] == actions([replace(FOUND, alarm=alarm)])


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=24))
def test_a_picture_is_plain_ascii_and_as_long_as_its_values(values: list[float]) -> None:
    """Whatever the values are, with what its ends mean."""
    drawn, _, meaning = sparkline(values).partition(" ")
    assert (len(values), True, True) == (len(drawn), sparkline(values).isascii(), meaning.startswith("("))


def test_a_picture_rises_and_falls_with_its_values() -> None:
    """The lowest is a line at the bottom, the highest a block."""
    assert "_+#+_ (oldest first; _ is 0, # is 2)" == sparkline([0, 1, 2, 1, 0])
    assert "==== (all 5)" == sparkline([5.0] * 4)
