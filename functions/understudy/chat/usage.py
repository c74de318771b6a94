"""Token counts of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as OpenAI counts them: `prompt_tokens` includes cache reads and writes, `completion_tokens` reasoning.

    `cache_write_tokens` includes those written for an hour (`cache_write_1h_tokens`); audio and images are parts of the
    prompt or the answer.  `service_tier` is the class of service that the provider says it billed, empty for none.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    service_tier: str = ""

    def payload(self) -> dict[str, Any]:
        """The `usage` object of the OpenAI API; rarer kinds of tokens only where there are any."""
        prompt = {
            "cache_write_tokens": self.cache_write_tokens,
            "audio_tokens": self.audio_input_tokens,
            "image_tokens": self.image_input_tokens,
        }
        said = {"audio_tokens": self.audio_output_tokens, "image_tokens": self.image_output_tokens}
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, **_some(prompt)},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens, **_some(said)},
        }


def usage_from(payload: object) -> Usage | None:
    """Read an OpenAI `usage` object; None where there is none or its counts are none.

    Some compatible servers leave the tokens of thinking out of `completion_tokens` and count them in `total_tokens`
    alone (xAI's docs, "Reasoning"); they are part of the answer and billed as such.
    """
    if not isinstance(payload, Mapping):
        return None
    prompt, completion = payload.get("prompt_tokens"), payload.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int | None) or min(prompt, completion or 0) < 0:
        return None
    completion, total = completion or 0, payload.get("total_tokens")
    read, said = payload.get("prompt_tokens_details"), payload.get("completion_tokens_details")
    reasoning = detail(said, "reasoning_tokens")
    hidden = total - prompt - completion if isinstance(total, int) else 0
    if hidden > 0 and reasoning in (0, hidden):
        completion, reasoning = completion + hidden, hidden
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=detail(read, "cached_tokens"),
        reasoning_tokens=reasoning,
        cache_write_tokens=detail(read, "cache_write_tokens"),
        audio_input_tokens=detail(read, "audio_tokens"),
        audio_output_tokens=detail(said, "audio_tokens"),
        image_input_tokens=detail(read, "image_tokens"),
        image_output_tokens=detail(said, "image_tokens"),
    )


def with_tier(usage: Usage | None, tier: object) -> Usage | None:
    """The counts with the service tier that an answer names, where it names one."""
    if usage is None or not isinstance(tier, str) or not tier:
        return usage
    return replace(usage, service_tier=tier[:32])


def counted(payload: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    """The `usage` object with the counts as they were read, and whatever else it says; the total is their sum."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    details = payload.get("completion_tokens_details")
    if usage.reasoning_tokens != detail(details, "reasoning_tokens"):
        kept = details if isinstance(details, Mapping) else {}
        counts["completion_tokens_details"] = {**kept, "reasoning_tokens": usage.reasoning_tokens}
    return {**payload, **counts}


def detail(details: object, name: str) -> int:
    """One count of an object of counts; 0 where it is not there or no number."""
    value = details.get(name) if isinstance(details, Mapping) else None
    return max(0, value) if isinstance(value, int) else 0


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
