"""What providers say, in the protocol of each wire: whole answers, streams in pieces, tool calls and errors.

Shapes: the OpenAI API reference, "The chat completion chunk object"; the Anthropic API reference, "Streaming Messages";
the Gemini API reference, "GenerateContentResponse".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tests.raw_provider import Reply

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
PROMPT, COMPLETION = 11, 7
"""Tokens that every answer counts."""


def event(payload: object, name: str = "") -> bytes:
    """One server-sent event, text not escaped."""
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


class Speaker(Protocol):
    """One wire's way of saying things.  Of the `pieces` of a stream the first two bring no content, then comes one for
    each text."""

    wire: str
    key: str
    """The header of the credential, as the document names it."""

    def pieces(self, texts: Sequence[str], *, finish: str = "stop", model: str = "large-1") -> list[bytes]: ...

    def call(self, parts: Sequence[str], text: str = "") -> list[bytes]:
        """A stream that says a text and calls the tool `look` with arguments in parts."""

    def whole(self, text: str, *, model: str = "large-1") -> bytes: ...

    def error(self, kind: str, message: str = "overloaded for now") -> bytes:
        """An error event."""

    def problem(self, kind: str, message: str, **fields: Any) -> bytes:
        """The body of an error answer."""


class OpenAI:
    wire = "openai"
    key = "Authorization"

    def pieces(self, texts: Sequence[str], *, finish: str = "stop", model: str = "large-1") -> list[bytes]:
        said = [self._chunk(model, {"content": text}) for text in texts]
        usage = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION, "total_tokens": PROMPT + COMPLETION}
        counted = event(self._payload(model, []) | {"usage": usage})
        head = [b": hello\n\n", self._chunk(model, {"role": "assistant", "content": ""})]
        return [*head, *said, self._chunk(model, {}, finish), counted, event("[DONE]")]

    def call(self, parts: Sequence[str], text: str = "") -> list[bytes]:
        *head, _, counted, done = self.pieces([text])
        named = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
        calls = [{"tool_calls": [named]}] + [
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts
        ]
        last = self._chunk("large-1", {}, "tool_calls")
        return [*head, *(self._chunk("large-1", delta) for delta in calls), last, counted, done]

    def whole(self, text: str, *, model: str = "large-1") -> bytes:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION, "total_tokens": PROMPT + COMPLETION}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
        return json.dumps(head | {"choices": [choice], "usage": usage}, ensure_ascii=False).encode()

    def error(self, kind: str, message: str = "overloaded for now") -> bytes:
        return event(json.loads(self.problem(kind, message)))

    def problem(self, kind: str, message: str, **fields: Any) -> bytes:
        return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None} | fields}).encode()

    def _chunk(self, model: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event(self._payload(model, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]))

    def _payload(self, model: str, choices: list[Any]) -> dict[str, Any]:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return head | {"choices": choices}


REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}


Block = tuple[dict[str, Any], list[dict[str, str]]]
"""A content block as it is opened, and its deltas."""


class Anthropic:
    wire = "anthropic"
    key = "x-api-key"

    def pieces(self, texts: Sequence[str], *, finish: str = "stop", model: str = "large-1") -> list[bytes]:
        return self._stream(model, [self._text(texts)], finish)

    def call(self, parts: Sequence[str], text: str = "") -> list[bytes]:
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        tool = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
        return self._stream("large-1", [*([self._text([text])] if text else []), (tool, deltas)], "tool_calls")

    def whole(self, text: str, *, model: str = "large-1") -> bytes:
        usage = {"input_tokens": PROMPT, "output_tokens": COMPLETION}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "usage": usage}
        body = head | {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None}
        return json.dumps(body, ensure_ascii=False).encode()

    def error(self, kind: str, message: str = "overloaded for now") -> bytes:
        return event(json.loads(self.problem(kind, message)), "error")

    def problem(self, kind: str, message: str, **fields: Any) -> bytes:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message} | fields}).encode()

    def _text(self, texts: Sequence[str]) -> Block:
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]

    def _stream(self, model: str, blocks: list[Block], finish: str) -> list[bytes]:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": model}
        usage = {"input_tokens": PROMPT, "output_tokens": 1}
        reason = {"stop_reason": REASONS[finish], "stop_sequence": None}
        events = [{"type": "message_start", "message": message | {"stop_reason": None, "usage": usage}}]
        for index, (block, deltas) in enumerate(blocks):
            events += [
                {"type": "content_block_start", "index": index, "content_block": block},
                *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
                {"type": "content_block_stop", "index": index},
            ]
        events += [
            {"type": "message_delta", "delta": reason, "usage": {"output_tokens": COMPLETION}},
            {"type": "message_stop"},
        ]
        return [event(one, str(one["type"])) for one in events]


STOPS = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}


class Gemini:
    wire = "gemini"
    key = "x-goog-api-key"

    def pieces(self, texts: Sequence[str], *, finish: str = "stop", model: str = "large-1") -> list[bytes]:
        return self._stream(model, [{"text": text} for text in texts], finish)

    def call(self, parts: Sequence[str], text: str = "") -> list[bytes]:
        """A call comes whole, whatever its parts elsewhere."""
        made = {"name": "look", "args": json.loads("".join(parts) or "{}")}
        said = [{"text": text}] if text else []
        return self._stream("large-1", [*said, {"functionCall": made, "thoughtSignature": "c2ln"}], "tool_calls")

    def whole(self, text: str, *, model: str = "large-1") -> bytes:
        answer = self._answer(model, [{"text": text}], "STOP") | self._counts()
        return json.dumps(answer, ensure_ascii=False).encode()

    def error(self, kind: str, message: str = "overloaded for now") -> bytes:
        return self._event(json.loads(self.problem(kind, message)))

    def problem(self, kind: str, message: str, **fields: Any) -> bytes:
        return json.dumps({"error": {"message": message, "status": kind} | fields}).encode()

    def _stream(self, model: str, parts: list[dict[str, Any]], finish: str) -> list[bytes]:
        said = [self._answer(model, [part]) for part in parts]
        last = [self._answer(model, [], STOPS[finish]), {"modelVersion": model, "responseId": "r1"} | self._counts()]
        events = [self._event(one) for one in (self._answer(model, []), *said, *last)]
        # There is no end marker; the last piece says nothing, as elsewhere.
        return [b": hello\r\n\r\n", *events, b": bye\r\n\r\n"]

    def _answer(self, model: str, parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish is not None:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "modelVersion": model, "responseId": "r1"}

    def _counts(self) -> dict[str, Any]:
        counts = {"promptTokenCount": PROMPT, "candidatesTokenCount": COMPLETION}
        return {"usageMetadata": counts | {"totalTokenCount": PROMPT + COMPLETION}}

    def _event(self, payload: dict[str, Any]) -> bytes:
        return event(payload).replace(b"\n", b"\r\n")


OPENAI, ANTHROPIC, GEMINI = OpenAI(), Anthropic(), Gemini()
SPEAKERS: dict[str, Speaker] = {"openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}
CROSSED: list[tuple[Speaker, Speaker]] = [(OPENAI, ANTHROPIC), (ANTHROPIC, OPENAI), (GEMINI, OPENAI)]
"""The lead's wire and the understudy's."""
PAIRS: list[tuple[Speaker, Speaker]] = [*CROSSED, (OPENAI, OPENAI), (ANTHROPIC, ANTHROPIC), (ANTHROPIC, GEMINI)]


def beginning(body: dict[str, Any]) -> str | None:
    """The answer's text that a request of any wire asks to be continued, None where it asks for nothing of the kind."""
    last = body["contents" if "contents" in body else "messages"][-1]
    if last["role"] == "user":
        return None
    content = last["parts" if "parts" in last else "content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def streamed(pieces: Sequence[bytes], *, gap: float = 0.0) -> Reply:
    """The pieces as a stream."""
    return Reply(headers=SSE, pieces=[(gap, piece) for piece in pieces])


def refused(status: int, body: bytes, **headers: str) -> Reply:
    """An error answer; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {**JSON, **named}, [(0.0, body)])
