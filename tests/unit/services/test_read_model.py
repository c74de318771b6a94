"""What a router knows, how old it may be, and what happens when the table does not answer."""

import asyncio
from dataclasses import replace

import pytest

from tests.unit.services.environments import play, timed
from tests.unit.services.worlds import DOCUMENT, NOW, World
from understudy.control.versions import Pointer, Version
from understudy.errors import RouterNotReady, StoreError, Unauthenticated
from understudy.health.item import Health
from understudy.keys import ClientKey, hash_key
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.store import keys
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item


def read_model(world: World) -> ReadModel:
    return ReadModel(world.store, world.clock, world.log)


def test_a_new_version_is_seen_after_two_seconds() -> None:
    """Within the cache time the old version serves; after two seconds the new one does, without a restart."""

    async def story(world: World) -> list[int]:
        model = read_model(world)
        seen = [(await model.catalog()).version]
        publish(world.store, DOCUMENT.replace("chat:", "talk:"), now=world.clock(), by="test")
        seen.append((await model.catalog()).version)
        await asyncio.sleep(2.1)
        seen.append((await model.catalog()).version)
        return seen

    assert [1, 1, 2] == play(story)


def test_a_thousand_requests_within_a_second_cost_one_read() -> None:
    """The table is read once for all requests of the cache time."""

    async def story(world: World) -> int:
        model = read_model(world)
        for _ in range(1000):
            await model.catalog()
            await model.authenticate("us-key")
        return world.table.reads

    assert 1 == play(story)


def test_it_serves_what_it_knows_while_the_table_is_down() -> None:
    """A dead table costs nothing but news: catalog, keys and health stay as they were."""

    async def story(world: World) -> tuple[int, str, int]:
        world.store.put_health(Health("lead", evaluations=5))
        model = read_model(world)
        await model.catalog()
        await model.authenticate("us-key")
        await model.health(["lead"])
        world.table.down = True
        await asyncio.sleep(600)
        catalog, client = await model.catalog(), await model.authenticate("us-key")
        return catalog.version, client.name, (await model.health(["lead"]))["lead"].evaluations

    assert (1, "app", 5) == play(story)


def test_a_slow_table_delays_nobody_for_long() -> None:
    """A table that takes seconds costs the first request the patience of 25 ms, and the following ones nothing."""

    async def story(world: World) -> list[float]:
        model = read_model(world)
        await model.catalog()
        world.table.delay = 5.0
        spent = []
        for _ in range(3):
            await asyncio.sleep(2.1)
            spent.append((await timed(model.catalog()))[1])
        return spent

    assert [0.025, 0.0, 0.0] == play(story)


def test_the_first_request_waits_for_the_table() -> None:
    """An environment that knows nothing yet waits for its first read, though it is slow."""

    async def story(world: World) -> tuple[int, float]:
        world.table.delay = 1.0
        catalog, seconds = await timed(read_model(world).catalog())
        return catalog.version, seconds

    # The snapshot, and then the version that its pointer names.
    assert (1, 2.0) == play(story)


@pytest.mark.parametrize(
    ("age", "urgent", "reads"), [(0.1, True, 1), (0.3, True, 2), (0.3, False, 1), (0.9, False, 1), (1.1, False, 2)]
)
def test_it_asks_ahead_of_time_and_sooner_in_doubt(age: float, urgent: bool, reads: int) -> None:
    """What is known is asked for again in the background after a second, and after 0.2 s while something is wrong."""

    async def story(world: World) -> tuple[int, float]:
        model = read_model(world)
        await model.catalog()
        await asyncio.sleep(age)
        world.table.delay = 1.0
        _, seconds = await timed(model.catalog(urgent=urgent))
        await asyncio.sleep(2)
        return world.table.reads, seconds

    assert (reads, 0.0) == play(story)


def test_requests_at_once_share_one_read() -> None:
    """However many requests find that what is known is old, one of them reads."""

    async def story(world: World) -> int:
        model = read_model(world)
        for _ in range(3):
            await asyncio.gather(*(model.catalog(urgent=True) for _ in range(50)))
            await asyncio.sleep(2.1)
        return world.table.reads

    assert 3 == play(story)


@pytest.mark.parametrize(("delay", "trusted"), [(0.0, True), (0.02, True), (0.03, False), (60.0, False)])
def test_a_table_that_answers_late_is_not_trusted(delay: float, trusted: bool) -> None:
    """A read that takes longer than a request waits is like none."""

    async def story(world: World) -> bool:
        model = read_model(world)
        await model.catalog()
        await asyncio.sleep(2.1)
        world.table.delay = delay
        await model.catalog()
        return model.trusted

    assert trusted == play(story)


def test_trust_comes_back_five_seconds_after_the_last_failure() -> None:
    """A table that was down is trusted again five seconds after it failed last."""

    async def story(world: World) -> list[bool]:
        model = read_model(world)
        await model.catalog()
        trusted = [model.trusted]
        await asyncio.sleep(2.1)
        world.table.down = True
        await model.catalog()
        world.table.down = False
        for seconds in (0.0, 4.9, 0.2):
            await asyncio.sleep(seconds)
            trusted.append(model.trusted)
        return trusted

    assert [True, False, False, True] == play(story)


def test_the_health_of_a_new_target_is_read_at_once() -> None:
    """The first request of a route learns how its targets do; later ones are content with what is known."""

    async def story(world: World) -> list[int]:
        world.store.put_health(Health("lead", evaluations=5))
        model = read_model(world)
        await model.catalog()
        seen = [(await model.health(["lead"]))["lead"].evaluations]
        world.store.put_health(Health("lead", evaluations=6, rev=1))
        seen.append((await model.health(["lead"]))["lead"].evaluations)
        await asyncio.sleep(2.1)
        await model.catalog()
        return [*seen, (await model.health(["lead"]))["lead"].evaluations]

    assert [5, 5, 6] == play(story)


def test_without_a_document_it_says_what_to_do() -> None:
    """Before the first publication the router is not ready, and names the command."""

    async def story(world: World) -> None:
        world.store = Store(MemoryTable())
        await read_model(world).catalog()

    with pytest.raises(RouterNotReady, match="understudy publish FILE"):
        play(story)


def test_a_revoked_key_is_refused_within_the_cache_time() -> None:
    """A revocation is effective with the next read, at most two seconds later."""

    async def story(world: World) -> None:
        model = read_model(world)
        await model.catalog()
        known = await model.authenticate("us-key")
        world.store.put_key(replace(known, revoked_at=world.clock()))
        await asyncio.sleep(2.1)
        await model.catalog()
        await model.authenticate("us-key")

    with pytest.raises(Unauthenticated):
        play(story)


def test_a_new_key_works_within_the_cache_time() -> None:
    """A key that was refused is looked up again two seconds later."""

    async def story(world: World) -> str:
        model = read_model(world)
        with pytest.raises(Unauthenticated):
            await model.authenticate("us-new")
        world.store.put_key(ClientKey(hash_key("us-new"), "new app", 0.0))
        await asyncio.sleep(2.1)
        return (await model.authenticate("us-new")).name

    assert "new app" == play(story)


def test_a_document_that_cannot_be_read_is_not_replaced_by_the_one_before() -> None:
    """A demand of a newer version that nobody here knows leaves the router without a document; keys go on."""

    async def story(world: World) -> str:
        model = read_model(world)
        current = await model.catalog()
        document = dict(world.store.version(current.version).document)
        document["routes"] = {"chat": {**document["routes"]["chat"], "constraints": {"no_fly_list": True}}}
        world.store.add_version(Version(2, "", document, "d", NOW, "newer", ""))
        pointer = world.store.pointer()
        world.store.move_pointer(Pointer(2, pointer.rev + 1, NOW, "newer"), pointer)
        await asyncio.sleep(2.1)
        with pytest.raises(RouterNotReady):
            await model.catalog()
        return (await model.authenticate("us-key")).name

    assert "app" == play(story)


def test_a_key_that_cannot_be_read_keeps_nobody_else_waiting() -> None:
    """What it demands is not known here, so it is refused; other keys and the document are read on."""

    async def story(world: World) -> tuple[bool, bool]:
        model = read_model(world)
        await model.catalog()
        known = await model.authenticate("us-key")
        stored = world.store.key(known.hash)
        assert stored is not None
        newer = stored.plain() | {"constraints": {"min_tls": "1.3"}}
        world.table.put(Item(keys.client_key(known.hash), newer, rev=stored.rev + 1), seen=stored.rev)
        world.store.put_key(ClientKey(hash_key("us-other"), "other", 0.0))
        await model.authenticate("us-other")
        revoked = world.store.key(hash_key("us-other"))
        assert revoked is not None
        world.store.put_key(replace(revoked, revoked_at=world.clock()))
        await asyncio.sleep(2.1)
        await model.catalog()
        with pytest.raises(StoreError, match="cannot be read by this version"):
            await model.authenticate("us-key")
        with pytest.raises(Unauthenticated):
            await model.authenticate("us-other")
        return True, True

    assert (True, True) == play(story)


def test_after_a_rest_the_document_is_read_before_it_is_believed() -> None:
    """What was published while an environment slept holds for its first request, though the table takes a moment."""

    async def story(world: World) -> int:
        model = read_model(world)
        await model.catalog()
        await asyncio.sleep(3600)
        publish(world.store, DOCUMENT.replace("chat:", "talk:"), now=world.clock(), by="test")
        world.table.delay = 0.06
        return (await model.catalog()).version

    assert 2 == play(story)
