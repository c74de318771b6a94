"""The Gemini wire: generateContent and streamGenerateContent.

The address is that of an API version, such as https://generativelanguage.googleapis.com/v1beta.
Source: the Gemini API reference, "Generating content".
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from urllib.parse import quote

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Garbage
from understudy.wire import gemini_request
from understudy.wire.base import PLAIN, Call, Quirks
from understudy.wire.body import encode
from understudy.wire.failures import classify, reported
from understudy.wire.gemini_stream import GeminiDecoder


class GeminiWire:
    """See `understudy.wire.base.Wire`.  No front speaks this protocol, so that no request comes in it."""

    protocol = "gemini"

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:
        return gemini_request.cannot_carry(request, quirks)

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,  # noqa: ARG002 - this protocol lets a model have its own default
        quirks: Quirks = PLAIN,
    ) -> Call:
        body = gemini_request.generate_body(request, drop=drop, quirks=quirks)
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return Call(f"{model_path(model)}:{method}", encode(body))

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> GeminiDecoder:  # noqa: ARG002
        return GeminiDecoder(choices, owner)

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:  # noqa: ARG002
        if body.get("error"):
            raise reported(body)
        candidates = body.get("candidates")
        decoder = GeminiDecoder(len(candidates) if isinstance(candidates, list) and candidates else 1, owner)
        chunks = decoder.read(body)
        if not decoder.complete:
            raise Garbage("the answer is not finished", status=200)
        if not any(chunk.answers or _says_why(chunk) for chunk in chunks):
            raise Garbage("the answer is empty", status=200)
        return chunks

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        return classify(status, headers, body)


def model_path(model: str) -> str:
    """The path of a model: `models/` is put before a bare name."""
    return "/" + quote(model if "/" in model else f"models/{model}", safe="/-._~:@")


def _says_why(chunk: Chunk) -> bool:
    """Whether a choice says why it says nothing: cut by length, or filtered."""
    return any(reason != "stop" for reason in chunk.finish_reasons.values())
