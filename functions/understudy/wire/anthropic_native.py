"""A request of Anthropic's Messages API, sent on as its caller wrote it.

Changed is only what must be: the model, the mode, what the route agreed to lose, what only another target can read,
and ids that the API would refuse.  Sources: the Anthropic API reference, "Create a Message", and the guide "Extended
thinking".
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from understudy.chat.bound import kept_by
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.wire.anthropic_request import TOOL_ID, blocks_of, tool_id

# Where a field of the chat shape is found; every other one has its own name, or none.
_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "parallel_tool_calls": (("tool_choice", "disable_parallel_tool_use"),),
    "reasoning_effort": (("output_config", "effort"),),
    "response_format": (("output_config", "format"), ("output_format",)),
    "stop": (("stop_sequences",),),
    "user": (("metadata", "user_id"),),
}
_BOUND = {"thinking": "signature", "redacted_thinking": "data"}
_IDS = {"tool_use": "id", "tool_result": "tool_use_id"}


def native_body(request: ChatRequest, *, model: str, stream: bool, drop: Set[str], owner: str) -> dict[str, Any]:
    """The body for a target that is `owner` of what only it can read again."""
    body = _without(counted_body(request, model=model, owner=owner), drop - {"model", "messages", "max_tokens"})
    if stream or "stream" in body:
        body["stream"] = stream
    if request.appended:
        _append(body, request)
    elif _thinking(body) == "enabled" and not _opens_with_thinking(body["messages"]):
        # The thinking of this turn was another's.  With a budget the API wants it back or none at all.
        body["thinking"] = {"type": "disabled"}
    return body


def counted_body(request: ChatRequest | UnaryRequest, *, model: str, owner: str) -> dict[str, Any]:
    """As `native_body`, for a request whose tokens are only counted."""
    written = request.native.body if request.native else {}
    messages = written.get("messages", [])
    kept = [message for one in messages if (message := _readable(one, owner)) is not None]
    return {**written, "model": model, "messages": kept}


def _without(body: dict[str, Any], drop: Set[str]) -> dict[str, Any]:
    for name in drop:
        for place in _PLACES.get(name, ((name,),)):
            *way, last = place
            outer = body
            for step in way:
                outer[step] = dict(outer[step]) if isinstance(outer.get(step), Mapping) else {}
                inner = outer[step]
                inner.pop(last, None)
                if not inner:
                    del outer[step]
            if not way:
                body.pop(last, None)
    return body


def _readable(message: Mapping[str, Any], owner: str) -> Mapping[str, Any] | None:
    """The message as its reader may have it: the same one where nothing is to change, None where nothing is left."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kept = [_block(block, owner) for block in content]
    if all(new is old for new, old in zip(kept, content, strict=True)):
        return message
    blocks = [block for block in kept if block is not None]
    return {**message, "content": blocks} if blocks else None


def _block(block: Mapping[str, Any], owner: str) -> Mapping[str, Any] | None:
    kind = block.get("type", "")
    if (name := _BOUND.get(kind)) is not None and isinstance(value := block.get(name), str):
        bare = kept_by(value, owner)
        return None if bare is None else block if bare == value else {**block, name: bare}
    if (name := _IDS.get(kind)) is not None and isinstance(value := block.get(name), str):
        # Other providers' ids are given to callers as they come.
        return block if TOOL_ID.fullmatch(value) else {**block, name: tool_id(value)}
    return block


def _append(body: dict[str, Any], request: ChatRequest) -> None:
    """Add what the router itself says, so that an answer is gone on with."""
    for message in request.appended:
        role = "assistant" if message["role"] == "assistant" else "user"
        body["messages"].append({"role": role, "content": blocks_of(message, "messages")})
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    if body["messages"][-1]["role"] == "assistant":
        # What is begun has been thought about, and the API does not think in the middle of an answer.
        body.pop("thinking", None)


def _thinking(body: Mapping[str, Any]) -> object:
    thinking = body.get("thinking")
    return thinking.get("type") if isinstance(thinking, Mapping) else None


def _opens_with_thinking(messages: list[Mapping[str, Any]]) -> bool:
    """Whether the turn that is under way, from the last word of the user on, begins with thinking where it has to:
    where it has called tools."""
    first: Any = None
    for message in reversed(messages):
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        kinds = [block.get("type") for block in blocks]
        if message.get("role") == "assistant":
            first = kinds
        elif "tool_result" not in kinds:
            break
    return not first or first[0] in _BOUND or "tool_use" not in first
