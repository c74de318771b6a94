"""A golden set: questions that are asked again in every run, each with what tells a right answer from a wrong one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Whoever only wants to know a set's tasks does not load what judges answers.
    from understudy.golden.checkers import Checker

CORE = "core"
"""The name of the set that comes with the package."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    `number` is its place in what is known of its set and is never given to another question; `id` is its name for
    people.  `max_tokens` is the longest answer, without what a model thinks before it.  `weight` is its share in the
    quality of its task.
    """

    number: int
    id: str
    task: str
    messages: tuple[Mapping[str, Any], ...]
    checker: Checker
    weight: float = 1.0
    max_tokens: int = 64
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """JSON-able form, as an entry of a set in a control document has it."""
        return {
            "number": self.number,
            "id": self.id,
            "messages": [dict(message) for message in self.messages],
            "checker": self.checker.plain(),
            "weight": self.weight,
            "max_tokens": self.max_tokens,
            "tools": [dict(tool) for tool in self.tools],
            "response_format": None if self.response_format is None else dict(self.response_format),
        }


# Without slots, so that the digest is kept: every batch of values asks for it, and it takes a millisecond.
@dataclass(frozen=True)
class GoldenSet:
    """Questions in the order of their numbers; `source` says where they come from."""

    name: str
    items: tuple[Item, ...]
    source: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task once, sorted."""
        return tuple(sorted({item.task for item in self.items}))

    def task(self, item: int) -> tuple[str, float] | None:
        """The task of the question of this number and its weight there; None where there is no such question."""
        return next(((one.task, one.weight) for one in self.items if one.number == item), None)

    @cached_property
    def digest(self) -> str:
        """Twelve characters that change with any question, checker or weight: what was learned before is then void."""
        content = [[item.task, item.plain()] for item in self.items]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def body(item: Item, model: str, *, reasoning_tokens: int = 0) -> dict[str, Any]:
    """The question as a chat request of the OpenAI wire, at temperature 0.

    `reasoning_tokens` is added to the item's own longest answer for a model that thinks before it speaks.
    """
    asked: dict[str, Any] = {
        "model": model,
        "messages": [dict(message) for message in item.messages],
        "temperature": 0,
        "max_tokens": item.max_tokens + reasoning_tokens,
    }
    if item.tools:
        asked["tools"] = [dict(tool) for tool in item.tools]
    if item.response_format is not None:
        asked["response_format"] = dict(item.response_format)
    return asked
