"""Where golden sets come from: the one that comes with the package, and those of a control document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.golden.item import GoldenSet

CORE = "core"
"""The name of the set that comes with the package; no set of a control document may have it."""


def built_in() -> GoldenSet:
    """The set that comes with the package."""
    raise NotImplementedError


def golden_set(name: str, data: Mapping[str, Any]) -> GoldenSet:
    """A set of a control document: its `golden_sets.NAME` in canonical form.  Raises DocumentError."""
    raise NotImplementedError


def find(name: str, section: Mapping[str, Any]) -> GoldenSet | None:
    """The set of this name: the built-in one, or one of a document's `golden_sets` (canonical)."""
    if name == CORE:
        return built_in()
    return golden_set(name, section[name]) if name in section else None
