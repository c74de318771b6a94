"""The Gemini wire: generateContent, streamed and not, and embeddings.

Source: https://ai.google.dev/api/generate-content and https://ai.google.dev/api/embeddings
"""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.local.simulators import gemini_rules as rules
from infra.local.simulators.answers import Answer, Ask, Choice, Tool, certainty, fingerprint, split_words
from infra.local.simulators.replies import Piece, Reply, dump, json_reply, stream_reply
from infra.local.simulators.wire import HINTS, Place, Wire

BASE = "/v1beta"
STOP = {"end": "STOP", "stop_sequence": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}
THOUGHT = "[simulated] I think about what was said."
DIMENSIONS = 768
# Every version of the API is served alike.
_PATH = re.compile(r"/v1(?:alpha|beta)?/models(?:/(?P<model>[^/:]+):(?P<method>\w+))?")
# Method: operation, streamed.
METHODS = {
    "generateContent": ("answer", False),
    "streamGenerateContent": ("answer", True),
    "embedContent": ("embeddings", False),
    "batchEmbedContents": ("embeddings", False),
}


def locate(path: str) -> Place | None:
    bare, _, query = path.partition("?")
    match = _PATH.fullmatch(bare)
    if match is not None and match["method"] is None:
        return Place("models", "GET")
    if match is None or match["method"] not in METHODS:
        return None
    operation, streamed = METHODS[match["method"]]
    # Without it the events come as the elements of one list, which nobody here reads.
    return Place(operation, "POST", match["model"], streamed and "alt=sse" in query)


def read(asked: tuple[Place, Any]) -> Ask:
    """Checks the request as the API does and reduces it to what decides the answer."""
    place, body = asked
    checked = rules.check(body)
    contents, config = checked["contents"], checked.get("generationConfig") or {}
    last = contents[-1]
    said = [one["parts"] for one in contents if one.get("role", "user") == "user"]
    spoken: Sequence[Mapping[str, Any]] = next((parts for parts in reversed(said) if _text_of(parts)), [])
    choice, allowed = _choice(checked)
    thinking = config.get("thinkingConfig") or {}
    return Ask(
        wire="gemini",
        model=place.model or "",
        fingerprint=fingerprint({"model": place.model, **checked}),
        text=_text_of(spoken),
        images=sum(_is_image(part) for part in spoken),
        results=_results(last["parts"]),
        prefix=_text_of(last["parts"], "") if last.get("role") == "model" else "",
        begun=last.get("role") == "model",
        tools=_tools(checked, allowed),
        choice=choice,
        named=allowed[0] if choice == "named" else "",
        schema=_schema(config),
        limit=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        stream=place.stream,
        choices=config.get("candidateCount") or 1,
        input_tokens=_input_tokens(checked),
        thoughts=bool(thinking.get("includeThoughts")) and thinking.get("thinkingBudget") != 0,
        logprobs=(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
    )


def _text_of(parts: Sequence[Mapping[str, Any]], between: str = " ") -> str:
    return between.join(part["text"] for part in parts if part.get("text") and not part.get("thought"))


def _is_image(part: Mapping[str, Any]) -> bool:
    data = part.get("inlineData") or part.get("fileData") or {}
    return bool(data) and str(data.get("mimeType", "image/")).startswith("image/")


def _results(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    given = [part["functionResponse"].get("response") or {} for part in parts if "functionResponse" in part]
    texts = [str(one["output"]) if set(one) == {"output"} else json.dumps(one) for one in given]
    return tuple(texts) or None


def _choice(body: Mapping[str, Any]) -> tuple[Choice, list[str]]:
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = list(calling.get("allowedFunctionNames") or ())
    if calling.get("mode") == "ANY":
        return ("named" if len(allowed) == 1 else "any"), allowed
    return ("none" if calling.get("mode") == "NONE" else "auto"), allowed


def _tools(body: Mapping[str, Any], allowed: Sequence[str]) -> tuple[Tool, ...]:
    declared = [one for tool in body.get("tools") or [] for one in tool.get("functionDeclarations") or []]
    return tuple(
        Tool(one["name"], one.get("parametersJsonSchema") or one.get("parameters") or {})
        for one in declared
        if not allowed or one["name"] in allowed
    )


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if config.get("responseMimeType") != "application/json":
        return None
    any_object = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    schema: Mapping[str, Any] = config.get("responseJsonSchema") or config.get("responseSchema") or any_object
    return schema


def _input_tokens(body: Mapping[str, Any]) -> int:
    contents = [*body["contents"], body.get("systemInstruction") or {"parts": []}]
    texts = [_text_of(content["parts"]) for content in contents]
    texts += [text for content in contents for text in _results(content["parts"]) or ()]
    return sum(len(split_words(text)) for text in texts)


def _envelope(ask: Ask, answer: Answer | None, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer object; without an answer one in the middle of a stream."""
    thoughts = len(split_words(THOUGHT)) if ask.thoughts else 0
    usage = {"promptTokenCount": ask.input_tokens, "totalTokenCount": ask.input_tokens + thoughts}
    if answer is not None:
        output = answer.output_tokens * ask.choices
        usage |= {"candidatesTokenCount": output, "totalTokenCount": ask.input_tokens + thoughts + output}
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": ask.fingerprint[:22],
    }


def _candidate(
    index: int, parts: list[dict[str, Any]], finish: str | None = None, logprobs: Any = None
) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate = {"content": content, "finishReason": finish, "index": index, "logprobsResult": logprobs}
    return {name: value for name, value in candidate.items() if value is not None}


def _calls(ask: Ask, answer: Answer, index: int) -> list[dict[str, Any]]:
    """The calls of one candidate; of parallel ones the first is signed."""
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": call.name, "args": dict(call.arguments), "id": f"{call.id[:8]}{index}{place}"}}
        for place, call in enumerate(answer.calls)
    ]
    if parts:
        parts[0]["thoughtSignature"] = rules.signature(ask.fingerprint[:16])
    return parts


def _logprobs(ask: Ask, tokens: Sequence[str]) -> dict[str, Any] | None:
    if ask.logprobs is None:
        return None
    chosen = [{"token": token, "tokenId": len(token), "logProbability": certainty(ask, token)} for token in tokens]
    if not ask.logprobs:
        return {"chosenCandidates": chosen}
    others = [{"token": f"other {place}", "tokenId": place, "logProbability": -2.5} for place in range(1, ask.logprobs)]
    return {"chosenCandidates": chosen, "topCandidates": [{"candidates": [one, *others]} for one in chosen]}


def render(ask: Ask, answer: Answer) -> Reply:
    if ask.stream:
        return stream_reply(list(_stream(ask, answer)))
    candidates = []
    for index in range(ask.choices):
        parts = [{"text": THOUGHT, "thought": True}] if ask.thoughts else []
        if answer.text:
            parts.append({"text": answer.text, "thoughtSignature": rules.signature(ask.fingerprint[:16])})
        logprobs = _logprobs(ask, answer.tokens)
        candidates.append(_candidate(index, [*parts, *_calls(ask, answer, index)], STOP[answer.stop], logprobs))
    return json_reply(200, _envelope(ask, answer, candidates))


def _event(data: Any) -> bytes:
    return b"data: " + dump(data) + b"\r\n\r\n"


def _stream(ask: Ask, answer: Answer) -> Iterator[Piece]:
    everyone = range(ask.choices)

    def said(kind: Any, part: dict[str, Any], index: int, logprobs: Any = None) -> Piece:
        return Piece(kind, _event(_envelope(ask, None, [_candidate(index, [part], None, logprobs)])))

    if ask.thoughts:
        yield from (said("frame", {"text": THOUGHT, "thought": True}, index) for index in everyone)
    for token in answer.tokens:
        yield from (said("token", {"text": token}, index, _logprobs(ask, [token])) for index in everyone)
    for index in everyone:
        yield from (said("token", part, index) for part in _calls(ask, answer, index))
    signed = {"text": "", "thoughtSignature": rules.signature(ask.fingerprint[:16])}
    last = [_candidate(index, [signed] if answer.text else [], STOP[answer.stop]) for index in everyone]
    yield Piece("stop", _event(_envelope(ask, answer, last)))


def embed(place: Place, body: Any) -> Reply:
    """The vectors of texts: of one, or of each of a batch."""
    fields = {"content", "model", "outputDimensionality", "taskType", "title"}
    body = rules.camel(body)
    batch = isinstance(body, dict) and "requests" in body
    requests = rules.known(body, {"requests"}, "")["requests"] if batch else [body]
    if not 1 <= len(requests) <= 100:
        rules.reject("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
    vectors, tokens = [], 0
    for index, request in enumerate(requests):
        checked = rules.known(request, fields, f"requests[{index}]" if batch else "")
        if batch and checked.get("model") != f"models/{place.model}":
            rules.reject(f"* BatchEmbedContentsRequest.requests[{index}].model: unexpected model name format\n")
        text = _text_of(rules.known(checked.get("content"), {"parts", "role"}, "content").get("parts") or [])
        if not text:
            rules.reject(f"* EmbedContentRequest.content: content is empty (requests[{index}])\n")
        numbers = random.Random(text)  # noqa: S311  # nosec B311
        count = checked.get("outputDimensionality") or DIMENSIONS
        vectors.append({"values": [round(numbers.uniform(-1, 1), 6) for _ in range(count)]})
        tokens += len(split_words(text))
    usage = {"usageMetadata": {"promptTokenCount": tokens}}
    return json_reply(200, ({"embeddings": vectors} if batch else {"embedding": vectors[0]}) | usage)


def list_models(names: Sequence[str]) -> Reply:
    methods = ["generateContent", "countTokens"]
    models = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": f"{name} (simulated)",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": methods,
        }
        for name in names
    ]
    return json_reply(200, {"models": models})


OVERLOADED = "The model is overloaded. Please try again later."
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
# fault: (status, message); `{model}` is the requested model. The error's status word follows from the status.
TROUBLES: Mapping[str, tuple[int, str]] = {
    "http_500": (500, "An internal error has occurred. Please retry."),
    "http_503": (503, OVERLOADED),
    "http_529": (529, OVERLOADED),
    "http_429": (429, QUOTA + "\nPlease retry in 30s."),
    "retry_after": (429, QUOTA + "\nPlease retry in 2s."),
    "http_429_bare": (429, "Resource has been exhausted (e.g. check quota)."),
    "quota": (402, "Your prepayment credits are depleted."),
    "context_length": (400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."),
    "model_not_found": (404, "models/{model} is not found for API version v1beta, or is not supported for it."),
    "refuse_prefill": (
        400,
        "Please ensure that single turn requests end with a user role or the role field is empty.",
    ),
}


def trouble(name: str, model: str) -> Reply:
    """The wait is said in the body, as `google.rpc.RetryInfo`, not in a header."""
    if name == "http_401":
        return rules.wrong_key()
    status, message = TROUBLES[name]
    metric = {"quotaMetric": "generativelanguage.googleapis.com/generate_content_requests", "quotaValue": "10"}
    details: list[dict[str, Any]] = []
    if name in HINTS:
        details = [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [metric]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{HINTS[name]}s"},
        ]
    kind = "RESOURCE_EXHAUSTED" if name == "quota" else ""
    return rules.error(status, message.format(model=model), details, kind)


def first_error(streamed: bool) -> Reply:
    error = rules.error_body(503, OVERLOADED)
    return stream_reply([Piece("frame", _event(error))]) if streamed else json_reply(200, error)


def refusal(ask: Ask) -> Reply:
    """A prompt that is blocked has no candidates."""
    body = _envelope(ask, None, []) | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    del body["candidates"]
    return stream_reply([Piece("stop", _event(body))]) if ask.stream else json_reply(200, body)


WIRE = Wire(
    name="gemini",
    base_path=BASE,
    answer_path=f"{BASE}/models/MODEL:generateContent",
    models_path=f"{BASE}/models",
    authorise=rules.authorise,
    read=read,
    render=render,
    list_models=list_models,
    refuse=rules.error,
    troubles=frozenset(TROUBLES) | {"http_401"},
    trouble=trouble,
    first_error=first_error,
    refusal=refusal,
    unreadable=Piece("frame", b'data: {"candidates": [{"content": \r\n\r\n'),
    locate=locate,
    embed=embed,
)
