"""What an answer cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from understudy.catalog import Price
from understudy.chat.usage import Usage
from understudy.pricing.cost import blended, cost

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
