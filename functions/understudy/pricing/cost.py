"""What an answer cost, in US dollars.  Money is Decimal; an unknown price is unknown, never nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from understudy.catalog import Target
from understudy.chat.usage import Usage
from understudy.prices import ASSUMED, PART_OF, Kind, Price, Rates

MILLION = Decimal(1_000_000)


PROMPT_SHARE = 3
"""Prompt tokens to one token of an answer where one figure must stand for both; chats read more than they write."""


def blended(price: Price) -> Decimal:
    """Dollars for a million tokens, three of the prompt to one of the answer."""
    return (PROMPT_SHARE * price.input_per_million + price.output_per_million) / (PROMPT_SHARE + 1)


def price_at(target: Target, now: float) -> Price | None:
    """The target's price at `now`: the last of its changes that has begun, else its first; None where it has none."""
    begun = [price for price in target.price_changes if price.starts_at <= now]
    return max(begun, key=lambda price: price.starts_at) if begun else target.price


def counted_at(target: Target, now: float) -> Price:
    """The price that the target's calls are counted at: its own, else what is assumed."""
    return price_at(target, now) or target.assumed_price


def assumed(prices: Iterable[Price]) -> Price:
    """What stands for a price that is not known, beside these: no lower than any of them, nor than ASSUMED."""
    highest_input, highest_output = ASSUMED.input_per_million, ASSUMED.output_per_million
    for price in prices:
        highest_input = max(highest_input, price.input_per_million)
        highest_output = max(highest_output, price.output_per_million)
    return replace(ASSUMED, input_per_million=highest_input, output_per_million=highest_output)


def cost(usage: Usage | None, price: Price | None) -> Decimal | None:
    """Dollars for `usage` at `price`; None where either is not known."""
    if usage is None or price is None:
        return None
    overlays = _overlays(usage, price)
    fresh, said, total = usage.prompt_tokens, usage.completion_tokens, Decimal(0)
    for tokens, kind in _of_prompt(usage):
        # A token of two kinds (cached audio) is counted once, as the first of them.
        if (part := min(tokens, fresh)) > 0:
            fresh -= part
            total += part * _rate(kind, overlays, price)
    for tokens, kind in _of_answer(usage):
        if (part := min(tokens, said)) > 0:
            said -= part
            total += part * _rate(kind, overlays, price)
    return (total + fresh * _rate("input", overlays, price) + said * _rate("output", overlays, price)) / MILLION


def _of_prompt(usage: Usage) -> tuple[tuple[int, Kind], ...]:
    return (
        (usage.cached_tokens, "cached"),
        (usage.cache_write_tokens - usage.cache_write_1h_tokens, "cache_write"),
        (usage.cache_write_1h_tokens, "cache_write_1h"),
        (usage.audio_input_tokens, "audio_input"),
        (usage.image_input_tokens, "image_input"),
    )


def _of_answer(usage: Usage) -> tuple[tuple[int, Kind], ...]:
    return (
        (usage.reasoning_tokens, "reasoning"),
        (usage.audio_output_tokens, "audio_output"),
        (usage.image_output_tokens, "image_output"),
    )


def _overlays(usage: Usage, price: Price) -> list[Rates]:
    """The rates that hold for this usage, first things first: the service tier's, the longest prompt's that was passed,
    the price's own kinds."""
    found = [price.kinds]
    if price.long_prompts:
        passed = [long for long in price.long_prompts if usage.prompt_tokens > long.above_tokens]
        found = [*(long.rates for long in sorted(passed, key=lambda long: -long.above_tokens)[:1]), *found]
    tier = price.service_tiers.get(usage.service_tier)
    return found if tier is None else [tier, *found]


def _rate(kind: Kind, overlays: Sequence[Rates], price: Price) -> Decimal:
    for rates in overlays:
        if (rate := rates.get(kind)) is not None:
            return rate
    if kind == "input":
        return price.input_per_million
    return price.output_per_million if kind == "output" else _rate(PART_OF[kind], overlays, price)
