"""The Amazon Bedrock Runtime wire: Converse and ConverseStream, the one shape that every model there speaks.

Source: the Amazon Bedrock API reference, "Converse" and "ConverseStream", as botocore's service description has them
(bedrock-runtime, 2023-09-30).  A target's model is what the API calls a model id: that of a foundation model, of a
regional, geographic or global inference profile (`eu.`, `us.`, `global.`), or the ARN of either, of a provisioned or
imported model, or of a prompt router.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from urllib.parse import quote

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage
from understudy.wire import bedrock_request
from understudy.wire.base import PLAIN, Call, Decoder, Quirks
from understudy.wire.bedrock_stream import FINISH, BedrockDecoder, replayed
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported

EVENT_STREAM = "application/vnd.amazon.eventstream"
"""How the API streams (Smithy, "Event stream specification"); `understudy.transport.eventstream` reads it."""


class BedrockWire:
    """See `understudy.wire.base.Wire`."""

    protocol = "bedrock"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:
        return bedrock_request.cannot_carry(request, quirks)

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,
        quirks: Quirks = PLAIN,
    ) -> Call:
        body = bedrock_request.converse_body(request, drop=drop, max_output_tokens=max_output_tokens, quirks=quirks)
        path = f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"
        calls = "toolConfig" not in body or bedrock_request.may_call(request, drop)
        return Call(path, encode(body), {"accept": EVENT_STREAM} if stream else {}, calls=calls)

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> Decoder:  # noqa: ARG002
        return BedrockDecoder()

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:  # noqa: ARG002
        output, reason = body.get("output"), body.get("stopReason")
        message = output.get("message") if isinstance(output, Mapping) else None
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), list) or reason is None:
            if {"__type", "message", "Message"} & body.keys():
                raise reported(body)
            raise Garbage("the answer is not a finished message", status=200)
        if not message["content"] and FINISH.get(str(reason)) not in ("content_filter", None):
            raise Garbage("the answer has no content", status=200)
        decoder = BedrockDecoder()
        events = replayed(message, reason, body.get("usage"))
        return [chunk for name, payload in events for chunk in decoder.read(name, payload)]

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)
