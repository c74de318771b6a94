"""Prices that a document does not say are written out from the price book, once, with where they are from."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.control.conftest import FakeControlStore
from understudy.control.document import parse
from understudy.control.load import catalog
from understudy.control.price_book import GenaiPrices, Quote
from understudy.control.price_fill import NO_BOOK, filled
from understudy.pricing.cost import price_at
from understudy.services.price_list import price_list
from understudy.services.publish_control import diff_against_current, publish

NOW = 1_795_780_800.0
DAY = 86_400.0
TEXT = """
schema: 1
providers:
  acme: {wire: openai, base_url: "https://acme.example/v1"}
  toy: {wire: openai, base_url: "http://127.0.0.1:1/v1", simulated: true}
targets:
  lead: {provider: acme, model: large}
  own: {provider: acme, model: large, price: {input_per_million: "9", output_per_million: "9", source: "contract 7"}}
  odd: {provider: acme, model: unheard-of}
  toy: {provider: toy, model: large}
routes: {chat: {targets: [lead, own, odd, toy]}}
"""


@dataclass(slots=True)
class Book:
    """Knows one model, of which it says another source each day."""

    input: str = "2"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def quote(self, base_url: str, model: str, now: float) -> Quote | None:
        self.asked.append((base_url, model))
        if model != "large":
            return None
        price = {
            "input_per_million": self.input,
            "output_per_million": "8",
            "kinds": {"cached": "0.5"},
            "long_prompts": [],
            "service_tiers": {},
            "source": f"genai-prices 1.0, acme/large, read {now:.0f}",
        }
        return Quote(price, ({**price, "from": "2099-01-01", "input_per_million": "1"},))


def test_what_is_missing_is_written_out_and_what_is_said_stays() -> None:
    """With the changes that are announced; what is simulated costs nothing, and nobody is asked for its price."""
    book = Book()
    document, told = filled(parse(TEXT), None, book, NOW)
    compiled = catalog(document, 1)
    prices = {name: price_at(target, NOW) for name, target in compiled.targets.items()}
    assert [("https://acme.example/v1", "large"), ("https://acme.example/v1", "unheard-of")] == book.asked
    lead, own = prices["lead"], prices["own"]
    assert lead is not None and own is not None
    assert (Decimal(2), {"cached": Decimal("0.5")}) == (lead.input_per_million, dict(lead.kinds))
    assert "genai-prices 1.0, acme/large, read 1795780800" == lead.source
    assert "contract 7" == own.source
    later = price_at(compiled.targets["lead"], 4_100_000_000.0)
    assert later is not None and Decimal(1) == later.input_per_million
    assert (None, None) == (prices["odd"], prices["toy"])
    (one,) = told
    assert one.startswith(
        "targets.odd: no price is known of 'unheard-of'; its calls are counted at $3 and $15 a million"
    )


def test_the_same_text_is_the_same_document_whatever_day_it_is(store: FakeControlStore) -> None:
    """A book that says the same under another date changes nothing; one that says otherwise is a change, and told."""
    publish(store, TEXT, now=NOW, by="ann", book=Book())
    again = publish(store, TEXT, now=NOW + DAY, by="ann", book=Book())
    assert (False, 1) == (again.moved, again.version)
    assert () == diff_against_current(store, TEXT, now=NOW + DAY, book=Book()).changes
    dearer = publish(store, TEXT, now=NOW + DAY, by="ann", book=Book(input="3"))
    assert 'changed targets.lead.price.input_per_million: "2" -> "3"' in str(dearer)


def test_a_price_that_the_document_takes_over_is_its_own(store: FakeControlStore) -> None:
    """What was filled in does not stay when the document says something else, and comes back when it does not."""
    publish(store, TEXT, now=NOW, by="ann", book=Book())
    said = 'lead: {provider: acme, model: large, price: {input_per_million: "1", output_per_million: "1"}}'
    publish(store, TEXT.replace("lead: {provider: acme, model: large}", said), now=NOW, by="ann", book=Book())
    assert "1" == store.kept[2].document["targets"]["lead"]["price"]["input_per_million"]
    publish(store, TEXT, now=NOW, by="ann", book=Book())
    assert "2" == store.kept[3].document["targets"]["lead"]["price"]["input_per_million"]


def test_without_a_book_it_is_said_and_nothing_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is not installed, as in Lambda."""
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    for book in (None, GenaiPrices()):
        document, told = filled(parse(TEXT), None, book, NOW)
        assert parse(TEXT) == document
        assert [NO_BOOK, "targets.lead", "targets.odd"] == [told[0], *(one.split(":")[0] for one in told[1:])]


def test_without_a_book_what_it_said_before_is_kept(store: FakeControlStore) -> None:
    """Publishing from somewhere else loses no price; one of another model, or of another server, it was never."""
    publish(store, TEXT, now=NOW, by="ann", book=Book())
    again = publish(store, TEXT, now=NOW, by="bob")
    assert (False, NO_BOOK) == (again.moved, again.warnings[0])
    for old, new in {"model: large}\n  own": "model: larger}\n  own", "acme.example": "acme2.example"}.items():
        publish(store, TEXT.replace(old, new), now=NOW, by="bob")
        newest = store.kept[max(store.kept)].document["targets"]["lead"]
        assert (None, []) == (newest["price"], newest["price_changes"])
        publish(store, TEXT, now=NOW, by="ann", book=Book())


def test_differences_to_the_book_are_listed() -> None:
    """Of every target that is not simulated; the figures of the book beside those of the document."""
    document, _ = filled(parse(TEXT), None, Book(), NOW)
    rows, has_book = price_list(document, Book(input="2.5"), NOW)
    told = {row.target: [note for note in row.notes if "differs" in note] for row in rows}
    source = "genai-prices 1.0, acme/large, read 1795780800"
    differs = [f"the price book differs: 2.5 and 8 (cached 0.5), {source}"]
    assert ({"lead": differs, "own": differs, "odd": [], "toy": []}, True) == (told, has_book)
    rows, _ = price_list(document, Book(), NOW)
    assert [] == [note for row in rows if row.target == "lead" for note in row.notes if "differs" in note]


MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("https://api.openai.com/v1", "gpt-4o", {"input_per_million": "2.5", "output_per_million": "10"}),
    ("https://api.anthropic.com", "claude-sonnet-4-5", {"input_per_million": "3", "output_per_million": "15"}),
]


@pytest.mark.parametrize(("address", "model", "expected"), MODELS, ids=[model for _, model, _ in MODELS])
def test_the_package_is_read(address: str, model: str, expected: dict[str, Any]) -> None:
    """Rates, caches, long prompts and tiers as the control document has them, with version and day."""
    pytest.importorskip("genai_prices.data")
    quote = GenaiPrices().quote(address, model, NOW)
    assert quote is not None
    assert expected == {name: quote.price[name] for name in expected}
    assert "cached" in quote.price["kinds"]
    assert {"input", "output"} <= set(quote.price["service_tiers"]["batch"])
    assert quote.price["source"].startswith("genai-prices ") and quote.price["source"].endswith(", read 2026-11-27")


def test_every_price_of_the_package_is_a_price_of_a_document() -> None:
    """Whatever its form: what can be read is a valid price, and what is priced by other things than tokens is none."""
    data = pytest.importorskip("genai_prices.data")
    book = GenaiPrices()
    assert None is book.quote("https://nobody.example", "x", NOW)
    found = [book._of(provider.id, model, NOW) for provider in data.providers for model in provider.models]
    assert sum(quote is not None for quote in found) > 1000
    (peak,) = {
        quote.price["input_per_million"]
        for quote in [book.quote("https://api.deepseek.com", "deepseek-chat", 1_740_000_000.0)]
        if quote is not None
    }
    assert "0.27" == peak
