"""OpenAI's Responses API: streamed and not, with what it stores.

Source: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from infra.local.simulators import openai
from infra.local.simulators import openai_responses_rules as rules
from infra.local.simulators.answers import Answer, Ask, Choice, Tool, fingerprint, split_arguments, split_words
from infra.local.simulators.replies import Kind, Piece, Reply, dump, json_reply, stream_reply
from infra.local.simulators.wire import Wire

PATH = "/v1/responses"
STORED = 1000
THOUGHT = "[simulated] It thinks."
# What the API says of a response where the request does not.
DEFAULTS: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}
ENDING: Mapping[str, Any] = {"length": "max_output_tokens", "refusal": "content_filter"}


@dataclass(frozen=True)
class ResponsesAsk(Ask):
    """`context` are all items that the answer follows, those of earlier responses included."""

    body: Mapping[str, Any] = field(default_factory=dict)
    context: tuple[Mapping[str, Any], ...] = ()


class Memory:
    """What one provider has stored; bounded, and safe to be used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._responses: OrderedDict[str, tuple[Mapping[str, Any], ...]] = OrderedDict()
        self._secrets: OrderedDict[str, None] = OrderedDict()

    def keep(self, identifier: str, items: tuple[Mapping[str, Any], ...]) -> None:
        with self._lock:
            self._responses[identifier] = items
            if len(self._responses) > STORED:
                self._responses.popitem(last=False)

    def issue(self, secret: str) -> None:
        with self._lock:
            self._secrets[secret] = None
            if len(self._secrets) > STORED:
                self._secrets.popitem(last=False)

    def conversation(self, identifier: str) -> tuple[Mapping[str, Any], ...] | None:
        with self._lock:
            return self._responses.get(identifier)

    def item(self, identifier: str) -> Mapping[str, Any] | None:
        with self._lock:
            stored = (item for items in self._responses.values() for item in items)
            return next((item for item in stored if item.get("id") == identifier), None)

    def _meant(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """The item itself, or the one that a reference names."""
        return self.item(item["id"]) or item if item.keys() <= {"id", "type"} else item

    def read(self, body: Any) -> ResponsesAsk:
        """Checks the request as the API does and reduces it to what decides the answer."""
        checked = rules.check(body, lambda one: self.item(one) is not None, self._secrets.__contains__)
        previous = checked.get("previous_response_id")
        before = self.conversation(previous) if isinstance(previous, str) else ()
        if before is None:
            rules.no_previous(str(previous))
        given = checked.get("input") or []
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        context = (*before, *map(self._meant, items))
        rules.check_calls([dict(item) for item in context])
        return _ask(checked, context)

    def render(self, ask: Ask, answer: Answer) -> Reply:
        """The answer, which is stored unless the request says otherwise."""
        if not isinstance(ask, ResponsesAsk):
            raise TypeError("not a question of the Responses API")
        output = _output(ask, answer)
        for item in output:
            if "encrypted_content" in item:
                self.issue(item["encrypted_content"])
        if ask.body.get("store") is not False:
            self.keep(_identifier(ask), (*ask.context, *output))
        if ask.stream:
            return stream_reply(list(_stream(ask, answer, output)), _headers(ask))
        return json_reply(200, _response(ask, answer, output), _headers(ask))

    def wire(self) -> Wire:
        return replace(
            openai.WIRE,
            answer_path=PATH,
            # Where it stands is said by its own path alone.
            locate=None,
            embed=None,
            read=self.read,
            render=self.render,
            first_error=_first_error,
            unreadable=Piece("frame", b'event: response.output_text.delta\ndata: {"type": "resp \n\n'),
        )


def _ask(body: Mapping[str, Any], context: tuple[Mapping[str, Any], ...]) -> ResponsesAsk:
    users = [item for item in context if item.get("role") == "user"]
    content = users[-1]["content"] if users else ""
    parts = content if isinstance(content, list) else []
    choice, named = _choice(body.get("tool_choice"))
    return ResponsesAsk(
        wire="openai",
        model=body["model"],
        fingerprint=fingerprint(body),
        text=_text(content),
        images=sum(part["type"] == "input_image" for part in parts),
        results=_results(context),
        tools=tuple(
            Tool(tool["name"], tool.get("parameters") or {})
            for tool in body.get("tools") or []
            if tool["type"] in ("function", "custom")
        ),
        choice=choice,
        named=named,
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body),
        limit=body.get("max_output_tokens"),
        stream=bool(body.get("stream")),
        input_tokens=sum(len(split_words(_text(item.get("content")))) for item in context),
        body=body,
        context=context,
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or [] if "text" in part)


def _results(context: tuple[Mapping[str, Any], ...]) -> tuple[str, ...] | None:
    found: list[str] = []
    for item in reversed(context):
        if item.get("type") not in rules.OUTPUTS:
            break
        found.insert(0, _text(item.get("output")))
    return tuple(found) or None


def _choice(asked: Any) -> tuple[Choice, str]:
    if isinstance(asked, dict) and "name" in asked:
        return "named", asked["name"]
    known: dict[Any, Choice] = {"required": "any", "none": "none"}
    return known.get(asked, "auto") if isinstance(asked, str) else "auto", ""


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    schema: Mapping[str, Any] | None = wanted.get("schema") if wanted.get("type") == "json_schema" else None
    return schema


def _identifier(ask: Ask) -> str:
    return f"resp_{ask.fingerprint[:48]}"


def _headers(ask: Ask) -> dict[str, str]:
    return {"x-request-id": f"req_{ask.fingerprint[:32]}"}


def _output(ask: ResponsesAsk, answer: Answer) -> list[dict[str, Any]]:
    """The items of the answer: thinking where it was asked for, a search, calls, a message."""
    key, custom = ask.fingerprint[:40], {t["name"] for t in ask.body.get("tools") or [] if t["type"] == "custom"}
    items: list[dict[str, Any]] = []
    wanted, include = ask.body.get("reasoning") or {}, ask.body.get("include") or []
    if wanted.get("effort") or "reasoning.encrypted_content" in include:
        summary = [{"type": "summary_text", "text": THOUGHT}] if wanted.get("summary") else []
        thinking: dict[str, Any] = {"id": f"rs_{key}", "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in include:
            thinking["encrypted_content"] = f"gAAAAA{ask.fingerprint}"
        items.append(thinking)
    if any(tool["type"] == "web_search" for tool in ask.body.get("tools") or []) and "web_search" in ask.text:
        action = {"type": "search", "query": ask.text, "queries": [ask.text]}
        items.append({"id": f"ws_{key}", "type": "web_search_call", "status": "completed", "action": action})
    for place, call in enumerate(answer.calls):
        called: dict[str, Any] = {"status": "completed", "call_id": f"call_{call.id}", "name": call.name}
        if call.name in custom:
            items.append(
                {"id": f"ctc_{key}{place}", "type": "custom_tool_call", **called, "input": "[simulated] input"}
            )
        else:
            arguments = call.arguments_json
            items.append({"id": f"fc_{key}{place}", "type": "function_call", **called, "arguments": arguments})
    if answer.text:
        said = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        status = "incomplete" if answer.stop in ENDING else "completed"
        message = {"id": f"msg_{key}", "type": "message", "status": status, "role": "assistant", "content": [said]}
        items.append(message)
    return items


def _response(ask: ResponsesAsk, answer: Answer | None, output: list[dict[str, Any]]) -> dict[str, Any]:
    """The response object; without an answer the one a stream begins with."""
    reason = ENDING.get(answer.stop) if answer else None
    spent = answer.output_tokens if answer else 0
    usage = {
        "input_tokens": ask.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": spent,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": ask.input_tokens + spent,
    }
    return {
        "id": _identifier(ask),
        "object": "response",
        "created_at": openai.CREATED,
        "status": ("incomplete" if reason else "completed") if answer else "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": ask.model,
        "output": output,
        "service_tier": "default",
        "usage": usage if answer else None,
        **{name: value if ask.body.get(name) is None else ask.body[name] for name, value in DEFAULTS.items()},
    }


def _stream(ask: ResponsesAsk, answer: Answer, output: list[dict[str, Any]]) -> Iterator[Piece]:
    for number, (kind, event) in enumerate(_events(ask, answer, output)):
        data = dump(event | {"sequence_number": number})
        yield Piece(kind, b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data))


def _events(ask: ResponsesAsk, answer: Answer, output: list[dict[str, Any]]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    begun = _response(ask, None, [])
    yield "frame", {"type": "response.created", "response": begun}
    yield "frame", {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(output):
        where = {"item_id": item["id"], "output_index": index}
        opened = item | {name: [] for name in ("content", "summary") if name in item}
        opened |= {name: "" for name in ("arguments", "input") if name in item}
        opened |= {"status": "in_progress"} if "status" in item else {}
        yield "frame", {"type": "response.output_item.added", "output_index": index, "item": opened}
        yield from _inside(item, where)
        yield "frame", {"type": "response.output_item.done", "output_index": index, "item": item}
    whole = _response(ask, answer, output)
    yield "stop", {"type": f"response.{whole['status']}", "response": whole}


def _inside(item: Mapping[str, Any], where: Mapping[str, Any]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    match item["type"]:
        case "message":
            part = item["content"][0]
            yield from _part("content_part", "output_text", part, {**where, "content_index": 0}, {"logprobs": []})
        case "reasoning" if item["summary"]:
            place = {**where, "summary_index": 0}
            yield from _part("reasoning_summary_part", "reasoning_summary_text", item["summary"][0], place, {})
        case "function_call":
            for piece in split_arguments(item["arguments"]):
                yield "token", {"type": "response.function_call_arguments.delta", **where, "delta": piece}
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield "frame", {"type": "response.function_call_arguments.done", **where, **done}
        case "custom_tool_call":
            yield "token", {"type": "response.custom_tool_call_input.delta", **where, "delta": item["input"]}
            yield "frame", {"type": "response.custom_tool_call_input.done", **where, "input": item["input"]}
        case "web_search_call":
            for step in ("in_progress", "searching", "completed"):
                yield "frame", {"type": f"response.web_search_call.{step}", **where}


def _part(
    around: str, said: str, part: Mapping[str, Any], where: Mapping[str, Any], more: Mapping[str, Any]
) -> Iterator[tuple[Kind, dict[str, Any]]]:
    yield "frame", {"type": f"response.{around}.added", **where, "part": {**part, "text": ""}}
    for token in split_words(part["text"]):
        yield "token", {"type": f"response.{said}.delta", **where, "delta": token, **more}
    yield "frame", {"type": f"response.{said}.done", **where, "text": part["text"], **more}
    yield "frame", {"type": f"response.{around}.done", **where, "part": part}


def _first_error(streamed: bool) -> Reply:
    error = {"message": openai.OVERLOADED, "type": "server_error", "param": None, "code": "server_error"}
    if not streamed:
        return json_reply(200, {"error": error})
    event = {"type": "error", "error": error, "sequence_number": 0}
    return stream_reply([Piece("frame", b"event: error\ndata: %b\n\n" % dump(event))])
