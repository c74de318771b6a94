"""The response object of a translated answer.  Source: the OpenAI API reference, "The response object".

It repeats what the request said, as the API does; what the request left to the provider is null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.chat.bound import NOBODY, marked_id
from understudy.chat.usage import Usage

# What the API says where the request does not; the others are null.
_DEFAULTS: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
# Chat's stop reasons; what is not here ended the answer in its own way and is told as it is.
_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
_CUT = {"length": "max_output_tokens"}


def blank(asked: Mapping[str, Any], payload: Mapping[str, Any], created: int) -> dict[str, Any]:
    """The object that an answer begins with, from the request's body and the first chunk."""
    given = {name: asked[name] for name in _DEFAULTS if asked.get(name) is not None}
    told = payload.get("created")
    model = payload.get("model")
    return {
        "id": made_id("resp", payload.get("id"), model, created),
        "object": "response",
        "created_at": told if isinstance(told, int) and told else created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": model if isinstance(model, str) else "",
        "output": [],
        "store": False,
        "usage": None,
        **_DEFAULTS,
        **given,
    }


def made_id(kind: str, *seed: object) -> str:
    """An id of the router's own, always the same for the same answer."""
    digest = hashlib.sha256("\n".join(map(str, seed)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return marked_id(f"{kind}_{digest}", NOBODY)


def ending(finish_reason: str) -> dict[str, Any]:
    """The status and its details that a stop reason means."""
    if finish_reason in _WHOLE:
        return {"status": "completed", "incomplete_details": None}
    return {"status": "incomplete", "incomplete_details": {"reason": _CUT.get(finish_reason, finish_reason)}}


def usage(counts: Usage) -> dict[str, Any]:
    """The counts in this API's words."""
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": counts.cached_tokens,
            "cache_write_tokens": counts.cache_write_tokens,
        },
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }


def logprobs(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The log probabilities of a choice's text."""
    told = choice.get("logprobs")
    entries = told.get("content") if isinstance(told, Mapping) else None
    return [
        _token(entry) | {"top_logprobs": [_token(top) for top in _objects(entry.get("top_logprobs"))]}
        for entry in _objects(entries)
    ]


def citations(delta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The citations of a delta, whose fields stand one level higher here."""
    return [
        {"type": "url_citation", **cited}
        for one in _objects(delta.get("annotations"))
        if isinstance(cited := one.get("url_citation"), Mapping)
    ]


def _token(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token"), "bytes": entry.get("bytes") or [], "logprob": entry.get("logprob")}


def _objects(values: object) -> Iterator[Mapping[str, Any]]:
    yield from (value for value in (values if isinstance(values, list) else ()) if isinstance(value, Mapping))
