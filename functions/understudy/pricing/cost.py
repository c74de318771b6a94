"""What an answer cost, in US dollars.  Money is Decimal; an unknown price is unknown, never nothing."""

from __future__ import annotations

from decimal import Decimal

from understudy.catalog import Price
from understudy.chat.usage import Usage

MILLION = Decimal(1_000_000)


def cost(usage: Usage | None, price: Price | None) -> Decimal | None:
    """Dollars for `usage` at `price`; None where either is not known."""
    if usage is None or price is None:
        return None
    return (
        usage.prompt_tokens * price.input_per_million + usage.completion_tokens * price.output_per_million
    ) / MILLION
