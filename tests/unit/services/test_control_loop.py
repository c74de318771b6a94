"""Observations to health to incidents to notices, driven record by record as the table stream does."""

import asyncio

import pytest

from tests.unit.services.environments import Local, observations, play
from tests.unit.services.probing import Provider, prober
from tests.unit.services.worlds import Queue, Sink, World
from understudy.errors import Conflict, Credential, RateLimited, Transient
from understudy.health.item import Health
from understudy.health.observation import Observation, observation_from
from understudy.incidents.incident import Incident
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.update_health import UpdateHealth


class Loop:
    """The rooms of the control plane, with the stream played by hand."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
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

    def failures(self, count: int = 5, *, busy: bool = True) -> Health:
        """So many failures in a row; `busy`: after enough good calls for the target to be a busy one."""
        if busy:
            self.see(Observation("lead", self.world.clock.now - 1, ok=50, last_ok_at=self.world.clock.now - 1))
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
    """Open times grow by a quarter; every opening is followed by one probe, every good one by the next until all is
    over."""
    loop = Loop()
    loop.failures()
    for good in (False, False, True, True, True, True):
        loop.world.clock.now += 20
        loop.probe(good=good)
    assert [("lead", d) for d in (2.0, 2.5, 3.125, 1.0, 1.0)] == loop.queue.sent


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
    """A refused key opens the breaker and a credential incident, no outage; three good probes end it."""
    loop = Loop()
    now = loop.world.clock.now
    states = [loop.see(Observation("lead", now).failure(now, Credential("invalid key"))).state]
    for _ in range(3):
        loop.world.clock.now += 61
        states.append(loop.probe(good=True).state)
    assert ["open", "half_open", "closed", "closed"] == states
    assert ["[critical] lead refuses our credential", "[resolved] lead is back"] == loop.titles()
    assert [("lead", 8.5), ("lead", 1.0), ("lead", 1.0)] == loop.queue.sent


def test_an_environment_that_meets_a_refused_credential_reports_no_outage() -> None:
    """The item that an environment writes when it opens comes before its observation; neither is taken for an
    outage."""

    async def story(world: World) -> tuple[list[str], list[str], list[tuple[str, float]]]:
        loop, local = Loop(world), Local(world)
        local.bad(failure=Credential("invalid key"))
        await local.settle(2)
        loop.react(None, world.store.health(["lead"])["lead"])
        for seen in observations(world):
            loop.see(observation_from(seen))
        return loop.titles(), [incident.kind for incident in world.store.incidents()], loop.queue.sent

    assert (["[critical] lead refuses our credential"], ["credential"], [("lead", 8.5)]) == play(story)


def test_a_rate_limit_with_a_hint_benches_and_alerts_nobody() -> None:
    """A provider that asks for a pause gets it from everybody; its breaker stays closed and no incident opens."""
    loop = Loop()
    now = loop.world.clock.now
    health = loop.see(Observation("lead", now).failure(now, RateLimited("wait", retry_after=60), now + 60))
    assert ("closed", now + 60) == (health.state, health.benched_until)
    assert ([], [], []) == (loop.titles(), loop.queue.sent, list(loop.world.store.incidents()))


def test_little_traffic_is_an_outage_by_two_failures() -> None:
    """Two failures of a target that is hardly used open its breaker for the steady time and alert."""
    loop = Loop()
    assert "open" == loop.failures(2, busy=False).state
    assert (["[critical] lead is down"], [("lead", 8.5)]) == (loop.titles(), loop.queue.sent)


def test_one_message_brings_a_target_back() -> None:
    """The probe message after the opening asks twice and closes the breaker; two more settle the incident."""

    async def story(world: World) -> tuple[list[str], list[str], list[str]]:
        loop, provider = Loop(world), Provider()
        probes = prober(world, provider)
        states = [loop.failures().state]
        for _ in range(3):
            await asyncio.sleep(2.5)
            await probes.recover("lead")
            states.append(loop.see(observation_from(observations(world)[-1])).state)
        return states, provider.asked, loop.titles()

    titles = ["[critical] lead is down", "[resolved] lead is back"]
    assert (["open", "closed", "closed", "closed"], ["lead"] * 4, titles) == play(story)


def test_an_observation_outlives_a_rival_write() -> None:
    """Where somebody else writes the item first, the observation is folded in on top of that."""
    loop = Loop()
    store = loop.world.store
    loop.world.table.before_put = lambda: store.put_health(Health("lead", benched_until=loop.world.clock.now + 9))
    health = loop.probe(good=True)
    assert (2, loop.world.clock.now + 9, 1) == (health.rev, health.benched_until, health.evaluations)


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
