"""Provider protocols: one file each, pure.  `WIRES` is the only registry."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.wire.anthropic import AnthropicWire
from understudy.wire.base import Wire
from understudy.wire.openai import OpenAIWire

WIRES: Mapping[str, Wire] = {"openai": OpenAIWire(), "anthropic": AnthropicWire()}
