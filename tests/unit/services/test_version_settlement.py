"""When a new version is accepted by itself, what is accepted with it, and what ends with its questions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.detecting import ROW, Watched, samples
from tests.unit.services.test_degradation import confirmed
from tests.unit.services.test_degradation import version as reported
from understudy.detectors.sample import Sample
from understudy.services.publish_control import publish

DOCUMENT = """
schema: 1
providers:
  acme: {wire: openai, base_url: "https://acme.example/v1", simulated: true}
targets:
  lead: {provider: acme, model: large}
routes:
  chat: {targets: [lead], quarantine: automatic, golden_sets: [mine]}
golden_sets:
  mine: {task: sums, items: [{id: one, prompt: "What is 1 plus 1?", checker: {kind: number, value: 2}}]}
health: {breaker: {jitter: 0}}
alerts: {renotify_s: 3600}
"""


def two_sets(large: int, small: int) -> Watched:
    """So many questions of two sets, each asked three times, and then of a new version, told by the last run."""
    watched = Watched(document=DOCUMENT)
    for number in range(4):
        at = watched.world.clock.now + 600
        watched.see(*both(large, small, at), reported(watched, "v1" if number < 3 else "v2"))
    return watched


def both(large: int, small: int, at: float) -> list[Sample]:
    return samples("quality", [1.0] * large, at) + samples("quality", [1.0] * small, at, stream="mine")


@pytest.mark.parametrize(("large", "small"), [(40, 6), (30, 10)])
def test_small_sets_are_compared_together(large: int, small: int) -> None:
    """Neither a set that is too small to exclude a loss, nor two that only can together, keep a version out."""
    watched = two_sets(large, small)
    watched.answers([1.0] * large, run=-1)
    facts = watched.world.store.incident("lead", "version").facts
    assert ([], large + small) == (watched.states(), facts["questions compared"])


def test_a_loss_of_a_small_set_keeps_a_version_out() -> None:
    """What one set has lost counts among all questions."""
    watched = Watched(document=DOCUMENT)
    for number in range(6):
        at = watched.world.clock.now + 600
        small = samples("quality", [1.0 if number < 3 else 0.0] * 6, at, stream="mine", run=number)
        watched.see(*samples("quality", [1.0] * 40, at), *small, reported(watched, "v1" if number < 3 else "v2"))
    assert ("version", "confirmed") in watched.states()


def test_a_set_that_has_not_answered_since_is_waited_for() -> None:
    """All sets that the target is asked have their say."""
    watched = Watched(document=DOCUMENT)
    for number in range(4):
        at = watched.world.clock.now + 600
        every = both(40, 10, at) if number < 3 else samples("quality", [1.0] * 40, at)
        watched.see(*every, reported(watched, "v1" if number < 3 else "v2"))
    watched.answers([1.0] * 40, run=-1)
    assert [("version", "confirmed")] == watched.states()
    watched.see(*samples("quality", [1.0] * 10, watched.world.clock.now + 600, stream="mine"))
    assert [] == watched.states()


def test_only_what_came_with_the_version_is_accepted_with_it() -> None:
    """Answers that were of another length before are another matter; those that came with it end with its figures."""
    for late, left in ((False, [("tokens", "confirmed")]), (True, [])):
        watched = Watched(document=DOCUMENT)
        for _ in range(4):
            watched.see(*both(40, 6, watched.world.clock.now + 600), reported(watched, "v1"))
        if late:
            two_hours_later(watched)
        for values in ([12.0] * 6, [15.0] * ROW, [15.0] * 6):
            run = -1 if values == [15.0] * 6 else 0
            watched.see(*samples("tokens", values, watched.world.clock.now + 60, run=run), later=60)
        assert ("tokens", "confirmed") in watched.states()
        if not late:
            two_hours_later(watched)
        watched.answers([1.0] * 40, run=-2)
        watched.see(*samples("quality", [1.0] * 6, watched.world.clock.now + 60, stream="mine"), later=60)
        assert left == watched.states()
        status = watched.world.store.incident("lead", "tokens")
        assert ("questions compared" in status.facts) == late


def two_hours_later(watched: Watched) -> None:
    """One of the sets is asked again, and a new version answers."""
    at = watched.world.clock.now + 7200
    watched.see(*samples("quality", [1.0] * 40, at), replace(reported(watched, "v2"), at=at - 60), later=7200)


def test_a_finding_ends_with_its_questions() -> None:
    """A set that the target is no longer asked keeps nothing up: neither finding nor hold nor incident."""
    watched = confirmed()
    text = DOCUMENT.replace("health: {", "health: {quality: {sets: [mine]}, ")
    publish(watched.world.store, text, now=watched.world.clock.now, by="test")
    before = watched.health()
    watched.react(before, before)
    watched.react(before, watched.health())
    told = watched.world.store.incident("lead", "quality")
    assert ([], None, "resolved") == (watched.states(), watched.health().hold, told.status)
    assert "its questions are asked no more" == told.facts["over"]


def test_a_target_that_no_route_uses_keeps_its_findings() -> None:
    """It may be given back to one, and is as bad as it was."""
    watched = confirmed()
    text = DOCUMENT.replace("targets: [lead]", "targets: [spare]")
    text = text.replace("  lead: {", "  spare: {provider: acme, model: small}\n  lead: {")
    publish(watched.world.store, text, now=watched.world.clock.now, by="test")
    watched.react(watched.health(), watched.health())
    assert [("quality", "confirmed")] == watched.states()
