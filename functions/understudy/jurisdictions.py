"""Which jurisdictions lie inside another one: data that stays in `de` stays in `eu` as well, and not the other way.

The table is data (`jurisdictions.yaml`, with source and date), read when it is first needed; a code that is not in it
lies inside nothing but itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("jurisdictions.yaml")
_KEPT = 1024
"""Results that are kept: every request asks the same few questions again."""


@lru_cache(maxsize=1)
def _table() -> tuple[str, Mapping[str, frozenset[str]]]:
    """The word for the whole world, and for each wide jurisdiction all that lie inside it, at any depth."""
    data = json.loads(FILE.read_text("utf-8"))
    inside = {wide: set(codes) for wide, codes in data["contains"].items()}
    grown = True
    while grown:
        grown = False
        for codes in inside.values():
            more = set().union(*(inside.get(code, ()) for code in codes)) - codes
            codes |= more
            grown = grown or bool(more)
    return data["anywhere"], {wide: frozenset(codes) for wide, codes in inside.items()}


def within(place: str, wide: str) -> bool:
    """Whether all that is in `place` is in `wide`."""
    if place == wide:
        return True
    anywhere, inside = _table()
    return wide == anywhere or place in inside.get(wide, ())


@lru_cache(maxsize=_KEPT)
def outside(places: frozenset[str], allowed: frozenset[str]) -> tuple[str, ...]:
    """Those of the places that are in none of the allowed ones, sorted."""
    return tuple(sorted(p for p in places - allowed if not any(within(p, wide) for wide in allowed)))


@lru_cache(maxsize=_KEPT)
def meet(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """What is allowed where both allow: of two that lie inside each other the narrower."""
    narrow = {p for p in one if any(within(p, wide) for wide in other)}
    return frozenset(narrow | {p for p in other if any(within(p, wide) for wide in one)})
