"""Looking for personal data beside the event loop, within its time."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Set

import pytest

from tests.builders import Log, request
from tests.guards import PlainGuard
from understudy.catalog import PII_KINDS, PiiRules
from understudy.errors import GuardUnavailable
from understudy.facts import Constraints
from understudy.pii.checked import load
from understudy.ports import PiiFinding
from understudy.services import guarding
from understudy.services.guarding import Guarding
from understudy.wire.fronts.chat import ChatFront

BODY = b'{"model": "chat", "messages": [{"role": "user", "content": "ann@shop.example"}]}'
REDACT = PiiRules("redact")


class Waiting(PlainGuard):
    """Looks only when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()

    def find(self, text: str, kinds: Set[str], countries: Set[str]) -> list[PiiFinding]:
        self.let.wait(5)
        return super().find(text, kinds, countries)


def test_the_loop_goes_on_while_a_body_is_looked_through() -> None:
    """It is the loop itself that lets the guard go on, so it was not blocked."""
    guard = Waiting()

    async def story() -> str:
        task = asyncio.create_task(Guarding(lambda: guard, lambda: 0.0, Log()).read(
            ChatFront(), BODY, {}, request(), "chat", REDACT
        ))  # fmt: skip
        await asyncio.sleep(0)
        guard.let.set()
        read, _ = await task
        return str(read.body["messages"][0]["content"])

    assert "<EMAIL_1>" == asyncio.run(story())


def test_a_guard_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the request is refused, whatever the thread still does."""
    monkeypatch.setattr(guarding, "SECONDS", 0.01)
    guard, log = Waiting(), Log()

    async def story() -> None:
        try:
            await Guarding(lambda: guard, lambda: 0.0, log).read(ChatFront(), BODY, {}, request(), "chat", REDACT)
        finally:
            guard.let.set()

    with pytest.raises(GuardUnavailable):
        asyncio.run(story())
    assert ["personal data could not be looked for in time"] == [message for message, _ in log.lines]


def test_a_guard_is_loaded_once_and_looked_for_again_where_it_was_missing() -> None:
    """A library that is there later is found later."""
    loads: list[int] = []

    def late() -> PlainGuard:
        loads.append(1)
        if len(loads) == 1:
            raise ImportError("not yet")
        return PlainGuard()

    async def story() -> None:
        one = Guarding(late, lambda: 0.0, Log())
        with pytest.raises(GuardUnavailable):
            await one.read(ChatFront(), BODY, {}, request(), "chat", REDACT)
        for _ in range(3):
            await one.read(ChatFront(), BODY, {}, request(), "chat", REDACT)

    asyncio.run(story())
    assert 2 == len(loads)


def test_the_real_guard_needs_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is missing it is not loaded without it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ImportError):
        load()


def test_demands_only_tighten() -> None:
    """The stricter of two modes, and every kind where a constraint demands it."""
    loose = PiiRules("detect", frozenset({"iban"}))
    assert loose == loose.under("off")
    assert PiiRules("redact", PII_KINDS) == loose.under("redact")
    assert PiiRules("block", PII_KINDS) == PiiRules("block", frozenset({"iban"})).under("detect")
    assert "block" == Constraints(pii="block").and_(Constraints(pii="redact")).pii
