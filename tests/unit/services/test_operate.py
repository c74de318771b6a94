"""What an operator does by hand, and the commands that do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.detecting import KIT, ROW, WATCHED, Watched, samples
from tests.unit.services.test_degradation import FLEET, confirmed, slower
from understudy import bootstrap
from understudy.cli import main
from understudy.health.finding import Hold
from understudy.services.operate import OperatorError, accept, acknowledge, hold, release

NOW = 1_800_000_100.0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A command on a table in memory: its exit code and what it said."""

    def ran(watched: Watched, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(bootstrap, "operator_store", lambda _: watched.world.store)
        code = main([*arguments, "--table", "t"])
        out, err = capsys.readouterr()
        return code, out + err

    return ran


@pytest.mark.parametrize(("command", "state"), [("quarantine", "quarantined"), ("drain", "drained")])
def test_a_target_is_held_and_released(run: Any, command: str, state: str) -> None:
    """With who and why; the command says how to undo it."""
    watched = Watched()
    code, said = run(watched, command, "lead", "--because", "doubtful\nanswers", "--by", "ann")
    held = watched.health().hold
    assert held is not None
    assert (0, state, "ann", "doubtful answers") == (code, held.state, held.by, held.cause)
    assert "Undo: understudy release lead" in said
    assert f"  lead {state} since " in run(watched, "status")[1]
    assert (0, None) == (run(watched, "release", "lead")[0], watched.health().hold)


def test_status_says_what_was_found_and_who_has_it(run: Any) -> None:
    """Findings, holds and open incidents, a line each; a healthy router has none of the first two."""
    assert "findings and holds" not in run(Watched(), "status")[1]
    watched = confirmed()
    assert 0 == run(watched, "ack", "lead", "quality", "--by", "ann")[0]
    said = run(watched, "status")[1]
    assert "  lead confirmed, degraded: right answers of the questions of core: 1 before, 0 now" in said
    assert "  lead quarantined since 2027-01-15 08:30:00 UTC by understudy: its answers to core are worse" in said
    assert "  critical lead quality since " in said
    assert ", taken by ann" in said


@pytest.mark.parametrize(("arguments", "said"), [
    (("drain", "gone", "--because", "x"), "there is no target 'gone'"),
    (("drain", "lead", "--because", "  "), "say why with --because"),
    (("release", "lead"), "lead is not held back"),
    (("accept", "lead"), "lead has no finding to accept"),
    (("accept", "lead", "--stream", "core"), "lead has no finding of stream 'core' to accept"),
    (("ack", "lead", "mood"), "there is no incident of kind 'mood'; kinds are outage,"),
    (("ack", "lead", "outage"), "there is no open incident lead outage"),
])  # fmt: skip
def test_what_cannot_be_done_is_said(run: Any, arguments: tuple[str, ...], said: str) -> None:
    """What is wrong and what to do; nothing is written."""
    watched = Watched()
    assert (1, True) == (lambda code, text: (code, said in text))(*run(watched, *arguments))
    assert {} == watched.world.store.health(["lead", "gone"])


def test_an_incident_is_taken_by_one() -> None:
    """The second hears who has it."""
    watched = confirmed()
    acknowledge(watched.world.store, "lead", "quality", by="ann", now=NOW)
    with pytest.raises(OperatorError, match="ann has taken lead quality already"):
        acknowledge(watched.world.store, "lead", "quality", by="bob", now=NOW)


def test_accepting_lifts_the_quarantine_that_followed() -> None:
    """And no hold of an operator; what was normal is learned anew."""
    for by, lifted in (("understudy", True), ("ann", False)):
        watched = confirmed()
        store = watched.world.store
        held = replace(watched.health().hold or Hold("drained", 0, "", ""), by=by)
        store.put_health(replace(watched.health(), hold=held))
        accept(store, "lead", None, by="bob", now=NOW, kit=KIT)
        health = watched.health()
        assert (lifted, (), True) == (
            health.hold is None,
            health.findings,
            all(one.baseline is None for one in health.quality.values()),
        )
        assert "resolved" == store.incident("lead", "quality").status


@pytest.mark.parametrize("gone", [False, True])
def test_an_acceptance_is_told_once_however_it_is_overtaken(gone: bool) -> None:
    """What sees the target between the two writes neither opens the incident again nor ends it without the name."""
    watched = confirmed()
    store, before = watched.world.store, watched.health()

    def rivals(puts: int) -> None:
        """What the stream brings just before the third write, which is that of the health."""
        if puts:
            watched.world.table.before_put = lambda: rivals(puts - 1)
        else:
            watched.react(before, replace(before, findings=(), hold=None) if gone else before)

    rivals(3)
    accept(store, "lead", None, by="bob", now=NOW, kit=KIT)
    watched.react(before, watched.health())
    assert ["[critical] lead answers worse than it did", "[resolved] lead answers as well as it did"] == (
        watched.titles()
    )
    assert "accepted by bob" == store.incident("lead", "quality").facts["over"]


def test_incidents_that_nothing_would_end_are_ended_by_accepting(run: Any) -> None:
    """Where the record by which a finding went was lost, its incident stays open and no finding is left."""
    watched = confirmed()
    watched.world.store.put_health(replace(watched.health(), findings=(), hold=None))
    code, said = run(watched, "accept", "lead", "--by", "ann")
    assert (0, True) == (code, "the incidents that were left of it are ended" in said)
    told = watched.world.store.incident("lead", "quality")
    assert ("resolved", "accepted by ann") == (told.status, told.facts["over"])
    assert 1 == run(watched, "accept", "lead")[0]


def test_an_incident_of_a_provider_without_findings_is_ended_by_accepting() -> None:
    """Unless another of its targets has such a finding."""
    for other in (False, True):
        watched = Watched(document=FLEET)
        for target in ("a", "b", "c"):
            slower(watched, target)
        for target in ("a", "b", "c")[: 2 if other else 3]:
            watched.world.store.put_health(replace(watched.health(target), findings=()))
        if other:
            with pytest.raises(OperatorError):
                accept(watched.world.store, "a", None, by="ann", now=NOW, kit=KIT)
        else:
            accept(watched.world.store, "a", None, by="ann", now=NOW, kit=KIT)
        status = watched.world.store.incident("provider:acme", "latency").status
        assert ("open" if other else "resolved") == status


def test_a_quarantine_says_which_routes_it_does_not_concern(run: Any) -> None:
    """Those that say off; a drain concerns all of them."""
    watched = Watched(document=WATCHED.replace("calm: {", "calm: {quarantine: off, "))
    assert "but not for calm (`quarantine: off`" in run(watched, "quarantine", "lead", "--because", "x")[1]
    assert "but not" not in run(watched, "drain", "lead", "--because", "x")[1]


def test_one_stream_is_accepted_alone() -> None:
    """The others' findings stand, and an incident that they share stays open."""
    watched = Watched()
    for stream in ("", "core"):
        for values in ([0.2] * 5, [0.9] * ROW, [0.9] * 20):
            watched.see(*samples("latency", values, watched.world.clock.now + 600, stream=stream))
    accept(watched.world.store, "lead", "core", by="ann", now=NOW, kit=KIT)
    assert [""] == [finding.stream for finding in watched.health().findings]
    assert "open" == watched.world.store.incident("lead", "latency").status


def test_a_rival_write_is_kept() -> None:
    """A hold is added to what others have written meanwhile."""
    watched = Watched()
    store, table = watched.world.store, watched.world.table
    table.before_put = lambda: store.put_health(replace(watched.health(), benched_until=9.0))
    hold(store, "lead", "drained", by="ann", because="x", now=NOW)
    assert (9.0, "drained") == (watched.health().benched_until, getattr(watched.health().hold, "state", None))
    assert "ann" == release(store, "lead", by="bob", now=NOW).by
