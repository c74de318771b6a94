"""The checks that fronts share: what a field must be, and the error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.chat.request import wrong


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
