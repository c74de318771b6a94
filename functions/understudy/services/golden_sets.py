"""The golden sets of the document in force, read once for each version of it."""

from __future__ import annotations

from understudy.catalog import Catalog
from understudy.golden.item import GoldenSet


class GoldenSets:
    """One for each execution environment."""

    def __init__(self) -> None:
        self._version = 0
        self._known: dict[str, GoldenSet | None] = {}

    def find(self, current: Catalog, name: str) -> GoldenSet | None:
        """The set of this name; None where the document knows none."""
        if current.version != self._version:
            self._version, self._known = current.version, {}
        if name not in self._known:
            # YAML and the checkers are loaded by the first value that needs them, not by every cold start.
            from understudy.golden.sets import find

            self._known[name] = find(name, current.golden_sets)
        return self._known[name]
