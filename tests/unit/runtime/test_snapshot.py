"""What happens to an environment around a snapshot."""

from __future__ import annotations

import importlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from infra.local.simulators import SimulatedProvider
from tests.one_router import KEY, Router, document
from tests.runtime_api import IMAGE
from understudy import bootstrap
from understudy.runtime.gateway import ApiRequest
from understudy.runtime.loop import LoopThread
from understudy.runtime.snapshot import register
from understudy.services.route_request import RouteRequest

BODY = b'{"model": "chat", "messages": [{"role": "user", "content": "count to 3"}]}'


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The registry of the image."""
    monkeypatch.syspath_prepend(str(IMAGE))
    yield importlib.import_module("snapshot_restore_py")
    for name in [name for name in sys.modules if name.startswith(("snapshot_restore_py", "awslambdaric"))]:
        del sys.modules[name]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider("anthropic", api_key="not-a-real-key", token_delay=0)
    provider.start()
    yield provider
    provider.stop()


class Room:
    """A room like route_request, with a real provider.  `built` counts its services; `prepared` and `renewed` are how
    many there were when that was done."""

    def __init__(self, url: str) -> None:
        self.built = 0
        self.prepared: list[int] = []
        self.renewed: list[int] = []

        @cache
        def loop() -> LoopThread:
            return LoopThread()

        @cache
        def service() -> RouteRequest:
            async def build() -> RouteRequest:
                self.built += 1
                return Router(document([("anthropic", url)] * 2)).service

            return loop().run(build())

        self.loop, self.service = loop, service

    def register(self) -> Callable[[], None]:
        prepare, renew = (lambda: self.prepared.append(self.built)), (lambda: self.renewed.append(self.built))
        return register(self.service, self.loop, prepare, renew)

    def ask(self) -> int:
        headers = {"authorization": f"Bearer {KEY}"}
        request = ApiRequest("POST", "/chat/completions", headers, BODY, "")
        return self.loop().run(self.service().answer(request)).status


@pytest.fixture
def room(provider: SimulatedProvider) -> Iterator[Room]:
    room = Room(provider.base_url)
    yield room
    if room.loop.cache_info().currsize:
        room.loop().stop()


def run(registered: list[Any]) -> None:
    for hook, arguments in registered:
        hook(*arguments)


def loops() -> int:
    return sum(thread.name == "understudy-loop" for thread in threading.enumerate())


def test_outside_lambda_there_are_no_snapshots(room: Room) -> None:
    """Where the image's package is missing a room can be made ready all the same."""
    ready = room.register()
    assert (0, []) == (room.built, room.prepared)
    ready()
    assert (1, [0], 200) == (room.built, room.prepared, room.ask())


def test_registering_builds_nothing(hooks: ModuleType, room: Room) -> None:
    """Importing a room does no more than to leave word what is to be done around a snapshot."""
    room.register()
    assert (0, []) == (room.built, room.prepared)
    assert (1, 1) == (len(hooks.before), len(hooks.after))


def test_nothing_that_lives_is_in_the_snapshot(hooks: ModuleType, room: Room) -> None:
    """Before a snapshot the service is built once, after what it needs was prepared, and let go with its thread."""
    others = loops()
    room.register()
    run(hooks.before)
    assert ([0], [1], 1, others) == (room.prepared, room.renewed, room.built, loops())
    assert (0, 0) == (room.service.cache_info().currsize, room.loop.cache_info().currsize)


def test_requests_work_on_both_sides_of_a_snapshot(hooks: ModuleType, room: Room) -> None:
    """A restored environment answers as a new one does: on a new loop, with a new service and new connections."""
    others = loops()
    room.register()
    assert 200 == room.ask()
    first, thread = room.service(), room.loop()
    run(hooks.before)
    run(hooks.after)
    assert (200, 200) == (room.ask(), room.ask())
    assert (False, False, 2) == (first is room.service(), thread is room.loop(), room.built)
    assert others + 1 == loops()


def test_a_restore_forgets_what_was_built_meanwhile(hooks: ModuleType, room: Room) -> None:
    """Whatever an environment kept before it was restored, it keeps no longer."""
    room.register()
    assert 200 == room.ask()
    first = room.service()
    run(hooks.after)
    assert (200, False, [1]) == (room.ask(), first is room.service(), room.renewed)


def test_copies_of_one_snapshot_do_not_draw_alike(hooks: ModuleType, room: Room) -> None:
    """The shared random generator starts anew in each restored environment."""
    room.register()
    drawn = set()
    for _ in range(3):
        random.seed(1)
        run(hooks.after)
        drawn.add(random.random())
    assert 3 == len(drawn)


def test_clients_and_credentials_of_aws_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored environment asks for clients of its own, and for credentials of its own."""
    import boto3

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.DEFAULT_SESSION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    bootstrap.renew()
    first = bootstrap.aws("sqs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert first is bootstrap.aws("sqs")
    bootstrap.renew()
    second = bootstrap.aws("sqs")
    assert "another" == second._request_signer._credentials.access_key
    bootstrap.aws.cache_clear()
