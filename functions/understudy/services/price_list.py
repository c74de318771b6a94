"""What tokens of each target cost by the document in force, and where the price book says otherwise now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.control.load import catalog
from understudy.control.price_book import PriceBook, Quote
from understudy.control.price_fill import figures
from understudy.pricing.cost import counted_at, price_at
from understudy.pricing.ledger import day_of


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One target; rates as text.  `notes` say what is to be known beside the figures."""

    target: str
    model: str
    input: str
    output: str
    kinds: Mapping[str, str]
    since: str
    source: str
    known: bool
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {n: getattr(self, n) for n in self.__slots__} | {"kinds": dict(self.kinds), "notes": list(self.notes)}

    def cells(self) -> tuple[str, ...]:
        """For people."""
        other = ", ".join(f"{kind} {rate}" for kind, rate in self.kinds.items())
        return self.target, self.model, self.input, self.output, other or "-", self.since or "-", self.source or "-"


def price_list(document: Mapping[str, Any], book: PriceBook, now: float) -> tuple[list[PriceRow], bool]:
    """A row for each target of a canonical document, and whether there is a price book to compare with."""
    current, has_book = catalog(document, 0), True
    rows = []
    for name, target in current.targets.items():
        quote = None
        if has_book and not target.provider.simulated:
            try:
                quote = book.quote(target.provider.base_url, target.model, now)
            except ImportError:
                has_book = False
        price, known = counted_at(target, now), price_at(target, now) is not None
        notes = [] if known else ["no price is known: this one is assumed, and what is counted by it is an estimate"]
        coming = [change for change in target.price_changes if change.starts_at > now]
        for change in sorted(coming, key=lambda one: one.starts_at):
            rates = f"{change.input_per_million:f} and {change.output_per_million:f}"
            notes.append(f"from {day_of(change.starts_at)} on {rates} ({change.source or 'no source'})")
        notes += _differs(document["targets"][name], quote)
        rows.append(
            PriceRow(
                name,
                target.model,
                f"{price.input_per_million:f}",
                f"{price.output_per_million:f}",
                {kind: f"{rate:f}" for kind, rate in price.kinds.items()},
                day_of(price.starts_at) if price.starts_at else "",
                price.source,
                known,
                tuple(notes),
            )
        )
    return rows, has_book


def _differs(section: Mapping[str, Any], quote: Quote | None) -> list[str]:
    """Where the price book says something else than the document; nothing where it does not know the model."""
    if quote is None:
        return []
    ours = {"price": section.get("price"), "price_changes": section.get("price_changes") or []}
    theirs = {"price": dict(quote.price), "price_changes": list(quote.price_changes)}
    if figures(ours) == figures(theirs):
        return []
    rates = f"{quote.price['input_per_million']} and {quote.price['output_per_million']}"
    kinds = ", ".join(f"{kind} {rate}" for kind, rate in quote.price["kinds"].items())
    return [f"the price book differs: {rates}{f' ({kinds})' if kinds else ''}, {quote.price['source']}"]
