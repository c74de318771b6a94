"""JSON as the wires write and read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.errors import InvalidRequest

# NaN and the infinities are no JSON, yet some servers send them among log probabilities; passed on they would
# break the caller's parser, so they are read as null.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def encode(body: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON, keys in their order, text not escaped.  Raises InvalidRequest where a value is no JSON."""
    try:
        return _dump(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form; escaped it goes out exactly as the caller wrote it.
        return _dump(body, ensure_ascii=True).encode()


def decode_object(text: str) -> dict[str, Any]:
    """Read a JSON object.  Raises ValueError on anything else, too deep a nesting included."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("the JSON is not an object")
    return value


def object_at(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in a field.  Raises ValueError where there is none; so do the next two."""
    value = payload.get(name)
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` is not an object")
    return value


def string_at(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is not a string")
    return value


def number_at(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if not isinstance(value, int):
        raise ValueError(f"`{name}` is not a number")
    return value


def _dump(body: Mapping[str, Any], *, ensure_ascii: bool) -> str:
    try:
        return json.dumps(body, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except ValueError:
        raise InvalidRequest("The body holds a number that JSON cannot express.") from None
