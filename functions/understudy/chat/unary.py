"""A request that is answered by one object at once: embeddings, the count of a prompt's tokens.

It goes through the same engine as a conversation; its answer is one chunk that nobody can go on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.request import Native
from understudy.chat.stream import Chunk
from understudy.chat.usage import Usage


@dataclass(frozen=True, slots=True)
class UnaryRequest:
    """One checked request.  `operation` is "embeddings" or "count_tokens"; `body` has no nulls; see ChatRequest.

    `estimate` stands for the answer where nobody on the route can give one; None where nothing can stand for it.
    """

    operation: str
    model: str
    body: Mapping[str, Any]
    native: Native | None = None
    needs: frozenset[str] = frozenset()
    estimate: Mapping[str, Any] | None = None
    stream: bool = field(default=False, init=False)
    is_structured: bool = field(default=False, init=False)
    choices: int = field(default=1, init=False)

    @property
    def max_output_tokens(self) -> int | None:
        """No token is generated."""
        return 0

    @property
    def size(self) -> int:
        """Characters of all texts; a token id of a ready-made list counts as four."""
        return sum(_lengths(self.body.get("input", self.body.get("messages"))))


def unary_chunk(payload: Mapping[str, Any], usage: Usage | None) -> Chunk:
    """The whole answer as the one chunk that the engine gives out."""
    return Chunk(payload, "", False, False, {0: "stop"}, usage, opaque=True)


def _lengths(value: Any, depth: int = 8) -> Iterator[int]:
    if isinstance(value, str):
        yield len(value)
    elif isinstance(value, int):
        yield 4
    elif depth and isinstance(value, list | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _lengths(one, depth - 1)
