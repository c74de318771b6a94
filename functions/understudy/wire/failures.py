"""The failure table: what a provider says when it fails, and which class of failure that is.

Shared by every wire whose errors are a status, a code or type word, and a message.  Sources: the error pages of the
OpenAI and Anthropic API references; the words for a full context window as collected from public issues of
OpenAI-compatible servers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Credential,
    Overloaded,
    RateLimited,
    Refusal,
    Transient,
)

# Read from the top; the first row that matches decides.  Words are looked for in the code and the type.
BY_WORD: tuple[tuple[tuple[str, ...], type[AttemptFailed]], ...] = (
    (("context_length_exceeded", "string_above_max_length"), ContextTooLong),
    (("content_filter", "content_policy", "responsibleaipolicyviolation", "refusal"), Refusal),
    (("insufficient_quota", "billing", "invalid_api_key", "authentication_error", "permission"), Credential),
    (("model_not_found", "not_found_error", "deploymentnotfound", "model_deprecated"), Credential),
    (("overloaded", "unavailable", "capacity"), Overloaded),
    (("rate_limit", "too_many_requests", "resource_exhausted", "throttl"), RateLimited),
    (("server_error", "api_error", "internal", "timeout"), Transient),
    (("invalid_request", "invalid_prompt", "invalid_value", "unsupported"), CallerFault),
)
# Looked for in the message, where code and type say less than the words do.
BY_MESSAGE: tuple[tuple[tuple[str, ...], type[AttemptFailed]], ...] = (
    (
        (
            "prompt is too long",
            "maximum context length",
            "exceed context limit",
            "exceeds the context",
            "input is too long for requested model",
            "exceeds the maximum number of tokens",
        ),
        ContextTooLong,
    ),
    (("credit balance is too low", "exceeded your current quota"), Credential),
    (("content management policy", "violates our usage policies"), Refusal),
)
BY_STATUS: Mapping[int, type[AttemptFailed]] = {
    401: Credential,
    402: Credential,
    403: Credential,
    404: Credential,
    408: Transient,
    409: Transient,
    413: ContextTooLong,
    425: Transient,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,
}
# A status that settles the class whatever the words say.
FINAL_STATUS = frozenset({401, 402, 403, 503, 529})

_KEY = re.compile(r"\b(sk|pk|key|xai|gsk|AIza)[-_A-Za-z0-9*]{8,}")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:(\d+)ms)?")
_RESET = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
)
MESSAGE_LIMIT = 500


def failure_from_body(status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
    """Classify an error answer.  Header names are lower case; the body may be anything at all."""
    error = _error_object(body)
    message = error.get("message")
    return classify(
        status,
        headers,
        code=_word(error.get("code")),
        type=_word(error.get("type")),
        message=message if isinstance(message, str) else f"HTTP {status} without an explanation",
        param=error["param"] if isinstance(error.get("param"), str) else None,
    )


def classify(
    status: int | None,
    headers: Mapping[str, str],
    *,
    code: str,
    type: str,
    message: str,
    param: str | None = None,
) -> AttemptFailed:
    """The failure that these words mean.  `status` is None for an error reported inside a stream."""
    kind = _kind(status, f"{code} {type}".lower(), message.lower())
    hint = retry_hint(headers) if kind in (RateLimited, Overloaded) else None
    if kind is RateLimited and hint is None:
        kind = Overloaded
    return kind(
        safe(message),
        status=status,
        code=code or type or None,
        param=param,
        retry_after=hint,
    )


def _kind(status: int | None, words: str, message: str) -> type[AttemptFailed]:
    for table, text in ((BY_WORD[:3], words), (BY_MESSAGE, message)):
        for needles, kind in table:
            if any(needle in text for needle in needles):
                return kind
    if status in FINAL_STATUS:
        return BY_STATUS[status or 0]
    by_word = next((kind for needles, kind in BY_WORD if any(n in words for n in needles)), None)
    if status is None:
        return by_word or Transient
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return Overloaded if by_word is Overloaded else Transient
    return by_word if by_word is Credential else CallerFault


def retry_hint(headers: Mapping[str, str]) -> float | None:
    """Seconds the provider asks to wait, or None.

    `retry-after-ms` and `retry-after` (seconds or an HTTP date) come first; else the longest reset among the limits
    that are used up.  Dates are read against the answer's own `date` header, so no clock is needed.
    """
    direct = _number(headers.get("retry-after-ms"))
    if direct is not None:
        return direct / 1000
    after = headers.get("retry-after")
    if after is not None:
        seconds = _number(after)
        return seconds if seconds is not None else _until(after, headers.get("date"))
    waits = [
        wait
        for remaining, reset in _RESET
        if _number(headers.get(remaining, "0")) == 0 and (wait := _reset(headers, reset)) is not None
    ]
    return max(waits, default=None)


def _reset(headers: Mapping[str, str], name: str) -> float | None:
    value = headers.get(name, "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    match = _DURATION.fullmatch(value) if value else None
    if match is not None:
        hours, minutes, secs, millis = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + secs + millis / 1000
    return _until(value, headers.get("date"))


def _until(moment: str, now: str | None) -> float | None:
    try:
        then = _date(moment)
        base = _date(now or "")
    except ValueError:
        return None
    return max(0.0, (then - base).total_seconds())


def _date(text: str) -> datetime:
    """An HTTP date or an RFC 3339 timestamp.  Raises ValueError on anything else, or without a time zone."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _error_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, Mapping):
        return {}
    error = parsed.get("error", parsed)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, Mapping) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def safe(message: str) -> str:
    """A provider's words, bounded, with anything that looks like a key masked: some echo the key they refuse."""
    short = message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "…"
    return _KEY.sub("[key]", short)
