"""A model that silently gets worse while every call succeeds, watched by the whole control plane in virtual time."""

from __future__ import annotations

import pytest

from tests.benchmarks.silent_weeks import STORIES
from tests.silent_weeks import Weeks

SOUND, WORSE, HEALED = 26.0, 6.0, 7.0
"""Hours."""


def unlearn(weeks: Weeks) -> None:
    weeks.models["lead"].lost = 0.25
    weeks.keep("sound")


def heal(weeks: Weeks) -> None:
    weeks.models["lead"].lost = 0.0
    weeks.keep("worse")


@pytest.fixture(scope="module")
def weeks() -> Weeks:
    return Weeks(models=("lead", "spare")).play((SOUND, unlearn), (WORSE, heal), (HEALED, lambda weeks: None))


def test_sound_models_alarm_nobody(weeks: Weeks) -> None:
    """In a day of probes nothing is found and nobody is told anything."""
    assert ([], {"lead": (), "spare": ()}) == (
        weeks.kept["sound"].told,
        {name: health.findings for name, health in weeks.kept["sound"].health.items()},
    )


def test_a_worse_one_is_told_once_and_kept_from_callers(weeks: Weeks) -> None:
    """Within six hourly runs of ten questions: one notice, a confirmed finding, a quarantine; the other one stays."""
    then = weeks.kept["worse"]
    hold = then.health["lead"].hold
    assert ["[critical] lead answers worse than it did"] == then.told
    assert [("core", "quality", "confirmed")] == [(f.stream, f.kind, f.state) for f in then.health["lead"].findings]
    assert ("quarantined", "understudy", None) == (hold and hold.state, hold and hold.by, then.health["spare"].hold)


def test_it_comes_back_by_itself(weeks: Weeks) -> None:
    """Once its answers are as before it is told so, once, and serves again."""
    assert "[resolved] lead answers as well as it did" == weeks.told[-1]
    assert (2, None, ()) == (len(weeks.told), weeks.health("lead").hold, weeks.health("lead").findings)


def test_the_evidence_is_in_the_notice(weeks: Weeks) -> None:
    """It says how good the answers were and are, of how many values, and what has been done."""
    told = weeks.sink.told[0].text
    assert all(words in told for words in ("before", "now", "95 % sure", "Trend:", "quarantined by understudy"))


@pytest.mark.parametrize(
    ("story", "kinds"),
    [
        ("fewer bits, the words as before", {"logprob"}),
        ("other first words, as good", {"logprob", "fingerprint"}),
    ],
)
def test_another_model_behind_the_name_is_one_incident(story: str, kinds: set[str]) -> None:
    """Seen by the probabilities of first words, by the words, or by both, it is told once within hours, and keeps its
    traffic."""
    weeks = Weeks(models=("lead",)).play((SOUND, STORIES[story]), (WORSE, lambda weeks: None))
    assert ([], ["[warning] lead answers like another model"]) == (weeks.kept["sound"].told, weeks.told)
    assert kinds == {finding.kind for finding in weeks.health("lead").findings if finding.state == "confirmed"}
    assert None is weeks.health("lead").hold
