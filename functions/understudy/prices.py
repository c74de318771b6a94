"""What tokens cost: the price of a target, with those of rarer kinds, of long prompts and of service tiers.

Money is Decimal, in US dollars for one million tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Kind = Literal[
    "input",
    "output",
    "cached",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
]
Rates = Mapping[Kind, Decimal]
PART_OF: Mapping[Kind, Kind] = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
    "image_output": "output",
}
"""A kind without a rate of its own costs what this one does."""


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """Rates of a whole call whose prompt has more than `above_tokens`; what they leave out is as otherwise."""

    above_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for one million tokens, with where and when the figures were read.

    `kinds` are the rates of tokens that cost other than the rest of the prompt or the answer.  `long_prompts` and
    `service_tiers` (by the name that the provider reports) replace rates.  It is in force from `starts_at` (epoch
    seconds) on.  `assumed`: nobody has said it; it stands for a price that is not known.
    """

    input_per_million: Decimal
    output_per_million: Decimal
    source: str = ""
    kinds: Rates = field(default_factory=dict)
    long_prompts: tuple[LongPrompt, ...] = ()
    service_tiers: Mapping[str, Rates] = field(default_factory=dict)
    starts_at: float = 0.0
    assumed: bool = False


ASSUMED = Price(Decimal(3), Decimal(15), "assumed: about that of the larger models of late 2025", assumed=True)
"""Stands for a price that is not known, in a document whose other prices are no higher."""
