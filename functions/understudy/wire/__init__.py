"""Provider protocols: one file each, pure.  `WIRES` and `UNARY_WIRES` are the only registries."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.wire.anthropic import VERSION, AnthropicWire
from understudy.wire.anthropic_count import AnthropicCountWire
from understudy.wire.base import UnaryWire, Wire
from understudy.wire.openai import OpenAIWire

WIRES: Mapping[str, Wire] = {"openai": OpenAIWire(), "anthropic": AnthropicWire()}
UNARY_WIRES: Mapping[tuple[str, str], UnaryWire] = {("anthropic", "count_tokens"): AnthropicCountWire(VERSION)}
"""By protocol and operation."""
