"""The daily seal: made once, soon after the day, and what it shows afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.audited import DAY, Writer, sorts, verified
from tests.unit.services.worlds import Clock, World
from understudy.audit.seal import Kept, seal_hash
from understudy.audit.verify import check_seals
from understudy.services.seal_audit import LOOK, WAIT, SealAudit

MIDNIGHT = 1_796_947_200.0
"""The end of DAY."""
HOURS = 3600.0


def sealing(at: float) -> tuple[World, SealAudit]:
    clock = Clock()
    clock.now = at
    world = World(clock)
    return world, SealAudit(world.store, clock=clock, logger=world.log)


def days(world: World) -> list[str]:
    return [seal.day for seal in world.store.seals()]


def test_a_day_is_sealed_soon_after_it() -> None:
    """Not before what was under way has noted its head; then once, however often it ticks; the log has it too."""
    world, seal = sealing(MIDNIGHT + WAIT - 1)
    world.store.note_head(Writer().written(3).head, MIDNIGHT)
    seal.tick()
    assert ["2026-12-09"] == days(world)
    world.clock.now += LOOK
    seal.tick()
    seal.tick()
    SealAudit(world.store, clock=world.clock, logger=world.log).tick()
    assert ["2026-12-09", DAY] == days(world)
    told = [fields for message, fields in world.log.lines if message == "audit seal"]
    assert [(0, 0), (1, 3)] == [(one["segments"], one["records"]) for one in told]
    assert world.store.seals()[1].plain == told[1]


def test_days_that_nobody_sealed_are_sealed_in_order() -> None:
    """A schedule that stood still leaves no gap in the chain."""
    world, seal = sealing(MIDNIGHT + HOURS)
    seal.tick()
    world.clock.now += 3 * 86_400
    seal.tick()
    assert ["2026-12-10", "2026-12-11", "2026-12-12", "2026-12-13"] == days(world)
    assert [] == list(check_seals(world.store.seals()))


def test_two_who_seal_at_once_make_one_seal() -> None:
    """The second one leaves it, and fails at nothing."""
    world, seal = sealing(MIDNIGHT + HOURS)
    world.table.before_put = lambda: SealAudit(world.store, clock=world.clock, logger=world.log).seal()
    assert [] == seal.seal()
    assert [DAY] == days(world)


def test_a_sealed_day_shows_what_was_taken_from_it() -> None:
    """The heads stay beside the seal when those of the environments are gone, and show a cut and a lost segment."""
    world, seal = sealing(MIDNIGHT + HOURS)
    one, other = Writer("aa").written(4), Writer("bb").written(2)
    for head in (one.head, other.head):
        world.store.note_head(head, MIDNIGHT)
    seal.tick()
    (kept,) = world.store.seals()
    assert [] == sorts(verified([*one.lines, *other.lines], kept.heads, sealed=True))
    assert [("missing", 4), ("missing", 1)] == sorts(verified(one.lines[:3], kept.heads, sealed=True))


def spoilt(kept: Kept, **plain: Any) -> Kept:
    return replace(kept, plain={**kept.plain, **plain})


def test_a_seal_that_was_changed_does_not_fit() -> None:
    """Changed, sealed anew, taken out, or with other heads: each is named, and what the log has noted counts."""
    world, seal = sealing(MIDNIGHT + HOURS)
    world.store.note_head(Writer().written(3).head, MIDNIGHT)
    seal.tick()
    world.clock.now += 2 * 86_400
    seal.tick()
    first, second, third = world.store.seals()
    anew = spoilt(first, changes="x")
    anew = spoilt(anew, hash=seal_hash(anew.plain))
    cases = {
        "changed": [spoilt(first, records=2), second, third],
        "sealed anew": [anew, second, third],
        "taken out": [first, third],
        "other heads": [replace(first, heads=()), second, third],
    }
    found = {name: [(flaw.sort, flaw.segment) for flaw in check_seals(seals)] for name, seals in cases.items()}
    assert {
        "changed": [("tampered", f"seal {DAY}")],
        "sealed anew": [("tampered", "seal 2026-12-11")],
        "taken out": [("missing", "seal 2026-12-11")],
        "other heads": [("tampered", f"seal {DAY}")],
    } == found
    noted = {DAY: str(first.plain["hash"])}
    assert [("tampered", f"seal {DAY}")] == [(f.sort, f.segment) for f in check_seals([anew], noted)]
