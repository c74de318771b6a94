"""Observations to health to incidents to notices, driven record by record as the table stream does."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.unit.services.worlds import Queue, Sink, World
from understudy.catalog import Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, make_chunk
from understudy.errors import Conflict, Credential, Transient
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.incidents.incident import Incident
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.update_health import UpdateHealth


class Loop:
    """The rooms of the control plane, with the stream played by hand."""

    def __init__(self) -> None:
        self.world = World()
        self.queue, self.sink = Queue(), Sink()
        w = self.world
        self.update = UpdateHealth(w.store, self.queue, clock=w.clock, logger=w.log, rng=w.rng)
        self.alerts = PublishAlerts(w.store, [("sink", self.sink)], clock=w.clock, logger=w.log)
        self.incident: Incident | None = None

    def see(self, observation: Observation) -> Health:
        """One observation through the whole control plane, each record delivered twice."""
        name = observation.target
        before = self.world.store.health([name]).get(name)
        self.update.observe(observation)
        after = self.world.store.health([name])[name]
        self.react(before, after)
        return after

    def react(self, before: Health | None, after: Health) -> None:
        self.update.react(before, after)
        for kind in ("outage", "credential"):
            incident = self.world.store.incident(after.target, kind)
            if incident is not None:
                self.alerts.publish(self.incident, incident)
                self.alerts.publish(self.incident, incident)
                self.incident = incident

    def failures(self, count: int = 5) -> Health:
        seen = Observation("lead", self.world.clock.now)
        for _ in range(count):
            seen = seen.failure(self.world.clock.now, Transient("boom"))
        return self.see(seen)

    def probe(self, *, good: bool) -> Health:
        seen = Observation("lead", self.world.clock.now, source="probe")
        now = self.world.clock.now
        return self.see(seen.success(now, 0.1) if good else seen.failure(now, Transient("still broken")))

    def titles(self) -> list[str]:
        return [notice.subject for notice in self.sink.told]


def test_an_outage_is_told_once_and_resolved_once() -> None:
    """Five failures open; probes fail, then succeed; the mailbox holds one opening and one end."""
    loop = Loop()
    states = [loop.failures().state]
    for good in (False, False, True, True, True, True):
        loop.world.clock.now += 20
        states.append(loop.probe(good=good).state)
    assert ["open", "open", "open", "half_open", "closed", "closed", "closed"] == states
    assert ["[critical] lead is down", "[resolved] lead is back"] == loop.titles()
    assert "resolved" == loop.world.store.incident("lead", "outage").status


def test_each_opening_orders_one_probe_when_its_time_is_over() -> None:
    """Open times double; every opening is followed by one probe, every good probe by the next until all is over."""
    loop = Loop()
    loop.failures()
    for good in (False, False, True, True, True, True):
        loop.world.clock.now += 20
        loop.probe(good=good)
    assert [("lead", d) for d in (2.0, 4.0, 8.0, 1.0, 1.0)] == loop.queue.sent


def test_a_lasting_outage_is_told_again_hourly() -> None:
    """A reminder comes after an hour, not with every failed probe."""
    loop = Loop()
    loop.failures()
    for _ in range(10):
        loop.world.clock.now += 600
        loop.probe(good=False)
    assert 2 == len(loop.titles())
    assert loop.titles()[1].startswith("[critical] lead is down (still, since ")


def test_good_traffic_alone_opens_nothing() -> None:
    """A healthy target has health, but no incident, no probe and no notice."""
    loop = Loop()
    for _ in range(20):
        loop.world.clock.now += 10
        loop.see(Observation("lead", loop.world.clock.now, ok=100, first_token=20.0))
    assert ([], [], []) == (loop.titles(), loop.queue.sent, list(loop.world.store.incidents()))


def test_a_refused_credential_is_an_incident_of_its_own() -> None:
    """A refused key opens a credential incident, leaves the breaker closed, and is over after three good ones."""
    loop = Loop()
    now = loop.world.clock.now
    state = loop.see(Observation("lead", now).failure(now, Credential("invalid key"), now + 60)).state
    for _ in range(3):
        loop.world.clock.now += 61
        loop.probe(good=True)
    assert ("closed", ["[critical] lead refuses our credential", "[resolved] lead is back"]) == (state, loop.titles())


def test_an_observation_of_an_unknown_target_is_passed_over() -> None:
    """A target that was taken out of the document gets no health item."""
    loop = Loop()
    loop.update.observe(Observation("gone", loop.world.clock.now, ok=1))
    assert {} == loop.world.store.health(["gone"])


def test_a_notice_that_could_not_be_sent_is_sent_later_and_once() -> None:
    """A sink that is down makes the record fail; the next delivery tells it, and no later one does."""
    loop = Loop()
    loop.sink.down = True
    with pytest.raises(ConnectionError):
        loop.failures()
    loop.sink.down = False
    incident = loop.world.store.incident("lead", "outage")
    assert [True, False] == [loop.alerts.publish(None, incident) for _ in range(2)]
    assert ["[critical] lead is down"] == loop.titles()


def test_a_claim_of_somebody_who_vanished_is_taken_over() -> None:
    """While another tells, the record fails; when its lease is over the notice is told."""
    loop = Loop()
    loop.failures()
    incident = loop.world.store.incident("lead", "outage")
    later = Incident(**{n: getattr(incident, n) for n in incident.__slots__} | {"notices": 9})
    loop.world.store.claim(f"{later.id}/9/sink", loop.world.clock.now, 60)
    with pytest.raises(Conflict):
        loop.alerts.publish(incident, later)
    loop.world.clock.now += 61
    assert loop.alerts.publish(incident, later)


class Provider:
    """Answers probes, or fails them; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down: set[str] = set()

    async def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        self.asked.append(target.name)
        if target.name in self.down:
            raise Transient("boom")
        yield make_chunk(id="1", model="m", created=1, delta={"content": "ready"})
        yield make_chunk(id="1", model="m", created=1, finish_reason="stop")


def prober(world: World, provider: Provider) -> ProbeTargets:
    return ProbeTargets(world.store, provider, clock=world.clock, logger=world.log, rng=world.rng)


def test_only_what_traffic_has_not_proved_is_probed() -> None:
    """A target with recent good traffic is left alone; the others are probed."""
    world, provider = World(), Provider()
    world.store.put_health(Health("lead", last_ok_at=world.clock.now - 5))
    assert (1, ["spare"]) == (asyncio.run(prober(world, provider).tick()), provider.asked)


def test_a_recovery_probe_is_sent_once_when_it_is_due() -> None:
    """Two messages for one opening give one call; before its time there is none."""
    loop, provider = Loop(), Provider()
    loop.failures()
    probes = prober(loop.world, provider)
    asyncio.run(probes.recover("lead"))
    before = list(provider.asked)
    loop.world.clock.now += 2.1
    for _ in range(2):
        asyncio.run(probes.recover("lead"))
    assert ([], ["lead"]) == (before, provider.asked)


def test_a_healthy_target_needs_no_recovery() -> None:
    """A late message for a target that is well again costs nothing."""
    world, provider = World(), Provider()
    assert (False, []) == (asyncio.run(prober(world, provider).recover("lead")), provider.asked)


def test_probes_are_observations() -> None:
    """A probe's outcome is written as an observation that says it is one."""
    world, provider = World(), Provider()
    provider.down = {"spare"}
    asyncio.run(prober(world, provider).tick())
    seen = {
        name: [(i.body["source"], i.body["ok"], i.body["failures"]) for i in world.table.query(f"target#{name}")]
        for name in ("lead", "spare")
    }
    assert {"lead": [("probe", 1, 0)], "spare": [("probe", 0, 1)]} == seen
