"""Prices from the package genai-prices, whose figures are reviewed data with sources: for the operator, never for the
data plane.

A price is written out into the document at publication, with its source, as presets are
(infra/decisions/0024-what-calls-cost.md).  The package is imported by the first question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

from understudy.control.target_forms import PriceChangeForm, PriceForm

PACKAGE = "genai-prices"
KINDS = {
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
}
"""Names of the package and of the control document."""
BASE = {"input_mtok": "input", "output_mtok": "output"}
TIERS = ("service_tier", "processing", "speed")
"""What the package tells variants of a price by, where providers report it as a tier of service."""
LATER = 20


@dataclass(frozen=True, slots=True)
class Quote:
    """A price and its changes ahead, as the control document has them."""

    price: Mapping[str, Any]
    price_changes: tuple[Mapping[str, Any], ...] = ()


class PriceBook(Protocol):
    def quote(self, base_url: str, model: str, now: float) -> Quote | None:
        """What a model costs at the server of this address; None where that is not known."""


@dataclass(slots=True)
class GenaiPrices:
    """The installed package.  Raises ImportError, at its first question, where it is not installed."""

    _providers: list[Any] = field(default_factory=list)
    _version: str = ""

    def quote(self, base_url: str, model: str, now: float) -> Quote | None:
        if not self._providers:
            self._providers = list(import_module("genai_prices.data").providers)
            self._version = version(PACKAGE)
        for provider in self._providers:
            if re.match(provider.api_pattern, base_url):
                found = provider.find_model(model, all_providers=self._providers)
                if found is not None:
                    return self._of(provider.id, found, now)
        return None

    def _of(self, provider: str, model: Any, now: float) -> Quote | None:
        day = datetime.fromtimestamp(now, UTC).date()
        source = f"{PACKAGE} {self._version}, {provider}/{model.id}, read {day.isoformat()}"[:300]
        begun, ahead = _timed(model.prices, day)
        tiers = dict(_tiers(model.price_variants or (), day))
        price = None if begun is None else _plain(begun, tiers, source)
        if price is None:
            return None
        changes = []
        for start, prices in ahead[:LATER]:
            if (later := _plain(prices, tiers, source)) is not None:
                form = PriceChangeForm.model_validate({**later, "from": start.isoformat()})
                changes.append(form.model_dump(by_alias=True))
        return Quote(PriceForm.model_validate(price).model_dump(by_alias=True), tuple(changes))


def _timed(prices: Any, day: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """The prices of a day, and those that begin later, in order.  No price here has hours: of those of some hours and
    those of the others, the dearest stands for all."""
    if not isinstance(prices, list):
        return prices, []
    dated = [(getattr(one.constraint, "start_date", None), one) for one in prices]
    begun = [one for start, one in dated if start is None or start <= day]
    ahead = [(start, one.prices) for start, one in dated if start is not None and start > day]
    if any(hasattr(one.constraint, "start_time") for one in begun):
        begun.sort(key=lambda one: _base(getattr(one.prices, "input_mtok", None) or Decimal(0)))
    return (begun[-1].prices if begun else None), sorted(ahead, key=lambda change: change[0])


def _tiers(variants: Any, day: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Rates of the tiers of service that are known, the first of each."""
    seen: set[str] = set()
    for variant in variants:
        start = getattr(variant.constraint, "start_date", None)
        names = [value for key, value in variant.when.items() if key in TIERS]
        if len(variant.when) != 1 or not names or names[0] in seen or (start is not None and start > day):
            continue
        rates = {name: _base(value) for name, value in _said(variant.prices, BASE | KINDS)}
        if rates:
            seen.add(names[0])
            yield names[0], {name: money(rate) for name, rate in rates.items()}


def _plain(prices: Any, tiers: Mapping[str, Mapping[str, str]], source: str) -> dict[str, Any] | None:
    said = dict(_said(prices, BASE | KINDS))
    if "input" not in said:
        # Priced by the hour, the page or the character.
        return None
    kinds = {name: money(_base(value)) for name, value in said.items() if name not in ("input", "output")}
    longer: dict[int, dict[str, str]] = {}
    for name, value in said.items():
        for tier in getattr(value, "tiers", ()):
            longer.setdefault(tier.start, {})[name] = money(tier.price)
    return {
        "input_per_million": money(_base(said["input"])),
        "output_per_million": money(_base(said.get("output", Decimal(0)))),
        "kinds": kinds,
        "long_prompts": [{"above_tokens": start, "rates": rates} for start, rates in sorted(longer.items()) if start],
        "service_tiers": {name: dict(rates) for name, rates in tiers.items()},
        "source": source,
    }


def _said(prices: Any, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for theirs, ours in names.items():
        if (value := getattr(prices, theirs, None)) is not None:
            yield ours, value


def _base(value: Any) -> Decimal:
    base: Decimal = getattr(value, "base", value)
    return base


def money(value: Decimal) -> str:
    """As the control document has it.  Some figures of the package went through binary floating point."""
    return format(round(value, 6).normalize(), "f")
