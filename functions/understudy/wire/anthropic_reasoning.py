"""How a chat's `reasoning_effort` is told to a model of Anthropic's API: as a level, or as a budget of tokens.

Sources: Anthropic's guides "Effort" and "Extended thinking".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.chat.request import ChatRequest

LEVELS: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}
BUDGETS: Mapping[str, int] = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576}
"""Tokens of thinking; the API takes no fewer than 1024."""
LEAST, ROOM = 1024, 1024
"""Tokens: the smallest budget, and what a budget leaves of a limit for the answer itself."""


def misfits(request: ChatRequest, control: str) -> Iterator[str]:
    """The names of fields that cannot be carried for the sake of reasoning."""
    body = request.body
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    if control not in ("effort", "budget") or effort not in (*LEVELS, "none"):
        yield "reasoning_effort"
    elif control == "budget" and _may_think(request):
        # Thinking within a budget leaves sampling as it is.
        if body.get("temperature", 1) != 1:
            yield "temperature"
        if not 0.95 <= body.get("top_p", 1) <= 1:
            yield "top_p"


def fields(request: ChatRequest, control: str, limit: int | None, default: int) -> dict[str, Any]:
    """The fields of the body that say it.  `limit` is the most that may be written, thinking included; where there is
    none, the answer has the `default` to itself."""
    effort = request.body.get("reasoning_effort")
    if effort is None or control not in ("effort", "budget"):
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if control == "effort":
        return {"output_config": {"effort": LEVELS[effort]}}
    budget = min(BUDGETS[effort], BUDGETS[effort] if limit is None else limit - ROOM)
    if budget < LEAST or not _may_think(request):
        return {}
    thinking: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    return thinking if limit is not None else {"max_tokens": budget + default, **thinking}


def _may_think(request: ChatRequest) -> bool:
    """Whether the API allows thinking within a budget here.

    A turn that has called tools would have to bring its thinking along, which a chat cannot; a tool that must be
    called, and an answer that is begun, leave nothing to think about.
    """
    effort, choice = request.body.get("reasoning_effort"), request.body.get("tool_choice", "auto")
    return (
        effort != "none"
        and choice in ("auto", "none")
        and not any(message.get("tool_calls") for message in request.messages)
        and request.messages[-1]["role"] != "assistant"
    )
