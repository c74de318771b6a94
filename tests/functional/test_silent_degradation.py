"""The whole way, through the rooms' own handlers and records as the table's stream has them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from publish_alerts import handler as alerts_room
from tests.detecting import KIT, ROW, WATCHED, Asked, Confirms, samples
from tests.unit.services.worlds import NOW, Queue, Sink
from understudy.health.observation import Observation
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.publish_control import publish
from understudy.services.update_health import UpdateHealth
from understudy.store import keys
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item
from understudy.telemetry import JsonLogger
from update_health import handler as health_room


def image(item: Item) -> dict[str, Any]:
    """An item as a record of the stream has it."""
    pk, sk = item.key
    return {"pk": {"S": pk}, "sk": {"S": sk}, "rev": {"N": str(item.rev)}, "body": {"S": json.dumps(item.body)}}


class Stream(MemoryTable):
    """A table whose changes wait here until they are delivered, to the rooms that the template's filters name."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[Any] = []

    def put(self, item: Item, *, seen: int | None = None) -> None:
        before = self.get(item.key)
        super().put(item, seen=seen)
        pk, sk = item.key
        room = "alerts" if pk == keys.INCIDENT else "health" if sk.startswith((keys.OBSERVATION, keys.HEALTH)) else ""
        images = {"NewImage": image(item)} | ({"OldImage": image(before)} if before else {})
        if room:
            self.waiting.append((room, {"dynamodb": images | {"SequenceNumber": "1"}}))

    def deliver(self) -> None:
        """Each twice, until nothing comes of it any more."""
        while self.waiting:
            room, record = self.waiting.pop(0)
            handler = alerts_room.handler if room == "alerts" else health_room.handler
            self.failures += handler({"Records": [record, record]}, None)["batchItemFailures"]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def confirms() -> Confirms:
    return Confirms()


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch, sink: Sink, confirms: Confirms) -> Iterator[tuple[Store, Stream]]:
    """A router whose detectors are foreseen, over a table in memory."""
    stream = Stream()
    store = Store(stream)
    publish(store, WATCHED, now=NOW, by="test")
    logger, clock = JsonLogger("update_health", "ERROR"), lambda: NOW + 5_000
    update = UpdateHealth(
        store, Queue(), clock=clock, logger=logger, rng=random.Random(1), confirms=confirms, kit=KIT,
        find=lambda _, name: Asked() if name == "core" else None,
    )  # fmt: skip
    alerts = PublishAlerts(store, [("sink", sink)], clock=clock, logger=logger)
    monkeypatch.setattr(health_room, "service", lambda: update)
    monkeypatch.setattr(alerts_room, "service", lambda: alerts)
    yield store, stream


def test_a_provider_that_silently_gets_worse_is_noticed_held_and_told(
    router: tuple[Store, Stream], sink: Sink, confirms: Confirms
) -> None:
    """Every call succeeds.  Probes write observations; what comes of them is a finding, a run that was bought, an
    incident, a quarantine, one message; and when it is good again, one more."""
    store, stream = router
    runs = [([1.0] * 8, 1), ([0.0] * ROW, 2), ([0.0] * 8, -3), ([1.0] * 8, -4), ([1.0] * 8, -5), ([1.0] * 8, -6)]
    held = []
    for values, run in runs:
        at = NOW + abs(run) * 600
        seen = Observation("lead", at, source="probe", ok=len(values), last_ok_at=at)
        store.add_observation(seen.measured(*samples("quality", values, at, run=run)))
        stream.deliver()
        hold = store.health(["lead"])["lead"].hold
        held.append(hold.state if hold else None)
    assert [None, None, "quarantined", "quarantined", "quarantined", None] == held
    assert (["lead/core"] * 3, []) == (["/".join(one) for one in confirms.sent], stream.failures)
    assert [
        "[critical] lead answers worse than it did",
        "[resolved] lead answers as well as it did",
    ] == [told.subject for told in sink.told]
    health = store.health(["lead"])["lead"]
    assert ("closed", 1.0, ()) == (health.state, health.score, health.findings)
