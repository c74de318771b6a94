"""Prices of a canonical document -> frozen prices.  Runs in the data plane: no schema library, no YAML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from understudy.control.paths import child
from understudy.errors import DocumentError, Problem
from understudy.prices import Kind, LongPrompt, Price, Rates


def price_of(section: Mapping[str, Any], path: str) -> Price:
    """A price of a target, or a change of it, which begins with the day that it names.  Raises DocumentError."""
    for name in ("input_per_million", "output_per_million"):
        if section.get(name) is None:
            fix = "publish a document made for this version of the software."
            raise DocumentError([Problem(child(path, name), "is missing.", fix)])
    longer = section.get("long_prompts") or ()
    tiers = section.get("service_tiers") or {}
    return Price(
        Decimal(section["input_per_million"]),
        Decimal(section["output_per_million"]),
        source=section.get("source") or "",
        kinds=_rates(section.get("kinds") or {}),
        long_prompts=tuple(LongPrompt(one["above_tokens"], _rates(one["rates"])) for one in longer),
        service_tiers={name: _rates(rates) for name, rates in tiers.items()},
        starts_at=start_of(section["from"]) if "from" in section else 0.0,
    )


def start_of(day: str) -> float:
    """The first moment (epoch seconds) of a day (YYYY-MM-DD, UTC)."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def _rates(section: Mapping[Kind, str]) -> Rates:
    return {kind: Decimal(rate) for kind, rate in section.items()}
