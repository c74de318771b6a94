"""OpenAI's Responses API as a target speaks it itself: the caller's own request goes out, and its own events come back.

Only what names something of a target's is touched: ids and encrypted content are marked with their owner on the way to
the caller (understudy.chat.bound) and sent back bare to that owner alone.  Source: the OpenAI API reference,
"Responses".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from understudy.chat.bound import read
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage, InvalidRequest
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported
from understudy.wire.responses_replay import replayed
from understudy.wire.responses_stream import ResponsesDecoder

PATH = "/responses"

# Where this API has the fields of a chat request that a route may drop and that have another name here.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "max_completion_tokens": ("max_output_tokens",),
    "reasoning_effort": ("reasoning", "effort"),
    "response_format": ("text", "format"),
    "verbosity": ("text", "verbosity"),
    "logprobs": ("top_logprobs",),
}
_KEPT = frozenset({"model", "input", "stream"})
_MARK = b"us1."


class ResponsesWire:
    """See `understudy.wire.base.Wire`.  It sends only what was written for it; nothing is translated into it."""

    protocol = "responses"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:  # noqa: ARG002
        native = request.native
        return frozenset() if native is not None and native.protocol == self.protocol else frozenset({"messages"})

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
        """The caller's body with the target's model and the wanted mode, without `drop` and what others own.

        Raises InvalidRequest where the request was not written in this protocol, or was added to.
        """
        native = request.native
        if native is None or native.protocol != self.protocol or request.appended:
            raise InvalidRequest("The Responses API is sent only what was written for it.")
        body = _without(native.body, drop) if drop else dict(native.body)
        body["model"] = model
        if stream:
            body["stream"] = True
        else:
            body.pop("stream_options", None)
            if "stream" in body:
                body["stream"] = False
        data = encode(body)
        return Call(PATH, encode(_bare(body, quirks.owner)) if _MARK in data else data)

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> ResponsesDecoder:  # noqa: ARG002
        return ResponsesDecoder(native=native, owner=owner)

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:
        """Chunks of a whole response.  Raises AttemptFailed on one that failed, ValueError on another shape."""
        if body.get("error") or body.get("object") == "error" or body.get("type") == "error":
            raise reported(body)
        if not isinstance(body.get("output"), list):
            raise Garbage("the answer is no response: it has no output", status=200)
        decoder = ResponsesDecoder(native=native, owner=owner)
        return [chunk for event in replayed(body) for chunk in decoder.read(event)]

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def _without(body: Mapping[str, Any], drop: Set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in drop or name in _KEPT}
    for name in drop & _PLACES.keys():
        *outer, last = _PLACES[name]
        if not outer:
            kept.pop(last, None)
        elif isinstance(inner := kept.get(outer[0]), Mapping):
            kept[outer[0]] = {key: value for key, value in inner.items() if key != last}
    return kept


def _bare(body: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The body without marks and without what they say is another target's."""
    bared = dict(body)
    previous = bared.get("previous_response_id")
    if isinstance(previous, str):
        # Whoever owns it: a request is sent only to the target that does (understudy.services.fitness).
        bared["previous_response_id"] = read(previous)[1]
    if isinstance(items := bared.get("input"), list):
        bared["input"] = _bare_items(items, owner)
    return bared


def _bare_items(items: Sequence[Any], owner: str) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        if not isinstance(item, Mapping):
            kept.append(item)
            continue
        bared, foreign = dict(item), False
        for name in ("id", "encrypted_content", "approval_request_id"):
            if isinstance(value := item.get(name), str):
                of, bared[name] = read(value)
                if of not in ("", owner):
                    foreign = True
                    del bared[name]
        # Thinking without its own content is nothing; any other item says the same without its id.
        if not (foreign and item.get("type") == "reasoning"):
            kept.append(bared)
    return kept
