"""One piece of an answer, in the OpenAI `chat.completion.chunk` shape.

Source of the shape: the OpenAI API reference, "The chat completion chunk object".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.chat.usage import Usage, usage_from, with_tier


@dataclass(frozen=True, slots=True)
class Chunk:
    """A parsed chunk: `payload` is the whole object (unknown fields included), the rest is read off it once.

    `text` joins the text and refusal deltas of all choices; `has_reasoning` says that a choice thinks aloud;
    `finish_reasons` maps choice index to reason; `usage` is set on the chunk that carries the counts.
    `opaque`: it brings something of the answer that this shape does not read (audio, an embedding, what a provider's
    own tool found).  `native` are the events of the provider's own protocol that the chunk was read from, kept where
    the caller speaks that protocol too.  `headers` are those of the provider's answer that callers may see, on the
    first chunk only.
    """

    payload: Mapping[str, Any]
    text: str
    has_tool_calls: bool
    has_reasoning: bool
    finish_reasons: Mapping[int, str]
    usage: Usage | None
    opaque: bool = False
    native: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether the chunk brings something of the answer itself, which thinking alone is not."""
        return bool(self.text) or self.has_tool_calls or self.opaque

    @property
    def has_content(self) -> bool:
        """Whether the caller would see anything of the answer, or of the way to it, in this chunk."""
        return self.answers or self.has_reasoning

    @property
    def model(self) -> str:
        """The model name the provider reports, or an empty string."""
        model = self.payload.get("model")
        return model if isinstance(model, str) else ""

    @property
    def fingerprint(self) -> str:
        """The configuration that the provider says it serves with (`system_fingerprint`), or an empty string."""
        value = self.payload.get("system_fingerprint")
        return value if isinstance(value, str) else ""


def chunk_from(payload: Mapping[str, Any]) -> Chunk:
    """Read a chunk object.  Raises ValueError where its shape is not that of a chunk."""
    choices = payload.get("choices")
    if choices is None:
        choices = []
    if not isinstance(choices, Sequence) or isinstance(choices, str):
        raise ValueError("`choices` is not a list")
    texts: list[str] = []
    has_tool_calls = has_reasoning = opaque = False
    finish: dict[int, str] = {}
    for choice in choices:
        if not isinstance(choice, Mapping):
            raise ValueError("a choice is not an object")
        delta = choice.get("delta") or {}
        if not isinstance(delta, Mapping):
            raise ValueError("`delta` is not an object")
        for name in ("content", "refusal"):
            piece = delta.get(name)
            if isinstance(piece, str):
                texts.append(piece)
            elif piece is not None:
                raise ValueError(f"`delta.{name}` is not a string")
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
            raise ValueError("`delta.tool_calls` is not a list of objects")
        has_tool_calls = has_tool_calls or bool(calls) or bool(delta.get("function_call"))
        # Not in OpenAI's reference; the two names that compatible servers use.
        has_reasoning = has_reasoning or bool(delta.get("reasoning_content") or delta.get("reasoning"))
        opaque = opaque or bool(delta.get("audio"))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            finish[index_of(choice)] = reason
    usage = with_tier(usage_from(payload.get("usage")), payload.get("service_tier"))
    return Chunk(payload, "".join(texts), has_tool_calls, has_reasoning, finish, usage, opaque)


def without_calls(chunk: Chunk) -> Chunk:
    """The chunk as a request has it that forbids calls: what it says else, and an end that is no call."""
    if not chunk.has_tool_calls and "tool_calls" not in chunk.finish_reasons.values():
        return chunk
    choices = []
    for choice in chunk.payload["choices"]:
        delta = {name: value for name, value in (choice.get("delta") or {}).items() if name != "tool_calls"}
        reason = choice.get("finish_reason")
        choices.append({**choice, "delta": delta, "finish_reason": "stop" if reason == "tool_calls" else reason})
    return replace(chunk_from({**chunk.payload, "choices": choices}), native=chunk.native, headers=chunk.headers)


def index_of(choice: Mapping[str, Any]) -> int:
    """The place of a choice; one that does not say it is the first."""
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def make_chunk(
    *,
    id: str,
    model: str,
    created: int,
    delta: Mapping[str, Any] | None = None,
    finish_reason: str | None = None,
    usage: Usage | None = None,
) -> Chunk:
    """Build a chunk for a wire that does not speak this shape.  Neither delta nor reason: a usage-only chunk."""
    choices: list[dict[str, Any]] = []
    if delta is not None or finish_reason is not None:
        choices = [{"index": 0, "delta": dict(delta or {}), "finish_reason": finish_reason}]
    payload: dict[str, Any] = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        payload["usage"] = usage.payload()
    # The shape has no room for all that `usage` says.
    return replace(chunk_from(payload), usage=usage)
