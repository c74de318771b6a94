"""What an API that callers speak must be able to do.  Like a wire, a front is pure.

Each API is one implementation of `Front`; the service knows only this page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import InvalidRequest

# Kept, because json.dumps builds one for every call with options of its own.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no number")


class Writer(Protocol):
    """One streamed answer in the making."""

    def event(self, chunk: Chunk) -> bytes:
        """The bytes of one chunk; empty where there is nothing to say yet."""

    def end(self) -> bytes:
        """What closes a complete answer."""

    def broken(self, error: BaseException) -> bytes:
        """What the API's SDKs raise: an error event, and neither a stop reason nor an end marker after it."""


class Front(Protocol):
    """One API that callers speak."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest | UnaryRequest:
        """Decode and check a request; header names are lower case.  Raises InvalidRequest where it is malformed."""

    def writer(self, request: ChatRequest, *, created: int) -> Writer:
        """A writer for one streamed answer; `created` is in epoch seconds."""

    def whole(self, request: ChatRequest | UnaryRequest, chunks: Iterable[Chunk], *, created: int) -> Mapping[str, Any]:
        """The whole answer for a caller that does not stream."""

    def error(self, error: BaseException) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the body that say what went wrong."""


def decoded(body: bytes) -> object:
    """The JSON of a request body.  Raises InvalidRequest."""
    try:
        parsed = json.loads(body, parse_constant=_no_number)
        if b"\\u" in body:
            # Half a surrogate pair is valid JSON but no text; no provider could be sent it.
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise InvalidRequest("The body is not valid UTF-8 text.") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    return parsed


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON for an HTTP body."""
    return _ENCODER.encode(payload).encode("utf-8", "replace")
