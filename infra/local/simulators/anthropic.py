"""The Anthropic wire: messages, streamed and not.

Source: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.simulators import anthropic_rules as rules
from infra.local.simulators import anthropic_thinking as thinking
from infra.local.simulators.answers import (
    Answer,
    Ask,
    Choice,
    Tool,
    fingerprint,
    split_arguments,
    split_words,
)
from infra.local.simulators.replies import Piece, Reply, dump, json_reply, stream_reply
from infra.local.simulators.wire import HINTS, Wire

STOP = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "refusal": "refusal",
}


@dataclass(frozen=True)
class Asked(Ask):
    """With what only this wire has: whether to think, and the tokens up to the last cache breakpoint, written there by
    the first turn of a conversation and read by the others."""

    thinks: bool = False
    cached: int = 0
    later: bool = False

    @property
    def blocks(self) -> list[dict[str, Any]]:
        # An answer to tool results goes on with the thinking that is there.
        return thinking.thought(self.model, self.text) if self.thinks and self.results is None else []


def read(body: Any) -> Ask:
    """Checks the request as the API does and reduces it to what decides the answer."""
    checked = rules.check(body)
    turns = rules.merged(checked["messages"])
    last_user = next(turn["content"] for turn in reversed(turns) if turn["role"] == "user")
    last = turns[-1]
    choice, named = _choice(checked)
    output = (checked.get("output_config") or {}).get("format") or checked.get("output_format") or {}
    return Asked(
        wire="anthropic",
        model=checked["model"],
        fingerprint=fingerprint(checked),
        text=_text_of(last_user),
        images=sum(block["type"] == "image" for block in last_user),
        results=_results(last_user) if last["role"] == "user" else None,
        prefix=_text_of(last["content"], "") if last["role"] == "assistant" else "",
        begun=last["role"] == "assistant",
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in checked.get("tools") or [] if "input_schema" in tool
        ),
        choice=choice,
        named=named,
        parallel=not (checked.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        schema=output.get("schema") if output.get("type") == "json_schema" else None,
        limit=checked["max_tokens"],
        stops=tuple(checked.get("stop_sequences") or ()),
        stream=bool(checked.get("stream")),
        input_tokens=_input_tokens(checked.get("system"), turns),
        thinks=thinking.switched_on(checked),
        cached=_cached_tokens(checked, turns),
        later=any(turn["role"] == "assistant" for turn in turns),
    )


def count_tokens(body: Any) -> Reply:
    """The endpoint that counts the tokens of a prompt."""
    checked = rules.check_count(body)
    tokens = _input_tokens(checked.get("system"), rules.merged(checked["messages"]))
    return json_reply(200, {"input_tokens": tokens}, {"request-id": f"req_{fingerprint(checked)[:24]}"})


def _cached_tokens(body: Mapping[str, Any], turns: Sequence[Mapping[str, Any]]) -> int:
    """Tokens up to the last block with a cache breakpoint."""
    system = body.get("system") if isinstance(body.get("system"), list) else []
    blocks = [*(system or []), *(block for turn in turns for block in turn["content"])]
    last = max((place for place, block in enumerate(blocks) if block.get("cache_control")), default=-1)
    texts = [block.get("text") or _text_of(block.get("content")) for block in blocks[: last + 1]]
    return sum(len(split_words(text)) for text in texts if isinstance(text, str))


def _text_of(content: Any, between: str = " ") -> str:
    if isinstance(content, str):
        return content
    return between.join(block["text"] for block in content or [] if block["type"] == "text")


def _results(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    found = [block for block in blocks if block["type"] == "tool_result"]
    failed = {True: "the tool failed: "}
    return tuple(failed.get(one.get("is_error", False), "") + _text_of(one.get("content")) for one in found) or None


def _choice(body: Mapping[str, Any]) -> tuple[Choice, str]:
    asked = body.get("tool_choice") or {}
    known: dict[Any, Choice] = {"any": "any", "none": "none", "tool": "named"}
    return known.get(asked.get("type"), "auto"), asked.get("name", "")


def _input_tokens(system: Any, turns: Sequence[Mapping[str, Any]]) -> int:
    texts = [_text_of(system)]
    for turn in turns:
        texts.append(_text_of(turn["content"]))
        texts += [block["source"].get("data", "") for block in turn["content"] if block["type"] == "document"]
        texts += [_text_of(block.get("content")) for block in turn["content"] if block["type"] == "tool_result"]
    return sum(len(split_words(text)) for text in texts)


def _headers(ask: Ask) -> dict[str, str]:
    return {"request-id": f"req_{ask.fingerprint[:24]}"}


def _message(ask: Ask, content: list[dict[str, Any]], answer: Answer | None) -> dict[str, Any]:
    """The message object; without an answer the one a stream begins with."""
    return {
        "id": f"msg_{ask.fingerprint[:24]}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": STOP[answer.stop] if answer else None,
        "stop_sequence": answer.stop_sequence if answer else None,
        "usage": {
            **_given(ask),
            **(_written(ask, answer) if answer else {"output_tokens": 1}),
            "service_tier": "standard",
        },
    }


def _given(ask: Ask) -> dict[str, int]:
    cached = ask.cached if isinstance(ask, Asked) else 0
    later = isinstance(ask, Asked) and ask.later
    return {
        "input_tokens": ask.input_tokens - cached,
        "cache_creation_input_tokens": 0 if later else cached,
        "cache_read_input_tokens": cached if later else 0,
    }


def _written(ask: Ask, answer: Answer) -> dict[str, Any]:
    thoughts = [block.get("thinking", "") for block in ask.blocks] if isinstance(ask, Asked) else []
    tokens = sum(len(split_words(text)) for text in thoughts)
    details = {"output_tokens_details": {"thinking_tokens": tokens}} if thoughts else {}
    return {"output_tokens": answer.output_tokens + tokens, **details}


def _content(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    thoughts = ask.blocks if isinstance(ask, Asked) and (answer.text or answer.calls) else []
    text = [{"type": "text", "text": answer.text}] if answer.text else []
    return [*thoughts, *text] + [
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": dict(call.arguments)}
        for call in answer.calls
    ]


def render(ask: Ask, answer: Answer) -> Reply:
    if ask.stream:
        return stream_reply(list(_stream(ask, answer)), _headers(ask))
    return json_reply(200, _message(ask, _content(ask, answer), answer), _headers(ask))


def _event(name: str, **data: Any) -> bytes:
    return f"event: {name}\n".encode() + b"data: " + dump({"type": name, **data}) + b"\n\n"


def _stream(ask: Ask, answer: Answer) -> Iterator[Piece]:
    yield Piece("frame", _event("message_start", message=_message(ask, [], None)))
    arguments = iter(answer.calls)
    for index, block in enumerate(_content(ask, answer)):
        match block["type"]:
            case "text":
                start, deltas = {**block, "text": ""}, [_delta("text_delta", text=piece) for piece in answer.tokens]
            case "tool_use":
                pieces = split_arguments(next(arguments).arguments_json)
                start, deltas = {**block, "input": {}}, [_delta("input_json_delta", partial_json=p) for p in pieces]
            case "thinking":
                start = {**block, "thinking": "", "signature": ""}
                deltas = [_delta("thinking_delta", thinking=piece) for piece in split_words(block["thinking"])]
                deltas.append(_delta("signature_delta", signature=block["signature"]))
            case _:
                start, deltas = block, []
        yield Piece("frame", _event("content_block_start", index=index, content_block=start))
        if index == 0:
            yield Piece("frame", _event("ping"))
        for delta in deltas:
            yield Piece("token", _event("content_block_delta", index=index, delta=delta))
        yield Piece("frame", _event("content_block_stop", index=index))
    delta_of_message = {"stop_reason": STOP[answer.stop], "stop_sequence": answer.stop_sequence}
    # Its counts are those of the whole message, the prompt's among them.
    usage = _given(ask) | _written(ask, answer)
    yield Piece("stop", _event("message_delta", delta=delta_of_message, usage=usage))
    yield Piece("end", _event("message_stop"))


def _delta(kind: str, **piece: str) -> dict[str, str]:
    return {"type": kind, **piece}


def list_models(names: Sequence[str]) -> Reply:
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": f"{name} (simulated)",
            "created_at": "2025-01-01T00:00:00Z",
        }
        for name in names
    ]
    page = {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
    return json_reply(200, page)


RATE_LIMIT = (
    "This request would exceed your organization's rate limit of 50 requests per minute. For details, "
    "refer to: https://docs.anthropic.com/en/api/rate-limits."
)
# fault: (status, message); `{model}` is the requested model. The error's type follows from the status.
TROUBLES: Mapping[str, tuple[int, str]] = {
    "http_500": (500, "Internal server error"),
    "http_503": (503, "Service temporarily unavailable"),
    "http_529": (529, "Overloaded"),
    "http_429": (429, RATE_LIMIT),
    "retry_after": (429, RATE_LIMIT),
    "http_429_bare": (429, RATE_LIMIT),
    # Answered like a wrong request: https://github.com/continuedev/continue/issues/5499
    "quota": (
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
    ),
    "http_401": (401, "invalid x-api-key"),
    "context_length": (400, "prompt is too long: 250000 tokens > 200000 maximum"),
    "model_not_found": (404, "model: {model}"),
    # https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6#breaking-changes
    "refuse_prefill": (
        400,
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
}


def trouble(name: str, model: str) -> Reply:
    status, message = TROUBLES[name]
    headers = {"retry-after": HINTS[name]} if name in HINTS else None
    return rules.error(status, message.format(model=model), headers)


def first_error(streamed: bool) -> Reply:
    error = rules.error_body("overloaded_error", "Overloaded")
    if not streamed:
        return json_reply(200, error)
    return stream_reply([Piece("frame", b"event: error\ndata: " + dump(error) + b"\n\n")])


def refusal(ask: Ask) -> Reply:
    return render(ask, Answer(stop="refusal"))


WIRE = Wire(
    name="anthropic",
    base_path="",
    answer_path="/v1/messages",
    models_path="/v1/models",
    also={"/v1/messages/count_tokens": count_tokens},
    authorise=rules.authorise,
    read=read,
    render=render,
    list_models=list_models,
    refuse=rules.error,
    troubles=frozenset(TROUBLES),
    trouble=trouble,
    first_error=first_error,
    refusal=refusal,
    unreadable=Piece("frame", b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": \n\n'),
)
