"""Errors as Anthropic's clients know them: the statuses of every front, in this API's words.

Source: the Anthropic API reference, "Errors".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import ContextTooLong
from understudy.wire.fronts.errors import error_answer

KINDS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
TOO_LONG = "prompt is too long"
"""What clients look for in a message to know that they have to shorten the conversation."""


def message_error(error: BaseException) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body that say what went wrong."""
    status, told = error_answer(error)
    message, code = told["error"]["message"], told["error"]["code"]
    if isinstance(error, ContextTooLong) and TOO_LONG not in message.lower():
        message = f"{TOO_LONG}: {message}"
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    said: dict[str, Any] = {"type": kind, "message": message}
    if code:
        # Where this API's SDKs look for a stable word.
        said["details"] = {"error_code": code}
    return status, {"type": "error", "error": said}
