"""A control store in memory, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.control.documents import TEXT
from understudy.audit.change import ControlChange
from understudy.control.versions import Pointer, Version
from understudy.errors import Conflict, StoreError


class FakeControlStore:
    """ControlStore in memory.  `before_add` and `before_move` run just before the write, as a rival would."""

    def __init__(self) -> None:
        self.kept: dict[int, Version] = {}
        self.current: Pointer | None = None
        self.before_add = lambda: None
        self.before_move = lambda: None
        self.writes: list[str] = []
        self.told: list[ControlChange] = []

    def recording(self, change: ControlChange) -> FakeControlStore:
        self.told.append(change)
        return self

    def pointer(self) -> Pointer | None:
        return self.current

    def version(self, number: int) -> Version:
        if number not in self.kept:
            raise StoreError(f"no version {number}")
        return self.kept[number]

    def versions(self, limit: int) -> Sequence[Version]:
        return [self.kept[number] for number in sorted(self.kept, reverse=True)][:limit]

    def add_version(self, version: Version) -> None:
        self.before_add()
        if version.number in self.kept:
            raise Conflict(f"version {version.number} is taken")
        self.kept[version.number] = version
        self.writes.append(f"version {version.number}")

    def move_pointer(self, pointer: Pointer, expected: Pointer | None) -> None:
        self.before_move()
        if self.current != expected:
            raise Conflict("the pointer has moved")
        self.current = pointer
        self.writes.append(f"pointer {pointer.version}")


@pytest.fixture(scope="session")
def text() -> str:
    return TEXT


@pytest.fixture
def store() -> FakeControlStore:
    return FakeControlStore()
