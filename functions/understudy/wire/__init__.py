"""Provider protocols: one file each, pure.  `WIRES` and `UNARY_WIRES` are the only registries."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.wire.anthropic import VERSION, AnthropicWire
from understudy.wire.anthropic_count import AnthropicCountWire
from understudy.wire.base import UnaryWire, Wire
from understudy.wire.bedrock import BedrockWire
from understudy.wire.gemini import GeminiWire
from understudy.wire.gemini_embeddings import GeminiEmbeddings
from understudy.wire.openai import OpenAIWire
from understudy.wire.openai_embeddings import OpenAIEmbeddings
from understudy.wire.responses import ResponsesWire

WIRES: Mapping[str, Wire] = {
    "openai": OpenAIWire(),
    "anthropic": AnthropicWire(),
    "gemini": GeminiWire(),
    "bedrock": BedrockWire(),
    "responses": ResponsesWire(),
}
UNARY_WIRES: Mapping[tuple[str, str], UnaryWire] = {
    ("anthropic", "count_tokens"): AnthropicCountWire(VERSION),
    ("openai", "embeddings"): OpenAIEmbeddings(),
    ("gemini", "embeddings"): GeminiEmbeddings(),
}
"""By protocol and operation."""
