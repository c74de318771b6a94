"""Errors as OpenAI clients know them, and the one table of status codes."""

from __future__ import annotations

import math
from typing import Any

from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Credential,
    FeedbackGiven,
    GuardUnavailable,
    NoCompliantTarget,
    NoTargetAnswered,
    Overloaded,
    QuotaExceeded,
    RateExceeded,
    RateLimited,
    Refusal,
    RequestError,
    RequestTooLarge,
    RouterNotReady,
    Silent,
    StoreError,
    StreamBroken,
    Unauthenticated,
    UnderstudyError,
    UnknownAnswer,
    UnknownModel,
    UnknownPath,
    UnsupportedEncoding,
    WrongMethod,
)

# Class → (status, type); the nearest class of an error decides.
STATUS: dict[type[BaseException], tuple[int, str]] = {
    RequestError: (400, "invalid_request_error"),
    Unauthenticated: (401, "authentication_error"),
    RateExceeded: (429, "rate_limit_error"),
    QuotaExceeded: (429, "insufficient_quota"),
    UnknownModel: (404, "invalid_request_error"),
    UnknownPath: (404, "invalid_request_error"),
    UnknownAnswer: (404, "invalid_request_error"),
    FeedbackGiven: (409, "invalid_request_error"),
    WrongMethod: (405, "invalid_request_error"),
    RequestTooLarge: (413, "invalid_request_error"),
    UnsupportedEncoding: (415, "invalid_request_error"),
    NoCompliantTarget: (403, "permission_error"),
    NoTargetAnswered: (503, "server_error"),
    GuardUnavailable: (503, "server_error"),
    RouterNotReady: (503, "server_error"),
    StoreError: (503, "server_error"),
    StreamBroken: (502, "server_error"),
    CallerFault: (400, "invalid_request_error"),
    ContextTooLong: (400, "invalid_request_error"),
    Refusal: (400, "invalid_request_error"),
    Credential: (502, "server_error"),
    RateLimited: (429, "rate_limit_error"),
    Silent: (504, "server_error"),
    AttemptFailed: (502, "server_error"),
    UnderstudyError: (500, "server_error"),
    Exception: (500, "server_error"),
}
CODES: dict[type[BaseException], str] = {
    NoCompliantTarget: "no_compliant_target",
    NoTargetAnswered: "no_target_answered",
    GuardUnavailable: "pii_guard_unavailable",
    RouterNotReady: "router_not_ready",
    StoreError: "store_unavailable",
    StreamBroken: "stream_broken",
    ContextTooLong: "context_length_exceeded",
    Refusal: "content_filter",
}


def error_answer(error: BaseException) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body that say what went wrong."""
    status, kind = next(STATUS[c] for c in type(error).__mro__ if c in STATUS)
    if isinstance(error, CallerFault) and not isinstance(error, ContextTooLong):
        # The provider's own verdict on the caller's request keeps its status.
        status = error.status if error.status is not None and 400 <= error.status < 500 else status
    if isinstance(error, NoTargetAnswered):
        status, kind = _when_nobody_answered(error.last, (status, kind))
    return status, error_body(error, kind)


def _when_nobody_answered(last: AttemptFailed | None, otherwise: tuple[int, str]) -> tuple[int, str]:
    """As a caller's program can act on it: too many requests, or nobody in time, or just not now."""
    if _throttled(last) or _out_of_quota(last):
        return STATUS[RateLimited]
    return STATUS[Silent] if isinstance(last, Silent) else otherwise


def _throttled(last: AttemptFailed | None) -> bool:
    return isinstance(last, RateLimited) or (isinstance(last, Overloaded) and last.status == 429)


def _out_of_quota(last: AttemptFailed | None) -> bool:
    return isinstance(last, Credential) and last.code == "insufficient_quota"


def error_headers(error: BaseException) -> dict[str, str]:
    """The headers that belong to an error: how long to wait, which methods to use, which codings are read."""
    headers = retry_after(error)
    if isinstance(error, WrongMethod):
        headers["allow"] = f"{error.allowed}, OPTIONS"
    elif isinstance(error, UnsupportedEncoding):
        headers["accept-encoding"] = "gzip, deflate, identity"
    elif isinstance(error, RateExceeded):
        headers |= error.headers
    elif isinstance(error, QuotaExceeded):
        # The SDKs of both families try a 429 again unless they are told that it is in vain.
        headers["x-should-retry"] = "false"
    return headers


def retry_after(error: BaseException) -> dict[str, str]:
    """The `retry-after` header where a wait is known: in whole seconds, rounded up, as providers asked for it."""
    failure = error.last if isinstance(error, NoTargetAnswered) else error
    if isinstance(failure, RateExceeded):
        return {"retry-after": str(max(1, math.ceil(failure.wait)))}
    wait = failure.retry_after if isinstance(failure, AttemptFailed) else None
    return {} if wait is None else {"retry-after": str(math.ceil(wait))}


def error_body(error: BaseException, kind: str | None = None) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`; an error that is no word of ours tells nothing of its inside."""
    kind = kind or next(STATUS[c][1] for c in type(error).__mro__ if c in STATUS)
    known = isinstance(error, UnderstudyError)
    code = next((CODES[c] for c in type(error).__mro__ if c in CODES), None) or getattr(error, "code", None)
    if isinstance(error, NoTargetAnswered):
        code = "insufficient_quota" if _out_of_quota(error.last) else code
        code = "rate_limit_exceeded" if _throttled(error.last) else code
    return {
        "error": {
            "message": str(error) if known else "The router failed. The request id names this failure in its log.",
            "type": kind,
            "param": getattr(error, "param", None),
            "code": code if isinstance(code, str) else None if known else "router_failed",
        }
    }
