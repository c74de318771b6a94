"""How long a provider asks to be left alone, in seconds.

There is no clock here: a point in time counts from the answer's own `date` header, and without one it says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_STEP = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Above these a number cannot be a wait (three years): it is a Unix time in seconds, or in milliseconds.
_UNIX_SECONDS, _UNIX_MILLISECONDS = 1e8, 1e11


def asked_wait(headers: Mapping[str, str], body_delay: str | None = None) -> float | None:
    """The wait asked for in so many words: `retry-after-ms`, `retry-after` (seconds or date), or in the body."""
    date = headers.get("date", "")
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    for value in (headers.get("retry-after"), body_delay):
        if value is not None and (seconds := _seconds(value, date)) is not None:
            return seconds
    return None


def reset_wait(headers: Mapping[str, str]) -> float | None:
    """The wait until the exhausted limits are reset, read from `*ratelimit*reset*` and `*rate-limit*reset*` headers.

    These headers come with every answer and one pair per limit, so most of them are about limits that are not the
    trouble.  A limit with something remaining never counts.  All limits with nothing remaining must be over: the
    longest wait.  Where only limits without a `remaining` header are left, it is unknown which one it was: the
    shortest, because too short a wait costs one more 429 and too long a one benches a healthy target.
    """
    date = headers.get("date", "")
    exhausted: list[float] = []
    unknown: list[float] = []
    for name, value in headers.items():
        if "reset" not in name or not ("ratelimit" in name or "rate-limit" in name):
            continue
        seconds = _seconds(value, date)
        remaining = headers.get(name.replace("reset", "remaining"))
        if seconds is None:
            continue
        if remaining is None:
            unknown.append(seconds)
        elif _NUMBER.fullmatch(remaining.strip()) and float(remaining) == 0:
            exhausted.append(seconds)
    if exhausted:
        return max(exhausted)
    return min(unknown) if unknown else None


def _seconds(value: str, date: str) -> float | None:
    """A number of seconds, a duration such as `1m30.5s`, a Unix time, an RFC 3339 time or an HTTP date."""
    value = value.strip()
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number < _UNIX_SECONDS:
            return number
        return _until(number / 1000 if number >= _UNIX_MILLISECONDS else number, date)
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(value))
    then = _timestamp(value)
    return None if then is None else _until(then, date)


def _until(then: float, date: str) -> float | None:
    now = _timestamp(date)
    return None if now is None else max(0.0, then - now)


def _timestamp(text: str) -> float | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
        except (ValueError, OverflowError):
            continue
        # A time without a zone would be read in the machine's own; HTTP dates without one do not exist.
        if moment.tzinfo is not None:
            return moment.timestamp()
    return None
