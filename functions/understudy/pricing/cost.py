"""What an answer cost, in US dollars.  Money is Decimal; an unknown price is unknown, never nothing."""

from __future__ import annotations

from decimal import Decimal

from understudy.catalog import Price
from understudy.chat.usage import Usage

MILLION = Decimal(1_000_000)


PROMPT_SHARE = 3
"""Prompt tokens to one token of an answer where one figure must stand for both; chats read more than they write."""


def blended(price: Price) -> Decimal:
    """Dollars for a million tokens, three of the prompt to one of the answer."""
    return (PROMPT_SHARE * price.input_per_million + price.output_per_million) / (PROMPT_SHARE + 1)


def cost(usage: Usage | None, price: Price | None) -> Decimal | None:
    """Dollars for `usage` at `price`; None where either is not known."""
    if usage is None or price is None:
        return None
    return (
        usage.prompt_tokens * price.input_per_million + usage.completion_tokens * price.output_per_million
    ) / MILLION
