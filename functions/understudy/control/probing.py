"""What must hold between a document's probes and the rest of it, and what is odd about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.control.checks import guess
from understudy.control.protocols import as_mapping
from understudy.control.source import Finding
from understudy.golden.item import CORE
from understudy.golden.sets import built_in

DAY = 86_400.0


def findings(document: Mapping[str, Any], targets: Mapping[str, Any]) -> Iterator[Finding]:
    """Names of sets and of a judge that lead nowhere; takes a document as it was read."""
    quality = as_mapping(as_mapping(document.get("health")).get("quality"))
    known = {CORE, *as_mapping(document.get("golden_sets"))}
    names = quality.get("sets")
    for place, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name not in known:
            path = ("health", "quality", "sets", place)
            yield Finding(path, f"there is no golden set `{name}`.", guess(name, known))
    judge = quality.get("judge")
    if isinstance(judge, str) and judge not in targets:
        yield Finding(("health", "quality", "judge"), f"there is no target `{judge}`.", guess(judge, targets))


def oddities(document: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about a canonical document: sets that are not asked whole within a day, answers that nobody judges."""
    quality, sets = (
        as_mapping(as_mapping(document.get("health")).get("quality")),
        as_mapping(document.get("golden_sets")),
    )
    if not quality:
        # Published before there were any.
        return
    asked = {*quality["sets"], *(name for route in document["routes"].values() for name in route["golden_sets"])}
    runs = math.floor(DAY / quality["period_s"])
    for name in sorted(asked):
        size = len(sets[name]["items"]) if name in sets else len(built_in().items)
        if runs * quality["items"] < size:
            asked_daily, enough = runs * quality["items"], math.ceil(size / runs)
            yield (
                f"Of the {size} items of the golden set `{name}` no more than {asked_daily} are asked in a day: "
                f"set health.quality.items to {enough} or more, or a shorter period_s."
            )
        judged = [item for item in as_mapping(sets.get(name)).get("items", ()) if item["checker"]["kind"] == "judge"]
        if judged and not quality["judge"]:
            yield (
                f"{len(judged)} items of the golden set `{name}` are never asked, for no checker can judge their "
                "answers: name a target as health.quality.judge."
            )
