"""Token counts of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as OpenAI counts them: `prompt_tokens` includes cache reads and writes, `completion_tokens` reasoning."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def payload(self) -> dict[str, Any]:
        """The `usage` object of the OpenAI API."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


def usage_from(payload: object) -> Usage | None:
    """Read an OpenAI `usage` object; None where there is none or its counts are no numbers.

    Some compatible servers leave the tokens of thinking out of `completion_tokens` and count them in `total_tokens`
    alone (xAI's docs, "Reasoning"); they are part of the answer and billed as such.
    """
    if not isinstance(payload, Mapping):
        return None
    prompt, completion = payload.get("prompt_tokens"), payload.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int | None):
        return None
    completion, total = completion or 0, payload.get("total_tokens")
    reasoning = _detail(payload.get("completion_tokens_details"), "reasoning_tokens")
    hidden = total - prompt - completion if isinstance(total, int) else 0
    if hidden > 0 and reasoning in (0, hidden):
        completion, reasoning = completion + hidden, hidden
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_detail(payload.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=reasoning,
    )


def counted(payload: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    """The `usage` object with the counts as they were read, and whatever else it says; the total is their sum."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    details = payload.get("completion_tokens_details")
    if usage.reasoning_tokens != _detail(details, "reasoning_tokens"):
        kept = details if isinstance(details, Mapping) else {}
        counts["completion_tokens_details"] = {**kept, "reasoning_tokens": usage.reasoning_tokens}
    return {**payload, **counts}


def _detail(details: object, name: str) -> int:
    value = details.get(name) if isinstance(details, Mapping) else None
    return value if isinstance(value, int) else 0
