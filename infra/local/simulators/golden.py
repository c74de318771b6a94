"""What a simulated model answers to the golden questions that come with the package: their examples, right or wrong.

Which questions it gets wrong is drawn once for each, not for each time that it is asked: real models answer a question
that is repeated the same way nearly always.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from infra.local.simulators.answers import Answer, Ask, ToolCall, answer, limited
from understudy.golden.sets import core_files


@dataclass(frozen=True)
class Example:
    """A right and a wrong answer: a text, or `{name, arguments}` for a tool call."""

    right: Any
    wrong: Any


@cache
def examples() -> Mapping[str, Example]:
    """By the text of the question, without white space at its ends."""
    found = {}
    for data in core_files().values():
        for item in data["items"]:
            messages = item.get("messages") or [{"role": "user", "content": item["prompt"]}]
            asked = next(one["content"] for one in reversed(messages) if one["role"] == "user")
            found[asked.strip()] = Example(item.get("right"), item.get("wrong"))
    return found


def answered(ask: Ask, quality: float = 1.0) -> Answer:
    """The answer of a model that is right in the share `quality` of the golden questions, and of any other question
    says what it always says."""
    example = examples().get(ask.text.strip())
    if example is None:
        return answer(ask)
    wrong = zlib.crc32(ask.text.strip().encode()) % 1000 >= 1000 * quality
    said = example.wrong if wrong and example.wrong is not None else example.right
    if isinstance(said, Mapping):
        return Answer(calls=(ToolCall(ask.fingerprint[:24], said["name"], said.get("arguments") or {}),), stop="tool")
    return answer(ask) if said is None else limited(str(said), ask)
