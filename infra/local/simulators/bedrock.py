"""The Amazon Bedrock Runtime wire: Converse, and ConverseStream in binary frames.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from infra.local.simulators import bedrock_rules as rules
from infra.local.simulators.answers import Answer, Ask, Choice, Tool, fingerprint, split_arguments, split_words
from infra.local.simulators.bedrock_frames import EVENT_STREAM, event, exception
from infra.local.simulators.replies import Piece, Reply, dump, json_reply
from infra.local.simulators.wire import HINTS, Place, Wire

MODELS = "/foundation-models"
STOP = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "refusal": "content_filtered",
}
# Every event of the service brings one, so that the lengths of frames tell nothing.
PADDING = "abcdefghijklmnopqrstuvwxyz"


def locate(path: str) -> Place | None:
    bare = path.partition("?")[0]
    if bare == MODELS:
        return Place("models", "GET")
    match = re.fullmatch(r"/model/([^/]+)/(converse|converse-stream)", bare)
    return Place("answer", "POST", unquote(match[1]), match[2] == "converse-stream") if match else None


def read(asked: tuple[Place, Any]) -> Ask:
    """Checks the request as the API does and reduces it to what decides the answer."""
    place, body = asked
    model = place.model or ""
    checked = rules.check(model, body)
    messages = checked["messages"]
    last_user = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    last = messages[-1]
    config, inference = checked.get("toolConfig", {}), checked.get("inferenceConfig", {})
    choice, named = _choice(config.get("toolChoice", {}))
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    return Ask(
        wire="bedrock",
        model=model,
        fingerprint=fingerprint({"model": model, **checked}),
        text=_text_of(last_user),
        images=sum("image" in block for block in last_user),
        results=_results(last_user) if last["role"] == "user" else None,
        prefix=_text_of(last["content"], "") if last["role"] == "assistant" else "",
        begun=last["role"] == "assistant",
        tools=tuple(Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs),
        choice=choice,
        named=named,
        schema=_schema(checked),
        limit=inference.get("maxTokens"),
        stops=tuple(inference.get("stopSequences", ())),
        stream=place.stream,
        input_tokens=_input_tokens(checked),
    )


def _text_of(blocks: Sequence[Mapping[str, Any]], between: str = " ") -> str:
    return between.join(block["text"] for block in blocks if "text" in block)


def _results(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    found = [block["toolResult"] for block in blocks if "toolResult" in block]
    failed = {"error": "the tool failed: "}
    return tuple(failed.get(one.get("status", ""), "") + _text_of(one["content"]) for one in found) or None


def _choice(wanted: Mapping[str, Any]) -> tuple[Choice, str]:
    if "tool" in wanted:
        return "named", wanted["tool"]["name"]
    return ("any" if "any" in wanted else "auto"), ""


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    described = body.get("outputConfig", {}).get("textFormat")
    return json.loads(described["structure"]["jsonSchema"]["schema"]) if described else None


def _input_tokens(body: Mapping[str, Any]) -> int:
    texts = [_text_of(body.get("system", ()))]
    for message in body["messages"]:
        texts.append(_text_of(message["content"]))
        texts += [_text_of(block["toolResult"]["content"]) for block in message["content"] if "toolResult" in block]
    return sum(len(split_words(text)) for text in texts)


def _headers(ask: Ask) -> dict[str, str]:
    return {"x-amzn-requestid": ask.fingerprint[:32]}


def _usage(ask: Ask, answer: Answer) -> dict[str, Any]:
    counts = {"inputTokens": ask.input_tokens, "outputTokens": answer.output_tokens}
    cached = {"cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}
    return {"usage": {**counts, "totalTokens": sum(counts.values()), **cached}, "metrics": {"latencyMs": 1}}


def _content(answer: Answer) -> list[dict[str, Any]]:
    text = [{"text": answer.text}] if answer.text else []
    return text + [
        {"toolUse": {"toolUseId": f"tooluse_{call.id}", "name": call.name, "input": dict(call.arguments)}}
        for call in answer.calls
    ]


def render(ask: Ask, answer: Answer) -> Reply:
    if ask.stream:
        return Reply(200, EVENT_STREAM, tuple(_stream(ask, answer)), headers=_headers(ask))
    message = {"role": "assistant", "content": _content(answer)}
    body = {"output": {"message": message}, "stopReason": STOP[answer.stop], **_usage(ask, answer)}
    return json_reply(200, body, _headers(ask))


def _event(name: str, **data: Any) -> bytes:
    written = dump(data)
    return event(name, dump({**data, "p": PADDING[: len(written) % len(PADDING) + 1]}))


def _stream(ask: Ask, answer: Answer) -> Iterator[Piece]:
    yield Piece("frame", _event("messageStart", role="assistant"))
    for token in answer.tokens:
        yield Piece("token", _event("contentBlockDelta", contentBlockIndex=0, delta={"text": token}))
    if answer.tokens:
        # A text is not announced, only its end is.
        yield Piece("frame", _event("contentBlockStop", contentBlockIndex=0))
    for index, call in enumerate(answer.calls, start=1 if answer.tokens else 0):
        tool = {"toolUseId": f"tooluse_{call.id}", "name": call.name}
        yield Piece("frame", _event("contentBlockStart", contentBlockIndex=index, start={"toolUse": tool}))
        for piece in split_arguments(call.arguments_json):
            delta = {"toolUse": {"input": piece}}
            yield Piece("token", _event("contentBlockDelta", contentBlockIndex=index, delta=delta))
        yield Piece("frame", _event("contentBlockStop", contentBlockIndex=index))
    yield Piece("stop", _event("messageStop", stopReason=STOP[answer.stop]))
    yield Piece("end", _event("metadata", **_usage(ask, answer)))


def list_models(names: Sequence[str]) -> Reply:
    return json_reply(
        200, {"modelSummaries": [{"modelId": name, "modelName": f"{name} (simulated)"} for name in names]}
    )


THROTTLED = "Too many requests, please wait before trying again."
OVERLOADED = "Too many connections, please wait before trying again."
# fault: (status, name or None for that of the status, message); `{model}` is the requested model.
TROUBLES: Mapping[str, tuple[int, str | None, str]] = {
    "http_500": (500, None, "The system encountered an unexpected error during processing. Try your request again."),
    "http_503": (503, None, OVERLOADED),
    # The service has no such status; a model that is not ready says 429.
    "http_529": (429, "ModelNotReadyException", "The model is not ready for inference. Wait and try again."),
    "http_429": (429, None, THROTTLED),
    "retry_after": (429, None, THROTTLED),
    "http_429_bare": (429, None, THROTTLED),
    "quota": (400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."),
    "http_401": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "context_length": (400, None, "The model returned the following errors: Input is too long for requested model."),
    "model_not_found": (400, None, "The provided model identifier is invalid."),
    "refuse_prefill": (
        400,
        None,
        "The model returned the following errors: This model does not support assistant message prefill. The "
        "conversation must end with a user message.",
    ),
}


def trouble(name: str, model: str) -> Reply:
    status, kind, message = TROUBLES[name]
    headers = {"retry-after": HINTS[name]} if name in HINTS else None
    return rules.error(status, message.format(model=model), headers, kind=kind)


def first_error(streamed: bool) -> Reply:
    body = {"message": OVERLOADED}
    if not streamed:
        return json_reply(200, {"__type": "com.amazon.bedrock#ServiceUnavailableException", **body})
    return Reply(200, EVENT_STREAM, (Piece("frame", exception("serviceUnavailableException", dump(body))),))


def refusal(ask: Ask) -> Reply:
    return render(ask, Answer(stop="refusal"))


WIRE = Wire(
    name="bedrock",
    base_path="",
    answer_path="/model/{modelId}/converse",
    models_path=MODELS,
    authorise=rules.authorise,
    read=read,
    render=render,
    list_models=list_models,
    refuse=rules.error,
    troubles=frozenset(TROUBLES),
    trouble=trouble,
    first_error=first_error,
    refusal=refusal,
    unreadable=Piece("frame", event("contentBlockDelta", b'{"contentBlockIndex": 0, "delta": ')),
    locate=locate,
    verify=rules.verify,
)
