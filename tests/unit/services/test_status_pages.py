"""Whose status page is read, how often, and what is told of it; and that it decides nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.builders import good
from tests.sweeping import batch
from tests.unit.services.environments import observations, play
from tests.unit.services.probing import Provider, Sweeps
from tests.unit.services.worlds import DOCUMENT, NOW, LoopClock, Queue, Sink, World
from tests.virtual import run
from understudy.detectors.sample import Alarm
from understudy.errors import StoreError, Transient
from understudy.health.breaker import Breaker
from understudy.health.finding import Finding
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.health.status_page import MOST, StatusPage
from understudy.incidents.evidence import PAGE
from understudy.ports import Due
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.status_pages import AT_ONCE, StatusPages
from understudy.services.update_health import UpdateHealth

URL = "https://status.acme.example/api/v2/summary.json"
WITH_PAGE = DOCUMENT.replace('/v1"', f'/v1", status_page: "{URL}"')
OPEN = Health("lead", Breaker("open", changed_at=NOW - 4, until=NOW, opens=1, down_since=NOW - 4))
ALARM = Alarm("quality", "degraded", NOW, NOW - 60, 9, 0.9, 0.5)
SUSPECTED = Health("lead", findings=(Finding("core", "suspected", NOW, ALARM),), last_ok_at=NOW)


def page(indicator: str = "minor", description: str = "Partial outage") -> bytes:
    status = {"indicator": indicator, "description": description}
    return json.dumps({"status": status, "page": {"updated_at": "2027-01-15T07:59:30.000Z"}}).encode()


@dataclass
class Reply:
    """Satisfies `understudy.ports.Reply`."""

    status: int
    content: Sequence[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    read: int = 0

    async def body(self) -> AsyncIterator[bytes]:
        for part in self.content:
            self.read += 1
            yield part


class Pages:
    """Gives a page, or fails, after so many seconds.  Satisfies `understudy.ports.PageReader`."""

    def __init__(self, said: Reply | Exception | None = None, seconds: float = 0.0) -> None:
        self.said = said or Reply(200, [page()])
        self.seconds = seconds
        self.asked: list[str] = []

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], *, connect: float) -> AsyncIterator[Reply]:
        self.asked.append(url)
        await asyncio.sleep(self.seconds)
        if isinstance(self.said, Exception):
            raise self.said
        yield self.said


def prober(world: World, pages: Pages, provider: Provider | None = None) -> ProbeTargets:
    w, asked = world, provider or Provider()
    return ProbeTargets(w.store, asked, Sweeps(), clock=w.clock, logger=w.log, rng=w.rng, pages=pages)


def known(world: World) -> StatusPage:
    found = world.store.status_page("acme")
    assert found is not None
    return found


def words(pages: Pages) -> tuple[str, float]:
    """What is known of a page after a tick, and how long that took."""

    async def story() -> tuple[str, float]:
        world = World(LoopClock(), WITH_PAGE)
        world.store.put_health(OPEN)
        await prober(world, pages).tick()
        return known(world).words(URL, world.clock()), world.clock() - NOW

    return run(story())


@pytest.mark.parametrize(
    ("health", "asked"),
    [
        (OPEN, [URL]),
        (SUSPECTED, [URL]),
        (Health("lead", credential_failed=True), [URL]),
        (Health("lead", Breaker("half_open", opens=1)), [URL]),
        (Health("lead", Breaker("closed", opens=1), evaluations=1), [URL]),
        (Health("lead", Breaker("closed", opens=1), evaluations=99), []),
        (Health("lead"), []),
        (Health("lead", benched_until=NOW + 60), []),
        (None, []),
    ],
    ids=["open", "suspected", "refused", "half open", "recovering", "back", "well", "benched", "never seen"],
)
def test_only_trouble_has_a_page_read(health: Health | None, asked: list[str]) -> None:
    """That of a provider one of whose targets is down, recovering, refused or worse than it was; no other's."""

    async def story() -> list[str]:
        world, pages = World(LoopClock(), WITH_PAGE), Pages()
        if health is not None:
            world.store.put_health(health)
        await prober(world, pages).tick()
        return pages.asked

    assert asked == run(story())


def test_a_provider_without_a_page_costs_nothing() -> None:
    """Nothing is read of the table for it."""

    async def story(world: World) -> tuple[list[str], list[str]]:
        pages = Pages()
        world.store.put_health(OPEN)
        world.table.calls = []
        await prober(world, pages).tick()
        return pages.asked, world.table.calls

    assert ([], ["get", "get", "batch"]) == play(story)


def test_it_is_read_every_five_minutes_by_one_of_many() -> None:
    """Four environments tick each minute for a quarter of an hour: three readings."""

    async def story() -> list[float]:
        world, at = World(LoopClock(), WITH_PAGE), list[float]()
        world.store.put_health(OPEN)

        class Noting(Pages):
            def get(self, *given: Any, **named: Any) -> Any:
                at.append(world.clock() - NOW)
                return super().get(*given, **named)

        many = [prober(world, Noting()) for _ in range(4)]
        for _ in range(15):
            await asyncio.gather(*(one.tick() for one in many))
            await asyncio.sleep(60)
        return at

    assert [0.0, 300.0, 600.0] == run(story())


def test_who_loses_the_race_does_not_read_it() -> None:
    """Somebody else asks between reading the item and writing it: the page is left to them."""

    async def story() -> tuple[list[str], int]:
        world, pages = World(LoopClock(), WITH_PAGE), Pages()
        world.store.put_health(OPEN)
        theirs = StatusPage("acme", URL, asked_at=NOW)
        world.table.before_put = lambda: world.store.put_status_page(theirs)
        await prober(world, pages).tick()
        return pages.asked, known(world).rev

    assert ([], 1) == run(story())


@pytest.mark.parametrize("ask", ["confirm", "liveness", "recovery"])
def test_workers_look_while_they_probe(ask: str) -> None:
    """A run that confirms an alarm brings the page before the incident opens; the probe waits for nothing."""

    async def story() -> tuple[list[str], list[str], list[float]]:
        world, pages, provider = World(LoopClock(), WITH_PAGE), Pages(seconds=3), Provider(seconds=2)
        world.store.put_health(OPEN if ask == "recovery" else replace(SUSPECTED, last_ok_at=0))
        probes = prober(world, pages, provider)
        if ask == "recovery":
            failed = await probes.handle({"1": (json.dumps({"target": "lead"}), 1)})
        elif ask == "confirm":
            failed = await probes.handle({"1": (json.dumps({"target": "lead", "ask": "confirm", "set": "core"}), 1)})
        else:
            failed = await probes.handle(batch([Due("lead", NOW, 0)]))
        return failed, pages.asked, [round(seen["at"] - NOW, 3) for seen in observations(world)]

    # The set of the confirming message is not asked in this document.
    assert ([], [URL], {"confirm": [], "liveness": [2.0], "recovery": [4.0]}[ask]) == run(story())


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        (Pages(), "says: Partial outage (minor), changed 2027-01-15 07:59 UTC"),
        (Pages(Reply(200, [page("none")[:9], page("none")[9:]])), "says that all is well"),
        (Pages(Reply(404, [page()])), "could not be read"),
        (Pages(Reply(302, [page()], {"location": "https://elsewhere.example"})), "could not be read"),
        (Pages(Reply(200, [b"<html>"])), "could not be read"),
        (Pages(Transient("refused")), "could not be read"),
        (Pages(RuntimeError("a bug in the reader")), ""),
    ],
    ids=["trouble", "well", "404", "moved", "no JSON", "refused", "bug"],
)
def test_what_it_said_is_kept(pages: Pages, told: str) -> None:
    """What it says, or that it could not be read; either is asked for once."""
    assert (told, [URL]) == (words(pages)[0], pages.asked)


def test_a_slow_page_is_given_up() -> None:
    """After five seconds in all."""
    assert ("could not be read", 5.0) == words(Pages(seconds=1000))


def test_a_long_page_is_given_up() -> None:
    """No more of it is read than one may have."""
    endless = Reply(200, [b" " * (MOST // 4)] * 100)
    assert ("could not be read", 5) == (words(Pages(endless))[0], endless.read)


def test_a_new_address_is_read_at_once() -> None:
    """What the old one said is not repeated meanwhile."""

    async def story() -> tuple[list[str], str]:
        world, pages = World(LoopClock(), WITH_PAGE), Pages()
        world.store.put_health(OPEN)
        world.store.put_status_page(StatusPage("acme", "https://old.example", asked_at=NOW, read_at=NOW))
        await prober(world, pages).tick()
        return pages.asked, known(world).url

    assert ([URL], URL) == run(story())


def test_many_providers_take_turns() -> None:
    """A look has an end however many are in trouble: the others' pages are read by the next ones."""
    names = [f"p{number:02}" for number in range(2 * AT_ONCE + 1)]
    providers = "".join(
        f'  {name}: {{wire: openai, base_url: "https://{name}.example", status_page: "https://{name}.example/s"}}\n'
        for name in names
    )
    targets = "".join(f"  {name}: {{provider: {name}, model: m}}\n" for name in names)
    text = f"schema: 1\nproviders:\n{providers}targets:\n{targets}routes: {{chat: {{targets: [{', '.join(names)}]}}}}\n"

    async def story() -> tuple[list[int], int]:
        world, pages, counts = World(LoopClock(), text), Pages(seconds=60), list[int]()
        for name in names:
            world.store.put_health(replace(OPEN, target=name))
        probes = prober(world, pages)
        for _ in range(4):
            await probes.tick()
            counts.append(len(pages.asked))
            await asyncio.sleep(55)
        return counts, len(set(pages.asked))

    assert ([AT_ONCE, 2 * AT_ONCE, len(names), len(names)], len(names)) == run(story())


@pytest.mark.parametrize("broken", ["table", "bug", "hangs"])
def test_a_fault_while_reading_costs_no_probe(broken: str) -> None:
    """Whatever fails, every probe of the batch is done, told and acknowledged, and the tick asks as always."""

    async def story() -> tuple[list[str], int, int, int]:
        world, provider = World(LoopClock(), WITH_PAGE), Provider()
        world.store.put_health(replace(SUSPECTED, last_ok_at=0))
        world.table.refused = "status_page" if broken == "table" else None
        pages = Pages(RuntimeError("a bug in the reader")) if broken == "bug" else Pages(seconds=1e6)
        probes = prober(world, pages, provider)
        asked = await probes.tick()
        failed = await prober(world, pages, provider).handle(batch([Due(name, NOW, 0) for name in ("lead", "spare")]))
        return failed, asked, len(provider.asked), len(observations(world))

    assert ([], 2, 2, 1) == run(story())


class Plane:
    """update_health and publish_alerts, and a page that says this; None: there is no page."""

    def __init__(self, said: bytes | Exception | None) -> None:
        self.world = World(document=WITH_PAGE if said is not None else DOCUMENT)
        self.said = said
        self.sink = Sink()
        self.seen = list[Health]()
        w = self.world
        self.update = UpdateHealth(w.store, Queue(), clock=w.clock, logger=w.log, rng=w.rng)
        self.alerts = PublishAlerts(w.store, [("sink", self.sink)], clock=w.clock, logger=w.log)

    def look(self) -> None:
        """A tick's look at the page."""
        if self.said is None:
            return
        w, said = self.world, self.said
        pages = Pages(said if isinstance(said, Exception) else Reply(200, [said]))
        current = self.update._catalog.read()
        assert current is not None
        run(StatusPages(w.store, pages, clock=w.clock, logger=w.log).look(w.store.health(["lead"]), current))

    def see(self, seen: Observation, after: float = 20) -> None:
        """An observation, and what follows in both rooms; then a tick."""
        self.world.clock.now += after
        store = self.world.store
        before, was = store.health(["lead"]).get("lead"), store.incident("lead", "outage")
        self.update.observe(replace(seen, at=self.world.clock.now))
        health = store.health(["lead"])["lead"]
        self.update.react(before, health)
        incident = store.incident("lead", "outage")
        if incident is not None:
            self.alerts.publish(was, incident)
        self.seen.append(health)
        self.look()


def outage(said: bytes | Exception | None) -> Plane:
    """The lead is down for more than an hour, and then is back."""
    plane = Plane(said)
    plane.see(replace(good(NOW), ok=50))
    down = Observation("lead", NOW, source="probe")
    for _ in range(5):
        down = down.failure(NOW, Transient("boom"))
    for after in (1, 20, *[600] * 7):
        plane.see(down, after)
    for _ in range(4):
        plane.see(Observation("lead", NOW, source="probe", ok=2, last_ok_at=plane.world.clock.now + 20))
    return plane


PAGES: list[bytes | Exception | None] = [None, page("none"), page("critical"), b"<html>", Transient("refused")]


def test_a_page_decides_nothing() -> None:
    """Health, breaker, score, findings, holds and what is told when are the same, whatever it says."""
    planes = [outage(said) for said in PAGES]
    alone = planes[0]
    assert ["open", "closed"] == [alone.seen[1].state, alone.seen[-1].state]
    assert [alone.seen] * len(PAGES) == [plane.seen for plane in planes]
    subjects = [[notice.subject for notice in plane.sink.told] for plane in planes]
    assert (3, [subjects[0]] * len(PAGES)) == (len(subjects[0]), subjects)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (page("critical", "Major outage"), "says: Major outage (critical), changed 2027-01-15 07:59 UTC"),
        (page("none"), "says that all is well"),
        (b"<html>", "could not be read"),
        (None, None),
    ],
)
def test_notices_that_come_anyway_repeat_it(said: bytes | None, line: str | None) -> None:
    """Nobody knows at the opening; the reminder and the end say what the page said then."""
    texts = [notice.text.splitlines() for notice in outage(said).sink.told]
    found = [[one for one in text if one.startswith("Provider:")] for text in texts]
    head = f"Provider:  its own status page {line}"
    told = [[], [head], [f"{head} (when it was last looked at)"]]
    assert (told if line else [[], [], []]) == found


def test_what_it_says_changes_the_incident_and_tells_nobody() -> None:
    """The open incident has it as soon as the target is next heard of, without a notice of its own."""
    plane = Plane(page("none"))
    down = Observation("lead", NOW)
    for _ in range(5):
        down = down.failure(NOW, Transient("boom"))
    plane.see(down)
    plane.see(down)
    plane.said = page("major", "Outage")
    plane.see(down, 301)
    plane.see(down)
    incident = plane.world.store.incident("lead", "outage")
    assert incident is not None
    assert "says: Outage (major), changed 2027-01-15 07:59 UTC" == incident.facts[PAGE]
    assert (1, 1) == (incident.notices, len(plane.sink.told))


def test_trouble_is_told_where_nobody_knows_what_it_says() -> None:
    """The table does not give the page's item: the incident opens as always, without it."""
    plane = Plane(page())
    read = plane.world.table.get

    def get(key: tuple[str, str]) -> Any:
        if key[1] == "status_page":
            raise StoreError("the table is away")
        return read(key)

    plane.world.table.get = get  # type: ignore[method-assign]
    down = Observation("lead", NOW)
    for _ in range(5):
        down = down.failure(NOW, Transient("boom"))
    plane.see(down)
    plane.see(down)
    assert ["[critical] lead is down"] == [notice.subject for notice in plane.sink.told]
