"""The prices that a document does not say are written out from the price book, when it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.control.price_book import PACKAGE, PriceBook
from understudy.prices import ASSUMED

NO_BOOK = (
    f"the price book (package {PACKAGE}) is not installed here, so prices that the document does not say are not "
    "filled in; publish with the command line of an installation that has it"
)


def filled(
    document: Mapping[str, Any], before: Mapping[str, Any] | None, book: PriceBook | None, now: float
) -> tuple[dict[str, Any], list[str]]:
    """A canonical document with the prices that it lacks, as far as the book knows them, and what is to be said of it.

    What the document says itself stays.  Where the book says the same as it did for `before`, the document in force,
    that is kept with its source: the same text is the same document, whatever day it is.
    """
    targets, missing, remarks = {}, [], []
    try:
        for name, target in document["targets"].items():
            price = _price(target, document, book, now)
            kept = _kept(price, ((before or {}).get("targets") or {}).get(name) or {})
            targets[name] = {**target, **kept}
            if targets[name]["price"] is None:
                missing.append(name)
    except ImportError:
        book, targets = None, dict(document["targets"])
        missing = [name for name, target in targets.items() if target["price"] is None]
    if missing and book is None:
        remarks.append(NO_BOOK)
    return {**document, "targets": targets}, [*remarks, *_unpriced(missing, document)]


def _price(
    target: Mapping[str, Any], document: Mapping[str, Any], book: PriceBook | None, now: float
) -> dict[str, Any]:
    """What is to be filled in."""
    provider = document["providers"].get(target["provider"]) or {}
    if book is None or target["price"] is not None or target["price_changes"] or provider.get("simulated"):
        return {}
    quote = book.quote(provider["base_url"], target["model"], now)
    if quote is None:
        return {}
    return {"price": dict(quote.price), "price_changes": [dict(change) for change in quote.price_changes]}


def _kept(found: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, or what was found before where that says the same."""
    was = {name: before.get(name) for name in found}
    from_book = str((was.get("price") or {}).get("source", "")).startswith(f"{PACKAGE} ")
    return was if from_book and figures(was) == figures(found) else found


def figures(value: Any) -> Any:
    """A price, or whatever holds prices, without where its figures are from."""
    if isinstance(value, Mapping):
        return {name: figures(one) for name, one in value.items() if name != "source"}
    return [figures(one) for one in value] if isinstance(value, list | tuple) else value


def _unpriced(missing: list[str], document: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each target that calls may go to and whose price nobody knows."""
    for name in missing:
        if (document["providers"].get(document["targets"][name]["provider"]) or {}).get("simulated"):
            continue
        yield (
            f"targets.{name}: no price is known of {document['targets'][name]['model']!r}; its calls are counted at "
            f"${ASSUMED.input_per_million} and ${ASSUMED.output_per_million} a million tokens or the highest prices of "
            "the document, whichever is more, and an incident says so. Write `price` if you know it."
        )
