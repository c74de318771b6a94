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
    that is kept with its source: the same text is the same document, whatever day it is.  Without a book, prices that
    it gave before are kept.
    """
    known, has_book = before or {}, book is not None
    targets = {}
    for name, target in document["targets"].items():
        was = _from_book(name, target, document, known)
        try:
            found = _price(target, document, book, now) if has_book else was
        except ImportError:
            found, has_book = was, False
        same = was and figures(was) == figures(found)
        targets[name] = {**target, **(was if same else found)}
    # What a simulated provider costs is no money.
    real = [name for name, target in targets.items() if not document["providers"][target["provider"]]["simulated"]]
    missing = [name for name in real if targets[name]["price"] is None]
    remarks = [] if has_book or not any(_lacks(document["targets"][name]) for name in real) else [NO_BOOK]
    return {**document, "targets": targets}, [*remarks, *_unpriced(missing, document)]


def _lacks(target: Mapping[str, Any]) -> bool:
    return target["price"] is None and not target["price_changes"]


def _from_book(
    name: str, target: Mapping[str, Any], document: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """The price that the book gave the target of the document in force, where it is still the same model of the same
    server."""
    old = (before.get("targets") or {}).get(name) or {}
    server = document["providers"][target["provider"]]["base_url"]
    old_server = ((before.get("providers") or {}).get(old.get("provider")) or {}).get("base_url")
    source = str((old.get("price") or {}).get("source", ""))
    if not _lacks(target) or not source.startswith(f"{PACKAGE} ") or server != old_server:
        return {}
    if old.get("model") != target["model"]:
        return {}
    return {"price": old["price"], "price_changes": old.get("price_changes") or []}


def _price(
    target: Mapping[str, Any], document: Mapping[str, Any], book: PriceBook | None, now: float
) -> dict[str, Any]:
    """What is to be filled in."""
    provider = document["providers"][target["provider"]]
    if book is None or not _lacks(target) or provider["simulated"]:
        return {}
    quote = book.quote(provider["base_url"], target["model"], now)
    if quote is None:
        return {}
    return {"price": dict(quote.price), "price_changes": [dict(change) for change in quote.price_changes]}


def figures(value: Any) -> Any:
    """A price, or whatever holds prices, without where its figures are from."""
    if isinstance(value, Mapping):
        return {name: figures(one) for name, one in value.items() if name != "source"}
    return [figures(one) for one in value] if isinstance(value, list | tuple) else value


def _unpriced(missing: list[str], document: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each target that calls may go to and whose price nobody knows."""
    for name in missing:
        yield (
            f"targets.{name}: no price is known of {document['targets'][name]['model']!r}; its calls are counted at "
            f"${ASSUMED.input_per_million} and ${ASSUMED.output_per_million} a million tokens or the highest prices of "
            "the document, whichever is more, and an incident says so. Write `price` if you know it."
        )
