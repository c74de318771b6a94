"""The checks that fronts share: what a field must be, and the error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import InvalidRequest


def string(value: object, path: str) -> str:
    """The value, which must be a string.  Raises InvalidRequest."""
    if not isinstance(value, str):
        raise wrong(path, "a string", value)
    return value


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """The value, which must be an object.  Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise wrong(path, "an object", value)
    return value


def listed(value: object, path: str, wanted: str = "a list") -> list[Any]:
    """The value, which must be a list.  Raises InvalidRequest."""
    if not isinstance(value, list):
        raise wrong(path, wanted, value)
    return value


def wrong(path: str, wanted: str, value: object) -> InvalidRequest:
    """The error that names the field, what it should be and what it is."""
    found = "it is missing" if value is None else f"it is {_word(value)}"
    return InvalidRequest(f"`{path}` must be {wanted}; {found}.", param=path, code="invalid_type")


def _word(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, bool):
        return "true or false"
    words = {dict: "an object", list: "a list", int: "an integer", float: "a number"}
    return words.get(type(value), "null")
