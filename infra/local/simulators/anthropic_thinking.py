"""Thinking as the Anthropic wire has it: what is thought, the signatures that prove it, and what is refused.

Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking, and the API's own words in
https://github.com/anthropics/claude-code/issues/10627 and https://github.com/anomalyco/opencode/issues/3077
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

KINDS = ("thinking", "redacted_thinking")
SECRETLY = "think in secret"
"""What a prompt says so that the thinking comes redacted."""
SMALLEST_BUDGET = 1024
Reject = Callable[[str], NoReturn]


def thought(model: str, text: str) -> list[dict[str, Any]]:
    """What a model thinks of a text: one block."""
    words = f"[simulated] The user wrote {len(text)} characters. I answer them."
    if SECRETLY in text.lower():
        return [{"type": "redacted_thinking", "data": _sealed(words, model)}]
    return [{"type": "thinking", "thinking": words, "signature": _signature(words, model)}]


def switched_on(body: Mapping[str, Any]) -> bool:
    return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def check(body: Mapping[str, Any], turns: Sequence[Mapping[str, Any]], reject: Reject) -> None:
    """Refuses what the API refuses: `reject` is called with its words.  `turns` alternate and hold blocks."""
    _check_signatures(body, reject)
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind not in ("enabled", "adaptive", "disabled"):
        reject("thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'")
    if kind == "enabled":
        _check_budget(body, thinking.get("budget_tokens"), reject)
        _check_open_turn(turns, reject)
    if kind != "disabled":
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            reject("Thinking may not be enabled when tool_choice forces tool use.")
        if turns[-1]["role"] == "assistant":
            reject("messages: prefilling assistant messages is not supported when thinking is enabled.")


def _check_budget(body: Mapping[str, Any], budget: Any, reject: Reject) -> None:
    if not isinstance(budget, int) or isinstance(budget, bool):
        reject("thinking.enabled.budget_tokens: Field required")
    if budget < SMALLEST_BUDGET:
        reject(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {SMALLEST_BUDGET}")
    if budget >= body.get("max_tokens", budget + 1):
        reject("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        reject("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_k") is not None:
        reject("`top_k` must be unset when thinking is enabled.")


def _check_open_turn(turns: Sequence[Mapping[str, Any]], reject: Reject) -> None:
    """A turn that has called tools begins with the thinking that led to them."""
    first = None
    for place in range(len(turns) - 1, -1, -1):
        kinds = [block["type"] for block in turns[place]["content"]]
        if turns[place]["role"] == "assistant":
            first = place, kinds
        elif "tool_result" not in kinds:
            break
    if first is not None and "tool_use" in first[1] and first[1][0] not in KINDS:
        reject(
            f"messages.{first[0]}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{first[1][0]}`. When `thinking` is enabled, a final `assistant` message must start with a thinking "
            "block. To avoid this requirement, disable `thinking`."
        )


def _check_signatures(body: Mapping[str, Any], reject: Reject) -> None:
    for index, message in enumerate(body["messages"]):
        content = message["content"] if isinstance(message["content"], list) else []
        for place, block in enumerate(content):
            if block["type"] not in KINDS:
                continue
            where = f"messages.{index}.content.{place}"
            if message["role"] != "assistant":
                reject(f"{where}: `{block['type']}` blocks may only be in `assistant` messages")
            if not _made(block, body["model"]):
                name = "signature" if block["type"] == "thinking" else "data"
                reject(f"{where}: Invalid `{name}` in `{block['type']}` block")


def _made(block: Mapping[str, Any], model: str) -> bool:
    """Whether the block is one that this model made, unchanged."""
    if block["type"] == "thinking":
        return block.get("signature") == _signature(str(block.get("thinking")), model)
    try:
        words = base64.b64decode(str(block.get("data")), validate=True).decode().partition("|")[2]
    except ValueError:
        return False
    return bool(block["data"] == _sealed(words, model))


def _signature(words: str, model: str) -> str:
    return base64.b64encode(hashlib.sha256(f"simulated {model} {words}".encode()).digest()).decode()


def _sealed(words: str, model: str) -> str:
    return base64.b64encode(f"{_signature(words, model)}|{words}".encode()).decode()
