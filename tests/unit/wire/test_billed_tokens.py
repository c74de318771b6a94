"""What a provider counts apart because it costs apart: caches, audio, images, and the tier of service it billed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.wire.anthropic_stream import AnthropicDecoder
from understudy.wire.base import Event
from understudy.wire.bedrock_stream import BedrockDecoder
from understudy.wire.gemini_stream import GeminiDecoder
from understudy.wire.responses_stream import ResponsesDecoder


def counted(decoder: Any, *events: tuple[str, dict[str, Any]]) -> Usage | None:
    """What the last counts of these events are."""
    chunks = [chunk for name, data in events for chunk in decoder.feed(Event(name, json.dumps(data)))]
    return last(chunks)


def last(chunks: Sequence[Chunk]) -> Usage | None:
    found = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return found[-1] if found else None


def openai() -> Usage | None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5, "audio_tokens": 7, "image_tokens": 9},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 4},
    }
    return chunk_from({"choices": [], "usage": usage, "service_tier": "flex"}).usage


def responses() -> Usage | None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5, "audio_tokens": 7, "image_tokens": 9},
        "output_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 4},
    }
    response = {"id": "r", "model": "m", "output": [], "usage": usage, "service_tier": "flex", "status": "completed"}
    begun = {"type": "response.created", "response": {**response, "usage": None}}
    done = {"type": "response.completed", "response": response}
    return counted(ResponsesDecoder(), ("response.created", begun), ("response.completed", done))


def anthropic(**more: Any) -> Usage | None:
    usage = {
        "input_tokens": 55,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2},
        "service_tier": "standard",
        **more,
    }
    head = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "x", "usage": usage}
    end = {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}
    return counted(
        AnthropicDecoder(),
        ("message_start", {"type": "message_start", "message": head}),
        ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}),
    )


def bedrock() -> Usage | None:
    usage = {
        "inputTokens": 55,
        "outputTokens": 50,
        "cacheReadInputTokens": 40,
        "cacheWriteInputTokens": 5,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 2}],
    }
    told = {"usage": usage, "serviceTier": {"type": "flex"}}
    return counted(BedrockDecoder(), ("messageStart", {"role": "assistant"}), ("metadata", told))


def gemini() -> Usage | None:
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "cachedContentTokenCount": 40,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}, {"modality": "IMAGE", "tokenCount": 9}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 3}],
    }
    said = {"content": {"role": "model", "parts": [{"text": "a"}]}, "finishReason": "STOP"}
    whole = {"candidates": [said], "responseId": "r", "modelVersion": "m", "usageMetadata": usage}
    return counted(GeminiDecoder(), ("", whole))


FULL = Usage(100, 50, 40, 20, 5, 0, 7, 3, 9, 4, "flex")


@pytest.mark.parametrize(("found", "expected"), [
    (openai(), FULL),
    (responses(), FULL),
    (anthropic(), Usage(100, 50, 40, 20, 5, 2, service_tier="standard")),
    (anthropic(speed="fast"), Usage(100, 50, 40, 20, 5, 2, service_tier="fast")),
    (bedrock(), Usage(100, 50, 40, 0, 5, 2, service_tier="flex")),
    (gemini(), Usage(100, 50, 40, 20, 0, 0, 7, 3, 9, 4)),
], ids=["openai", "responses", "anthropic", "fast", "bedrock", "gemini"])  # fmt: skip
def test_every_kind_that_costs_apart_is_read(found: Usage | None, expected: Usage) -> None:
    """Each wire's counts in one shape; parts are within the whole."""
    assert expected == found


def test_counts_that_are_no_numbers_are_none() -> None:
    """What a careless server says beside its counts does not break the answer."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": "7"}}
    assert Usage(1, 1) == chunk_from({"choices": [], "usage": usage, "service_tier": {"type": "flex"}}).usage
    assert Usage(100, 50, 40, 20, 5, 0) == anthropic(cache_creation="x", service_tier=None)


def test_rarer_kinds_are_told_to_the_caller_where_there_are_any() -> None:
    """The usage object has the details that OpenAI's has, and the rarer ones only where they are not nothing."""
    assert {"cached_tokens": 0} == Usage(5, 1).payload()["prompt_tokens_details"]
    told = FULL.payload()
    assert {"cached_tokens": 40, "cache_write_tokens": 5, "audio_tokens": 7, "image_tokens": 9} == told[
        "prompt_tokens_details"
    ]
    assert {"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 4} == told["completion_tokens_details"]
