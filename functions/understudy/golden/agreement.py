"""How far two pieces of JSON agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.golden.answer import Verdict
from understudy.golden.text import loose


def share(missing: int, of: int) -> float:
    """The part of `of` that is not missing."""
    return round((of - missing) / of, 4)


def agreement(expected: Any, found: Any) -> Verdict:
    """The share of the single values in `expected` that `found` has in the same places."""
    if expected is None:
        return Verdict(1.0, "is as the schema asks")
    pairs = list(_pairs(expected, found, "the value"))
    wrong = [path for path, same in pairs if not same]
    if wrong:
        return Verdict(share(len(wrong), len(pairs)), f"{wrong[0]} is not as expected")
    return Verdict(1.0, "holds what is expected")


_ABSENT = object()


def _pairs(expected: Any, found: Any, path: str) -> list[tuple[str, bool]]:
    if isinstance(expected, Mapping) and expected:
        inside = found if isinstance(found, Mapping) else {}
        return [pair for name, one in expected.items() for pair in _pairs(one, inside.get(name, _ABSENT), name)]
    if isinstance(expected, list) and expected:
        parts = found if isinstance(found, list) else []
        filled = [*parts[: len(expected)], *[_ABSENT] * (len(expected) - len(parts))]
        each = zip(expected, filled, strict=True)
        same = [(path, len(parts) == len(expected))]
        return same + [pair for one, other in each for pair in _pairs(one, other, path)]
    return [(path, _same(expected, found))]


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, str):
        return isinstance(found, str) and loose(expected) == loose(found)
    # In Python True is 1; in JSON it is not.
    return isinstance(expected, bool) == isinstance(found, bool) and bool(expected == found)
