"""From a whole answer to chunks and back, so that streaming and non-streaming callers share one path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.chat.stream import Chunk, chunk_from, index_of


def chunks_from_completion(completion: Mapping[str, Any]) -> list[Chunk]:
    """Turn a `chat.completion` object into one chunk that says the same.  Raises ValueError on another shape."""
    choices = completion.get("choices")
    if not isinstance(choices, list):
        raise ValueError("`choices` is not a list")
    streamed = []
    for place, choice in enumerate(choices):
        if not isinstance(choice, Mapping) or not isinstance(choice.get("message"), Mapping):
            raise ValueError("a choice has no message")
        delta = dict(choice["message"])
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [
                # Their place says which is which; an index of a server's own may be the same for all.
                {**call, "index": i}
                for i, call in enumerate(delta["tool_calls"])
                if isinstance(call, Mapping)
            ]
        rest = {k: v for k, v in choice.items() if k != "message"}
        streamed.append({"index": place, **rest, "delta": delta})
    head = {k: v for k, v in completion.items() if k not in ("choices", "object")}
    return [chunk_from({**head, "object": "chat.completion.chunk", "choices": streamed})]


def completion_from_chunks(chunks: Iterable[Chunk]) -> dict[str, Any]:
    """Assemble the `chat.completion` object that a non-streaming call would have returned."""
    head: dict[str, Any] = {}
    usage: object = None
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.payload.items():
            if name == "usage":
                usage = value if value is not None else usage
            elif name not in ("choices", "object", "obfuscation") and head.get(name) is None:
                head[name] = value
        for choice in chunk.payload.get("choices") or ():
            index = index_of(choice)
            _merge_choice(choices.setdefault(index, {"index": index, "message": {"role": "assistant"}}), choice)
    answer = {**head, "object": "chat.completion"}
    answer["choices"] = [_finished(choices[i]) for i in sorted(choices)]
    if usage is not None:
        answer["usage"] = usage
    return answer


def _merge_choice(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "delta":
            _merge_delta(whole["message"], value or {})
        elif name == "logprobs" and isinstance(value, Mapping):
            kept = whole.get("logprobs")
            whole["logprobs"] = _merge_logprobs(kept if isinstance(kept, Mapping) else {}, value)
        elif name not in ("index", "message") and (value is not None or name not in whole):
            whole[name] = value


def _merge_logprobs(kept: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(kept)
    for name, items in part.items():
        if isinstance(items, list):
            kept_items = merged.get(name)
            merged[name] = [*(kept_items if isinstance(kept_items, list) else ()), *items]
        else:
            merged.setdefault(name, items)
    return merged


def _merge_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "role":
            message["role"] = value or message["role"]
        elif name == "tool_calls":
            # No calls are no `tool_calls` at all: providers refuse an empty list when it is sent back to them.
            _merge_calls(message, value or ())
        elif isinstance(value, str) and isinstance(message.get(name), str):
            message[name] += value
        elif isinstance(value, list) and isinstance(message.get(name), list):
            message[name] = [*message[name], *value]
        elif isinstance(value, Mapping) and isinstance(message.get(name), Mapping):
            message[name] = _joined(message[name], value)
        elif value is not None or name not in message:
            message[name] = value


def _merge_calls(message: dict[str, Any], parts: Iterable[Mapping[str, Any]]) -> None:
    for part in parts:
        calls: list[dict[str, Any]] = message.setdefault("tool_calls", [])
        given = part.get("index")
        index = given if isinstance(given, int) else len(calls)
        call = next((c for c in calls if c["index"] == index), None)
        if call is None:
            call = {"index": index, "type": "function"}
            calls.append(call)
        for name, value in part.items():
            if name == "index" or value is None:
                continue
            call[name] = _joined(call.get(name), value) if isinstance(value, Mapping) else value


def _joined(kept: object, part: Mapping[str, Any]) -> dict[str, Any]:
    """An object sent in pieces: texts are continued, anything else is replaced."""
    joined = dict(kept) if isinstance(kept, Mapping) else {}
    for name, piece in part.items():
        if name != "id" and isinstance(piece, str) and isinstance(joined.get(name), str):
            joined[name] += piece
        elif piece is not None:
            joined[name] = piece
    return joined


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    if "tool_calls" in message:
        message["tool_calls"] = [
            {k: v for k, v in call.items() if k != "index"}
            for call in sorted(message["tool_calls"], key=lambda c: c["index"])
        ]
    choice.setdefault("logprobs", None)
    choice.setdefault("finish_reason", None)
    return choice
