"""What a model answered, as far as a checker reads it, and what a checker says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 20_000
"""Characters of an answer that are read; no question here has a longer one."""
MAX_CALLS = 16
_MAX_WHY = 200
# Models served without a parser of their own put what they thought in front of what they say.
_THOUGHT = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How right an answer is, from 0 (wrong) to 1, and why; `value` is None where there was nothing to read.

    Nothing to read says something about availability, and nothing about quality.
    """

    value: float | None
    why: str

    def __post_init__(self) -> None:
        if len(self.why) > _MAX_WHY:
            object.__setattr__(self, "why", self.why[: _MAX_WHY - 1] + "…")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is None where they are not a JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An assistant message: its text without what was thought before it, its tool calls, its refusal."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str = ""

    @property
    def empty(self) -> bool:
        return not (self.text or self.calls or self.refusal)


def read(message: Any) -> Answer:
    """The assistant message of a chat completion; whatever has not the expected shape is passed over."""
    if not isinstance(message, Mapping):
        return Answer()
    calls = message.get("tool_calls")
    found = (_call(one) for one in (calls if isinstance(calls, list | tuple) else ())[:MAX_CALLS])
    refusal = message.get("refusal")
    return Answer(
        _THOUGHT.sub("", _text(message.get("content"))).strip(),
        tuple(call for call in found if call),
        _clean(refusal).strip() if isinstance(refusal, str) else "",
    )


def parsed(text: str) -> Any:
    """JSON text as plain data, None where it is none (or says null); deep nesting and NaN count as none."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return _clean(content)
    parts = content if isinstance(content, list | tuple) else ()
    texts = [part.get("text") for part in parts[:MAX_CALLS] if isinstance(part, Mapping)]
    return _clean("".join(text[:MAX_TEXT] for text in texts if isinstance(text, str)))


def _clean(text: str) -> str:
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", text[:MAX_TEXT])


def _call(plain: Any) -> Call | None:
    function = plain.get("function") if isinstance(plain, Mapping) else None
    if not isinstance(function, Mapping):
        return None
    name, given = function.get("name"), function.get("arguments")
    if isinstance(given, str):
        # Some servers send nothing where a tool takes nothing.
        given = parsed(given or "{}") if len(given) <= MAX_TEXT else None
    return Call(
        name[:MAX_TEXT] if isinstance(name, str) else "",
        given if isinstance(given, Mapping) else None,
    )
