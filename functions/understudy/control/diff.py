"""What changed between two canonical control documents.  Pure; the same two documents give the same list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.control.paths import child

_NAMED = frozenset({"providers", "targets", "routes", "data_classes", "golden_sets"})
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Change:
    """One place that differs.  `None` stands for "not there" as well as for null: both mean "not set"."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """One line for a person: what was added, removed or changed, and from what to what."""
        if self.before is None:
            return f"added   {self.path}: {_short(self.after)}"
        if self.after is None:
            return f"removed {self.path} (was {_short(self.before)})"
        return f"changed {self.path}: {_short(self.before)} -> {_short(self.after)}"


def diff(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Change]:
    """The changes that lead from `old` (None: nothing was published) to `new`, ordered by path.

    Mappings are compared field by field; a provider, target or route that is new or gone is one change.  The
    targets of a route are compared by name: `routes.chat.targets[lead].weight`, the items of a golden set by their id.
    Other lists are one value.
    """
    return sorted(_compare("", old or {}, new), key=lambda change: change.path)


def _compare(path: str, old: Any, new: Any) -> Iterator[Change]:
    if _text(old) == _text(new):
        return
    before, after = _named(old), _named(new)
    # A section of named things is opened even where one side lacks it, so that each thing gets its own line.
    opened = path in _NAMED and None in (old, new) and (before or after)
    if (before is None or after is None) and not opened:
        yield Change(path, old, new)
        return
    keyed = isinstance(old, list) or isinstance(new, list)
    for name in sorted({*(before or {}), *(after or {})}):
        step = f"{path}[{name}]" if keyed else child(path, name)
        yield from _compare(step, (before or {}).get(name), (after or {}).get(name))


def _named(value: Any) -> Mapping[str, Any] | None:
    """What can be compared name by name: a mapping, a route's targets, a golden set's items; None for all else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        names = [item.get("target", item.get("id")) for item in value]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return dict(zip(names, value, strict=True))
    return None


def _text(value: Any) -> str:
    # JSON tells 1 from 1.0 and from true, which Python's `==` does not.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
