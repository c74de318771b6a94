"""A chat conversation as protocols with turns want it: what a turn may hold, and turns of alternating roles.

What such protocols share is here; how a block or a part is written is each one's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

from understudy.errors import InvalidRequest

DATA_URL = re.compile(r"data:(?P<media>[^;,]+)(?:;[^;,]+)*;base64,", re.IGNORECASE)

_SYSTEM = frozenset({"system", "developer"})
_ECHOED = frozenset({"annotations", "reasoning_content", "reasoning"})

Misfits = Callable[[Mapping[str, Any], str], Iterable[str]]
"""A value and its path in, the paths of what cannot be carried out."""


def plain_call(call: Mapping[str, Any], path: str) -> Iterator[str]:
    """A tool call other than that of a function has no place."""
    if call.get("type", "function") != "function":
        yield path


class Places:
    """What has a place in messages: the kinds of parts in a `user` message and in a `tool` result, and fields of an
    assistant's message beside the usual ones.

    Not sent, because they say nothing new, are a tool result's `name` (the call has it) and, in an echoed answer, its
    annotations and its thinking.
    """

    def __init__(self, *, user: Set[str], tool: Set[str], assistant: Set[str] = frozenset()) -> None:
        bare, text = frozenset({"role", "content"}), frozenset({"text"})
        self._of: Mapping[str, tuple[Set[str], Set[str]]] = {
            "system": (bare, text),
            "developer": (bare, text),
            "user": (bare, user),
            "tool": (bare | {"tool_call_id", "name"}, tool),
            "assistant": (bare | {"refusal", "tool_calls"} | _ECHOED | assistant, text | {"refusal"}),
        }

    def misfits(
        self, message: Mapping[str, Any], path: str, *, part: Misfits, call: Misfits = plain_call
    ) -> Iterator[str]:
        """The paths of what a message holds and there is no place for, `part` and `call` telling of what is inside."""
        if message["role"] not in self._of:
            yield path
            return
        fields, kinds = self._of[message["role"]]
        for name in message.keys() - fields:
            if message[name] not in ("", [], {}):
                yield f"{path}.{name}"
        for i, one in enumerate(message.get("tool_calls", ())):
            yield from call(one, f"{path}.tool_calls[{i}]")
        content = message.get("content")
        for i, one in enumerate(content if isinstance(content, list) else ()):
            if one["type"] not in kinds:
                yield f"{path}.content[{i}]"
            else:
                yield from part(one, f"{path}.content[{i}]")


def alternating(
    messages: list[Mapping[str, Any]],
    written: Callable[[Mapping[str, Any], str], list[dict[str, Any]]],
    *,
    assistant: str = "assistant",
    content: str = "content",
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The leading instructions, and turns of alternating roles with what is `written` of each message.

    Instructions in the middle are told in the user's turn.  Raises InvalidRequest where there is nothing to answer.
    """
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    leading = True
    for i, message in enumerate(messages):
        leading = leading and message["role"] in _SYSTEM
        pieces = written(message, f"messages[{i}]")
        role = assistant if message["role"] == "assistant" else "user"
        if leading:
            system += pieces
        elif pieces and turns and turns[-1]["role"] == role:
            turns[-1][content] += pieces
        elif pieces:
            turns.append({"role": role, content: pieces})
    if not turns and system:
        # Instructions alone are a request too, but these APIs want something to answer.
        turns = [{"role": "user", content: [system.pop()]}]
    if not turns:
        raise InvalidRequest("`messages` holds no text that is not blank.", param="messages")
    return system, turns


def trim_end(turns: list[dict[str, Any]]) -> None:
    """An answer to be continued may not end in white space."""
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and "text" in last:
        last["text"] = last["text"].rstrip()


def visible(text: object, path: str) -> str | None:
    """A text, or None where it has no visible character: these APIs refuse such.  Raises InvalidRequest."""
    if not isinstance(text, str | None):
        raise InvalidRequest(f"`{path}` must be a string.", param=path)
    return text if text and text.strip() else None


def arguments(text: object, path: str) -> dict[str, Any]:
    """The object that a call's arguments spell; a call without arguments is an empty one.  Raises InvalidRequest."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        given = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest(f"`{path}` must be a JSON object in a string.", param=path)
    return given
