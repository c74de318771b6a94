"""Content that only the target which made it can read again: thinking signatures, encrypted reasoning, cache ids.

Such a value is an opaque string.  On its way to the caller it is marked with its owner; on its way back it goes to that
owner bare, and is left out for everybody else.  A value without a mark was made elsewhere and is sent on as it is.

    us1.1f2e3d4c.ErUBCkYIBRgC...
    │   │        └ what the provider gave
    │   └ the owner: eight hex digits made from the target's name
    └ the form of the mark

An id keeps what clients tell its kind by in front of the mark: `resp_us1.1f2e3d4c.68af4030592c`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

NOBODY = "00000000"
"""The owner of an id that the router itself made: no target has ever heard of it."""

_MARKED = re.compile(r"((?:[a-z]{1,16}_)?)us1\.([0-9a-f]{8})\.")
_LONGEST_KIND = 17


@lru_cache(maxsize=4096)
def owner_of_target(name: str) -> str:
    """The owner's mark of a target: eight hex digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def marked(value: str, owner: str) -> str:
    """The value as it is given to a caller; unchanged where it is empty or nobody owns it."""
    return f"us1.{owner}.{value}" if value and owner else value


def marked_id(value: str, owner: str) -> str:
    """The same for an id, whose kind stays in front."""
    kind, line, rest = value.partition("_")
    if not (owner and line and rest and kind.isascii() and kind.isalpha() and kind.islower() and len(kind) <= 16):
        return marked(value, owner)
    return f"{kind}_us1.{owner}.{rest}"


def read(value: str) -> tuple[str, str]:
    """(owner, bare value); the owner is empty where the value has no mark."""
    match = _MARKED.match(value)
    return (match[2], match[1] + value[match.end() :]) if match else ("", value)


def kept_by(value: str, owner: str) -> str | None:
    """The bare value where `owner` may be sent it, else None."""
    of, bare = read(value)
    return bare if of in ("", owner) else None


def owners(value: Any, depth: int = 64) -> Iterator[str]:
    """The owners of everything marked inside a request, in order; looks at whole strings only, never into texts.

    What the router made itself is nobody's.
    """
    if isinstance(value, str):
        if "us1." in value[: _LONGEST_KIND + 4] and (match := _MARKED.match(value)) and match[2] != NOBODY:
            yield match[2]
    elif depth:
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        for one in inner:
            yield from owners(one, depth - 1)


SIGNED = "call_signed_"
"""How the id of a tool call begins whose thought signature is to come back with it: no other is looked for."""


def signature_of(call: Mapping[str, Any]) -> str:
    """The thought signature of a tool call, empty where it has none.

    It stands where Google's OpenAI-compatible endpoint puts it (Gemini API, "Thought signatures").
    """
    extra = call.get("extra_content")
    inner = extra.get("google") if isinstance(extra, Mapping) else None
    value = inner.get("thought_signature") if isinstance(inner, Mapping) else None
    return value if isinstance(value, str) else ""


def with_signature(call: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """The tool call with its signature where `signature_of` looks for it."""
    extra = call.get("extra_content")
    inner = extra.get("google") if isinstance(extra, Mapping) else None
    kept = dict(inner) if isinstance(inner, Mapping) else {}
    google = {**kept, "thought_signature": signature}
    return {**call, "extra_content": {**(extra if isinstance(extra, Mapping) else {}), "google": google}}


def without_others(messages: list[Mapping[str, Any]], owner: str) -> list[Mapping[str, Any]]:
    """The messages without the thought signatures that another than `owner` can read; the same list where there are
    none."""
    kept = [_without(message, owner) for message in messages]
    return messages if all(one is other for one, other in zip(kept, messages, strict=True)) else kept


def _without(message: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    calls = message.get("tool_calls")
    if not calls and "extra_content" not in message:
        return message
    made = _unsigned(message, owner)
    unsigned = [_unsigned(call, owner) for call in calls or ()]
    if any(one is not other for one, other in zip(unsigned, calls or (), strict=True)):
        made = {**made, "tool_calls": unsigned}
    return made


def _unsigned(holder: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    """The message or call without a signature that `owner` may not be sent, and without what was there for it alone."""
    if kept_by(signature_of(holder), owner) is not None:
        return holder
    extra = holder["extra_content"]
    inner = {name: value for name, value in extra["google"].items() if name != "thought_signature"}
    rest = {name: value for name, value in extra.items() if name != "google"} | ({"google": inner} if inner else {})
    made = {name: value for name, value in holder.items() if name != "extra_content"}
    return made | ({"extra_content": rest} if rest else {})
