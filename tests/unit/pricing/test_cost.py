"""What an answer cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import target
from understudy.chat.usage import Usage
from understudy.prices import ASSUMED, LongPrompt, Price
from understudy.pricing.cost import assumed, blended, cost, counted_at, price_at

PRICE = Price(Decimal("0.15"), Decimal("0.60"))


@pytest.mark.parametrize(("usage", "price", "expected"), [
    (Usage(1_000_000, 1_000_000), PRICE, Decimal("0.75")),
    (Usage(1, 0), PRICE, Decimal("0.00000015")),
    (Usage(), PRICE, Decimal(0)),
    (None, PRICE, None),
    (Usage(1, 1), None, None),
])  # fmt: skip
def test_cost(usage: Usage | None, price: Price | None, expected: Decimal | None) -> None:
    """Tokens times price, exactly; unknown where either is unknown, never nothing."""
    assert expected == cost(usage, price)


def test_a_blended_price_reads_more_than_it_writes() -> None:
    """One figure for a million tokens: three of the prompt to one of the answer."""
    assert Decimal("3.5") == blended(Price(Decimal(2), Decimal(8)))


FULL = Price(
    Decimal(2),
    Decimal(8),
    kinds={
        "cached": Decimal("0.5"),
        "cache_write": Decimal("2.5"),
        "cache_write_1h": Decimal(4),
        "reasoning": Decimal(9),
        "audio_input": Decimal(30),
        "audio_output": Decimal(60),
        "image_input": Decimal(3),
        "image_output": Decimal(40),
    },
    long_prompts=(
        LongPrompt(200, {"input": Decimal(20)}),
        LongPrompt(500, {"input": Decimal(50), "cached": Decimal(5)}),
    ),
    service_tiers={"flex": {"input": Decimal(1), "output": Decimal(4)}, "batch": {"output": Decimal(3)}},
)


@pytest.mark.parametrize(("usage", "millionths"), [
    (Usage(100, 10), "280"),
    (Usage(100, 10, cached_tokens=40), "220"),
    (Usage(100, 10, cache_write_tokens=40), "300"),
    (Usage(100, 10, cache_write_tokens=40, cache_write_1h_tokens=10), "315"),
    (Usage(100, 10, reasoning_tokens=6), "286"),
    (Usage(100, 10, audio_input_tokens=5, audio_output_tokens=2), "524"),
    (Usage(100, 10, image_input_tokens=5, image_output_tokens=2), "349"),
    (Usage(200, 0), "400"),
    (Usage(201, 0), "4020"),
    (Usage(600, 0, cached_tokens=100), "25500"),
    (Usage(100, 10, service_tier="flex"), "140"),
    (Usage(300, 10, service_tier="batch"), "6030"),
    (Usage(100, 10, service_tier="standard"), "280"),
    (Usage(100, 10, cached_tokens=90, audio_input_tokens=90), "425"),
])  # fmt: skip
def test_every_kind_of_token_has_its_rate(usage: Usage, millionths: str) -> None:
    """Caches, reasoning, audio, images, long prompts and tiers of service; no token is counted twice."""
    assert Decimal(millionths) / 1_000_000 == cost(usage, FULL)


COUNT = st.integers(0, 10_000)
USAGES = st.builds(Usage, *[COUNT] * 10, service_tier=st.sampled_from(["", "flex", "batch", "unheard-of"]))


@given(USAGES)
def test_a_cost_is_between_the_lowest_and_the_highest_rate(usage: Usage) -> None:
    """Whatever a provider reports, every token costs something once: neither nothing nor twice."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    found = cost(usage, FULL)
    assert found is not None and tokens * Decimal("0.5") <= found * 1_000_000 <= tokens * 60


@given(USAGES)
def test_a_price_that_says_nothing_of_kinds_charges_all_alike(usage: Usage) -> None:
    """What is not said costs as what it is part of."""
    expected = usage.prompt_tokens * PRICE.input_per_million + usage.completion_tokens * PRICE.output_per_million
    assert expected / 1_000_000 == cost(usage, PRICE)


def test_a_price_changes_at_its_moment() -> None:
    """Each change holds from its own moment on, in whatever order they are written; before the first, the price."""
    later = [Price(Decimal(n), Decimal(n), starts_at=float(n)) for n in (20, 10)]
    priced = target("lead", price=PRICE, price_changes=tuple(later))
    assert [PRICE, later[1], later[1], later[0]] == [price_at(priced, now) for now in (9.9, 10.0, 19.9, 20.0)]


def test_what_stands_for_a_price_is_no_lower_than_any_other() -> None:
    """An unknown price is assumed, by input and output alone, and it says so."""
    dear = [Price(Decimal(15), Decimal(2)), Price(Decimal(1), Decimal(75))]
    found = assumed(dear)
    assert (Decimal(15), Decimal(75), True) == (found.input_per_million, found.output_per_million, found.assumed)
    assert ASSUMED == assumed([PRICE])
    unpriced = target("lead", assumed_price=found)
    assert (None, found) == (price_at(unpriced, 1.0), counted_at(unpriced, 1.0))
