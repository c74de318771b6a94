"""Signatures of tool calls: kept for callers who lose them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.services.worlds import NOW, World
from understudy.chat.bound import SIGNED, signature_of, with_signature
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.stream import chunk_from
from understudy.keys import ClientKey
from understudy.services.keepsakes import LONGEST, REMEMBERED, Keepsakes

APP, OTHER = ClientKey("a" * 64, "app", NOW), ClientKey("b" * 64, "other", NOW)
FUNCTION = {"name": "look", "arguments": "{}"}


def call(name: str, signature: str = "") -> dict[str, Any]:
    made = {"id": name, "type": "function", "function": FUNCTION}
    return with_signature(made, signature) if signature else made


def brought(*calls: dict[str, Any]) -> Any:
    return chunk_from({"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}}]})


def history(*calls: dict[str, Any]) -> ChatRequest:
    said = {"role": "assistant", "tool_calls": list(calls)}
    return chat_request({"model": "chat", "messages": [{"role": "user", "content": "look"}, said]})


def signatures(request: ChatRequest) -> list[str]:
    return [signature_of(one) for one in request.messages[1]["tool_calls"]]


def play(story: Callable[[World], Awaitable[Any]]) -> Any:
    return asyncio.run(story(World()))  # type: ignore[arg-type]


def environment(world: World) -> Keepsakes:
    return Keepsakes(world.store, world.clock, world.log)


def test_a_lost_signature_is_put_back_in_any_environment() -> None:
    """A caller who sends a call back without its signature is given it, here from memory and elsewhere from the table;
    what he kept himself stays as it is, and a call that never had one stays without."""

    async def story(world: World) -> list[list[str]]:
        here, there = environment(world), environment(world)
        here.keep(APP, brought(call(SIGNED + "1", "us1.12345678.one"), call("call_2")))
        await here.settle(5.0)
        sent = history(call(SIGNED + "1"), call("call_2"), call(SIGNED + "3", "mine"))
        return [signatures(await each.put_back(APP, sent)) for each in (here, there)]

    assert [["us1.12345678.one", "", "mine"]] * 2 == play(story)


def test_another_client_finds_nothing() -> None:
    """A signature is given back to the key that it was made for, wherever it is looked for."""

    async def story(world: World) -> list[list[str]]:
        here, there = environment(world), environment(world)
        here.keep(APP, brought(call(SIGNED + "1", "one")))
        await here.settle(5.0)
        return [signatures(await each.put_back(OTHER, history(call(SIGNED + "1")))) for each in (here, there)]

    assert [[""], [""]] == play(story)


@pytest.mark.parametrize("name", ["call_1", "toolu_1"])
def test_calls_that_never_had_one_cost_no_read(name: str) -> None:
    """The table is asked only for calls whose id says that they had a signature."""

    async def story(world: World) -> int:
        await environment(world).put_back(APP, history(call(name)))
        return world.table.reads

    assert 0 == play(story)


def test_a_table_that_is_down_costs_the_signature_only() -> None:
    """Neither keeping nor looking up fails a request; what failed is counted as ours."""

    async def story(world: World) -> tuple[list[str], int]:
        here, there = environment(world), environment(world)
        world.table.down = True
        here.keep(APP, brought(call(SIGNED + "1", "one")))
        await here.settle(5.0)
        found = signatures(await there.put_back(APP, history(call(SIGNED + "1"))))
        return found, sum(bool(fields.get("metrics")) for _, fields in world.log.lines)

    assert ([""], 2) == play(story)


def test_memory_is_bounded() -> None:
    """An environment remembers a fixed number of signatures, and none that is absurdly long."""

    async def story(world: World) -> tuple[int, list[str]]:
        here = environment(world)
        for number in range(REMEMBERED + 5):
            here.keep(APP, brought(call(f"{SIGNED}{number}", "s")))
        here.keep(APP, brought(call(SIGNED + "long", "s" * (LONGEST + 1))))
        await here.settle(30.0)
        return len(here._kept), signatures(await here.put_back(APP, history(call(SIGNED + "long"))))

    assert (REMEMBERED, [""]) == play(story)
