"""The OpenAI wire: chat completions, streamed and not.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.local.simulators import openai_embeddings
from infra.local.simulators import openai_rules as rules
from infra.local.simulators.answers import (
    Answer,
    Ask,
    Choice,
    Tool,
    certainty,
    fingerprint,
    split_arguments,
    split_words,
)
from infra.local.simulators.replies import Piece, Reply, dump, json_reply, stream_reply
from infra.local.simulators.wire import HINTS, Wire

# A fixed time, so that the same request gives the same bytes.
CREATED = 1_735_689_600
FINISH = {
    "end": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool": "tool_calls",
    "refusal": "content_filter",
}
DONE = Piece("end", b"data: [DONE]\n\n")

OVERLOADED = "That model is currently overloaded with other requests. You can retry your request."
RATE_LIMIT = (
    "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
    "Limit 500, Used 500, Requested 1."
)
FILTERED = (
    "The response was filtered due to the prompt triggering the content management policy. "
    "Please modify your prompt and retry."
)


def read(body: Any) -> Ask:
    """Checks the request as the API does and reduces it to what decides the answer."""
    checked = rules.check(body)
    messages = checked["messages"]
    last_user: Mapping[str, Any] = next((one for one in reversed(messages) if one["role"] == "user"), {})
    choice, named = _choice(checked)
    stop = checked.get("stop") or []
    return Ask(
        wire="openai",
        model=checked["model"],
        fingerprint=fingerprint(checked),
        text=_text_of(last_user.get("content")),
        images=_images_in(last_user.get("content")),
        results=_results(messages),
        prefix=_prefix(messages[-1], marked=checked.get("continue_final_message") is True),
        begun=messages[-1]["role"] == "assistant",
        tools=_tools(checked),
        choice=choice,
        named=named,
        parallel=checked.get("parallel_tool_calls") is not False,
        schema=_schema(checked.get("response_format")),
        limit=checked.get("max_completion_tokens") or checked.get("max_tokens"),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        stream=bool(checked.get("stream")),
        include_usage=bool((checked.get("stream_options") or {}).get("include_usage")),
        choices=checked.get("n") or 1,
        input_tokens=sum(len(split_words(_text_of(one.get("content")))) for one in messages),
        logprobs=(checked.get("top_logprobs") or 0) if checked.get("logprobs") else None,
    )


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or [] if part["type"] == "text")


def _images_in(content: Any) -> int:
    return sum(part["type"] == "image_url" for part in content) if isinstance(content, list) else 0


def _results(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.insert(0, _text_of(message.get("content")))
    return tuple(found) or None


def _prefix(last: Mapping[str, Any], *, marked: bool) -> str:
    # OpenAI itself never continues an answer; compatible servers do when the message or the body is marked like this.
    continues = last["role"] == "assistant" and (marked or last.get("prefix"))
    return _text_of(last.get("content")) if continues else ""


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in body.get("tools") or []]
    return tuple(Tool(one["name"], one.get("parameters") or {}) for one in functions)


def _choice(body: Mapping[str, Any]) -> tuple[Choice, str]:
    asked = body.get("tool_choice")
    if isinstance(asked, dict) and "function" in asked:
        return "named", asked["function"]["name"]
    known: dict[Any, Choice] = {"required": "any", "none": "none"}
    return known.get(asked, "auto") if isinstance(asked, str) else "auto", ""


def _schema(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    match (wanted or {}).get("type"):
        case "json_schema":
            schema: Mapping[str, Any] = (wanted or {})["json_schema"].get("schema") or {}
            return schema
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    return None


def _envelope(ask: Ask, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ask.fingerprint[:29]}",
        "object": kind,
        "created": CREATED,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{ask.version}",
    }


def _headers(ask: Ask) -> dict[str, str]:
    return {"x-request-id": f"req_{ask.fingerprint[:32]}"}


def _usage(ask: Ask, answer: Answer) -> dict[str, Any]:
    output = answer.output_tokens * ask.choices
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": ask.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{call.id}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments_json},
        }
        for call in answer.calls
    ]


def _logprobs(ask: Ask, tokens: Sequence[str]) -> dict[str, Any] | None:
    if ask.logprobs is None:
        return None

    def entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    content = []
    for token in tokens:
        chosen = entry(token, certainty(ask, token))
        others = [entry(f"other {place}", -2.5) for place in range(1, ask.logprobs)]
        content.append(chosen | {"top_logprobs": [chosen, *others] if ask.logprobs else []})
    return {"content": content, "refusal": None}


def render(ask: Ask, answer: Answer) -> Reply:
    if ask.stream:
        return stream_reply(list(_stream(ask, answer)), _headers(ask))
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.calls:
        message |= {"content": None, "tool_calls": _calls(answer)}
    choices = [
        {
            "index": index,
            "message": message,
            "logprobs": _logprobs(ask, answer.tokens),
            "finish_reason": FINISH[answer.stop],
        }
        for index in range(ask.choices)
    ]
    body = _envelope(ask, "chat.completion") | {"choices": choices, "usage": _usage(ask, answer)}
    return json_reply(200, body, _headers(ask))


def _event(data: Any) -> bytes:
    return b"data: " + dump(data) + b"\n\n"


def _stream(ask: Ask, answer: Answer) -> Iterator[Piece]:
    envelope = _envelope(ask, "chat.completion.chunk")
    # With include_usage every other chunk says so with a null.
    rest = {"usage": None} if ask.include_usage else {}

    def chunk(index: int, delta: Any, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return _event(envelope | {"choices": [choice]} | rest)

    everyone = range(ask.choices)
    opening = {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
    yield from (Piece("frame", chunk(index, opening)) for index in everyone)
    for token in answer.tokens:
        told = _logprobs(ask, [token])
        yield from (Piece("token", chunk(index, {"content": token}, logprobs=told)) for index in everyone)
    for position, call in enumerate(_calls(answer)):
        start = {"index": position, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield from (Piece("frame", chunk(index, {"tool_calls": [start]})) for index in everyone)
        for part in split_arguments(call["function"]["arguments"]):
            delta = {"tool_calls": [{"index": position, "function": {"arguments": part}}]}
            yield from (Piece("token", chunk(index, delta)) for index in everyone)
    yield from (Piece("stop", chunk(index, {}, FINISH[answer.stop])) for index in everyone)
    if ask.include_usage:
        yield Piece("stop", _event(envelope | {"choices": [], "usage": _usage(ask, answer)}))
    yield DONE


def list_models(names: Sequence[str]) -> Reply:
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"} for name in names]
    return json_reply(200, {"object": "list", "data": data})


def refuse(status: int, message: str) -> Reply:
    return rules.error(status, message)


# fault: (status, type, code, param, message); `{model}` is the requested model.
# https://platform.openai.com/docs/guides/error-codes
TROUBLES: Mapping[str, tuple[int, str, str | None, str | None, str]] = {
    "http_500": (
        500,
        "server_error",
        None,
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "http_503": (503, "server_error", None, None, OVERLOADED),
    "http_529": (529, "server_error", None, None, OVERLOADED),
    "http_429": (429, "requests", "rate_limit_exceeded", None, RATE_LIMIT + " Please try again in 30s."),
    "retry_after": (429, "requests", "rate_limit_exceeded", None, RATE_LIMIT + " Please try again in 2s."),
    "http_429_bare": (429, "requests", "rate_limit_exceeded", None, RATE_LIMIT),
    "quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    ),
    "context_length": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 "
        "tokens. Please reduce the length of the messages.",
    ),
    "model_not_found": (
        404,
        "invalid_request_error",
        "model_not_found",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    # OpenAI itself answers anew; a compatible server passes its model's words on.
    "refuse_prefill": (
        400,
        "invalid_request_error",
        None,
        "messages",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
}


def trouble(name: str, model: str) -> Reply:
    if name == "http_401":
        return rules.wrong_key()
    status, kind, code, param, message = TROUBLES[name]
    headers = {"retry-after": HINTS[name]} if name in HINTS else None
    return rules.error(status, message.format(model=model), kind, param=param, code=code, headers=headers)


def first_error(streamed: bool) -> Reply:
    error = {"error": {"message": OVERLOADED, "type": "server_error", "param": None, "code": None}}
    return stream_reply([Piece("frame", _event(error))]) if streamed else json_reply(200, error)


def refusal(_: Ask) -> Reply:
    return rules.error(400, FILTERED, param="prompt", code="content_filter")


WIRE = Wire(
    name="openai",
    base_path="/v1",
    answer_path="/v1/chat/completions",
    models_path="/v1/models",
    authorise=rules.authorise,
    read=read,
    render=render,
    list_models=list_models,
    refuse=refuse,
    troubles=frozenset(TROUBLES) | {"http_401"},
    trouble=trouble,
    first_error=first_error,
    refusal=refusal,
    unreadable=Piece("frame", b'data: {"id": "chatcmpl-unreadable", "choices": [{"delta": \n\n'),
    also={openai_embeddings.PATH: openai_embeddings.embed},
)
