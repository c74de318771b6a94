"""The OpenAI chat completions protocol, as OpenAI and every compatible server speak it.

The conversation is kept in this shape, so a request goes out as the caller wrote it and a chunk comes back as the
provider wrote it.  Source: the OpenAI API reference, "Chat completions" and "Streaming".
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.response import chunks_from_completion
from understudy.chat.stream import Chunk, chunk_from
from understudy.errors import AttemptFailed, Garbage
from understudy.wire.base import PLAIN, Call, Event, Quirks
from understudy.wire.body import decode_object, encode
from understudy.wire.failures import classify, reported

PATH = "/chat/completions"

# Other servers' words for a stop reason (Mistral's API reference, "Chat"; Hugging Face's text-generation-inference,
# "Messages API"; Together's API reference, "Chat completions").
_REASONS = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    "model_length": "length",
}
# With these the answer was broken off: a relay in front of a model that failed, and DeepSeek's API reference,
# "Create chat completion".
_BREAKS = frozenset({"error", "insufficient_system_resource"})
# What an answer shows of its making, which an echoed message brings back and a strict server does not take.
_SHOWN = frozenset({"annotations", "reasoning", "reasoning_content", "reasoning_details"})
# Fields of a message that are no answer by themselves.
_NO_ANSWER = frozenset({"role", "tool_call_id", "name", "reasoning", "reasoning_content", "reasoning_details"})


class OpenAIWire:
    """Any server with an OpenAI-compatible `/chat/completions`."""

    protocol = "openai"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:  # noqa: ARG002
        """Nothing is impossible by protocol; what a server does not know, it refuses itself."""
        return frozenset()

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,  # noqa: ARG002 - this protocol lets a server have its own default
        quirks: Quirks = PLAIN,
    ) -> Call:
        """The caller's body with the target's model, the wanted mode, the server's own names and without `drop`.

        A stream always asks for usage, unless the route drops `stream_options` for a server that refuses it.  What
        `drop` names of an answer's making is left out of the assistant's messages too.
        Raises InvalidRequest where the body is no JSON.
        """
        rename = quirks.rename
        kept = {k: v for k, v in request.body.items() if k not in drop or k in ("model", "messages")}
        # Where both names are given, the server's own stays as it is.
        body: dict[str, Any] = {rename.get(k, k): v for k, v in kept.items() if rename.get(k) not in kept}
        body["model"] = model
        if unwanted := _SHOWN & drop:
            body["messages"] = [{k: v for k, v in one.items() if k not in unwanted} for one in request.messages]
        if stream:
            body["stream"] = True
            if "stream_options" not in drop:
                body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
        else:
            body.pop("stream_options", None)
            if "stream" in body:
                body["stream"] = False
        return Call(PATH, encode(body))

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> OpenAIDecoder:  # noqa: ARG002
        """A fresh decoder for one streamed answer of so many choices; its chunks are the events themselves."""
        return OpenAIDecoder(choices)

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:  # noqa: ARG002
        """Chunks of a `chat.completion`.

        Raises AttemptFailed on an error object sent with status 200 (Garbage where there are no choices, or only
        empty ones), ValueError on another shape.
        """
        _raise_error(body)
        if not body.get("choices"):
            raise Garbage("the answer has no choices", status=200)
        chunks = chunks_from_completion(_with_our_reasons(body))
        if not any(_answers(choice) for chunk in chunks for choice in chunk.payload["choices"]):
            raise Garbage("the answer is empty", status=200)
        return chunks

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        """Classify an error answer (status >= 400) by the failure table.  Header names are lower case."""
        return classify(status, headers, body)


class OpenAIDecoder:
    """Chunks of one streamed answer.  Complete when every choice that was asked for has its finish reason."""

    def __init__(self, choices: int = 1) -> None:
        self._choices = choices
        self.ended = False
        self._open: set[int] = set()
        self._finished: set[int] = set()

    @property
    def complete(self) -> bool:
        """Whether every choice that was asked for, and every other one seen, has finished.

        A server that gives fewer choices than it was asked for must say by its end marker that this was all.
        """
        return bool(self._finished) and not self._open and (self.ended or len(self._finished) >= self._choices)

    def feed(self, event: Event) -> list[Chunk]:
        """The chunk of one event; none for `[DONE]` and empty events (keep-alive).

        Raises ValueError on an event that is no chunk, AttemptFailed on an error in the stream.
        """
        data = event.data.strip()
        if data in ("", "[DONE]"):
            self.ended = self.ended or data == "[DONE]"
            return []
        payload = _error_event(data) if event.name == "error" else decode_object(data)
        _raise_error(payload)
        if not isinstance(payload.get("choices"), list) and payload.get("usage") is None:
            raise ValueError("the event is no chunk: it has neither choices nor usage")
        chunk = chunk_from(_with_our_reasons(payload))
        self._note(chunk)
        return [chunk]

    def _note(self, chunk: Chunk) -> None:
        for choice in chunk.payload.get("choices") or ():
            index = choice.get("index", 0)
            self._open.add(index if isinstance(index, int) else 0)
        self._finished.update(chunk.finish_reasons)
        self._open -= self._finished


def _error_event(data: str) -> dict[str, Any]:
    try:
        payload = decode_object(data)
    except ValueError:
        payload = {"message": data}
    return payload if payload.get("error") else {"error": payload}


def _raise_error(payload: Mapping[str, object]) -> None:
    # `{"object": "error", "message": ...}` is how vLLM wrote it before it had an `error` object.
    if payload.get("error") or "error" in (payload.get("object"), payload.get("type")):
        raise reported(payload)


def _with_our_reasons(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer or chunk with OpenAI's stop reasons.  Raises AttemptFailed where the reason is that it broke off."""
    choices = payload.get("choices")
    if not isinstance(choices, list):
        return payload
    said = [choice.get("finish_reason") for choice in choices if isinstance(choice, Mapping)]
    words = {reason for reason in said if isinstance(reason, str)}
    if broken := words & _BREAKS:
        raise reported({"message": f"the provider ended the answer with finish reason {min(broken)!r}"})
    if not words & _REASONS.keys():
        return payload
    return {**payload, "choices": [_with_our_reason(choice) for choice in choices]}


def _with_our_reason(choice: Any) -> Any:
    reason = choice.get("finish_reason") if isinstance(choice, Mapping) else None
    return {**choice, "finish_reason": _REASONS[reason]} if isinstance(reason, str) and reason in _REASONS else choice


def _answers(choice: Mapping[str, Any]) -> bool:
    """Whether a choice says anything, or says why it does not (cut by length, filtered)."""
    if choice.get("finish_reason") not in (None, "stop"):
        return True
    return any(value for name, value in choice["delta"].items() if name not in _NO_ANSWER)
