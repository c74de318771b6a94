"""Content that only the target which made it can read again: thinking signatures, encrypted reasoning, cache ids.

Such a value is an opaque string.  On its way to the caller it is marked with its owner; on its way back it goes to that
owner bare, and is left out for everybody else.  A value without a mark was made elsewhere and is sent on as it is.

    us1.1f2e3d4c.ErUBCkYIBRgC...
    │   │        └ what the provider gave
    │   └ the owner: eight hex digits made from the target's name
    └ the form of the mark
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_MARKED = re.compile(r"us1\.([0-9a-f]{8})\.")


@lru_cache(maxsize=4096)
def owner_of_target(name: str) -> str:
    """The owner's mark of a target: eight hex digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def marked(value: str, owner: str) -> str:
    """The value as it is given to a caller; unchanged where it is empty or nobody owns it."""
    return f"us1.{owner}.{value}" if value and owner else value


def read(value: str) -> tuple[str, str]:
    """(owner, bare value); the owner is empty where the value has no mark."""
    match = _MARKED.match(value)
    return (match[1], value[match.end() :]) if match else ("", value)


def kept_by(value: str, owner: str) -> str | None:
    """The bare value where `owner` may be sent it, else None."""
    of, bare = read(value)
    return bare if of in ("", owner) else None


def owners(value: Any, depth: int = 64) -> Iterator[str]:
    """The owners of everything marked inside a request, in order; looks at whole strings only, never into texts."""
    if isinstance(value, str):
        if value.startswith("us1.") and (match := _MARKED.match(value)):
            yield match[1]
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
