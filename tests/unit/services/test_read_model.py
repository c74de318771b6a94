"""What a router knows, how old it may be, and what happens when the table does not answer."""

import asyncio
import time

import pytest

from tests.unit.services.worlds import DOCUMENT, World
from understudy.errors import RouterNotReady, Unauthenticated
from understudy.health.item import Health
from understudy.keys import ClientKey, hash_key
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.store.memory import MemoryTable
from understudy.store.store import Store


def read_model(world: World) -> ReadModel:
    return ReadModel(world.store, world.clock, world.log)


def test_a_new_version_is_seen_after_two_seconds() -> None:
    """Within the cache time the old version serves; after two seconds the new one does, without a restart."""

    async def story() -> list[int]:
        world = World()
        model = read_model(world)
        seen = [(await model.catalog()).version]
        publish(world.store, DOCUMENT.replace("chat:", "talk:"), now=world.clock(), by="test")
        seen.append((await model.catalog()).version)
        world.clock.now += 2.1
        seen.append((await model.catalog()).version)
        return seen

    assert [1, 1, 2] == asyncio.run(story())


def test_a_thousand_requests_within_a_second_cost_one_read() -> None:
    """The table is read once for all requests of the cache time."""

    async def story() -> int:
        world = World()
        model = read_model(world)
        for _ in range(1000):
            await model.catalog()
            await model.authenticate("us-key")
        return world.table.reads

    assert 1 == asyncio.run(story())


def test_it_serves_what_it_knows_while_the_table_is_down() -> None:
    """A dead table costs nothing but news: catalog, keys and health stay as they were."""

    async def story() -> tuple[int, str, int]:
        world = World()
        world.store.put_health(Health("lead", evaluations=5))
        model = read_model(world)
        await model.catalog()
        await model.authenticate("us-key")
        await model.health(["lead"])
        world.table.down = True
        world.clock.now += 600
        catalog, client = await model.catalog(), await model.authenticate("us-key")
        return catalog.version, client.name, (await model.health(["lead"]))["lead"].evaluations

    assert (1, "app", 5) == asyncio.run(story())


def test_a_slow_table_delays_nobody_for_long() -> None:
    """A read of seconds costs the first request at most the patience, and the following ones nothing."""

    class Slow(MemoryTable):
        slow = False

        def batch(self, keys):
            if self.slow:
                time.sleep(0.5)
            return super().batch(keys)

    async def story() -> list[bool]:
        world = World()
        table = Slow()
        world.store = Store(table)
        publish(world.store, DOCUMENT, now=world.clock(), by="test")
        model = read_model(world)
        await model.catalog()
        table.slow = True
        spent = []
        for _ in range(3):
            world.clock.now += 2.1
            began = time.perf_counter()
            await model.catalog()
            spent.append(time.perf_counter() - began)
        return [spent[0] < 0.25, spent[1] < 0.03, spent[2] < 0.03]

    assert [True, True, True] == asyncio.run(story())


def test_without_a_document_it_says_what_to_do() -> None:
    """Before the first publication the router is not ready, and names the command."""

    async def story() -> None:
        world = World()
        world.store = Store(MemoryTable())
        await read_model(world).catalog()

    with pytest.raises(RouterNotReady, match="understudy publish FILE"):
        asyncio.run(story())


def test_a_revoked_key_is_refused_within_the_cache_time() -> None:
    """A revocation is effective with the next read, at most two seconds later."""

    async def story() -> None:
        world = World()
        model = read_model(world)
        await model.catalog()
        await model.authenticate("us-key")
        world.store.put_key(ClientKey(hash_key("us-key"), "app", 0.0, revoked_at=world.clock()))
        world.clock.now += 2.1
        await model.catalog()
        await model.authenticate("us-key")

    with pytest.raises(Unauthenticated):
        asyncio.run(story())


def test_a_new_key_works_within_the_cache_time() -> None:
    """A key that was refused is looked up again two seconds later."""

    async def story() -> str:
        world = World()
        model = read_model(world)
        with pytest.raises(Unauthenticated):
            await model.authenticate("us-new")
        world.store.put_key(ClientKey(hash_key("us-new"), "new app", 0.0))
        world.clock.now += 2.1
        return (await model.authenticate("us-new")).name

    assert "new app" == asyncio.run(story())
