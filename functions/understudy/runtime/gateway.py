"""API Gateway REST proxy events in, answers out.

Source of the event: the Amazon API Gateway developer guide, "Input format of a Lambda function for proxy integration".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

STAGE = "/v1"
OURS = "x-understudy-"
EVENT_STREAM = "text/event-stream"
PING = b": ping\n\n"
"""A comment, which readers of server-sent events pass over (HTML standard, "Server-sent events")."""
PING_AFTER = 15.0
"""Seconds of silence; half of what the least patient proxies bear (CloudFront and edge-optimised endpoints: 30 s)."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One HTTP request.

    Header names are lower case; `path` has no stage and no version: `/chat/completions`; `body` is None where it is
    not what it says it is.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    request_id: str
    time_left: float | None = None


def api_request(event: Mapping[str, Any], context: object = None) -> ApiRequest:
    """Read a proxy event; `time_left` is what the Lambda context says, in seconds, None without one."""
    proxy = (event.get("pathParameters") or {}).get("proxy")
    # Below a custom domain the path may carry a mapping; what the resource matched does not.
    path = "/" + proxy if proxy else event.get("path") or "/"
    path = path.removeprefix(STAGE) if path.startswith(STAGE + "/") else path
    headers = _headers(event)
    return ApiRequest(
        method=event.get("httpMethod", "GET"),
        path=path.rstrip("/") or "/",
        headers=headers,
        body=_body(event),
        request_id=(event.get("requestContext") or {}).get("requestId", ""),
        time_left=remaining() / 1000 if (remaining := getattr(context, "get_remaining_time_in_millis", None)) else None,
    )


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """By their names in lower case.  The router's own that came more than once, in whatever case, have all of their
    values: a demand must not be lost."""
    found, ours = dict[str, str](), dict[str, list[str]]()
    for name, value in (event.get("headers") or {}).items():
        if value is not None:
            found[low := name.lower()] = value
            ours.setdefault(low, []).append(value)
    several = dict[str, list[str]]()
    for name, values in (event.get("multiValueHeaders") or {}).items():
        several.setdefault(name.lower(), []).extend(values or ())
    for low in [low for low in found.keys() | several.keys() if low.startswith(OURS)]:
        values = max(ours.get(low, []), several.get(low, []), key=len)
        if values:
            found[low] = ", ".join(values)
    return found


def takes_pieces(event: object) -> bool:
    """Whether an event comes from a stage of the API that streams, so that its answer needs a prelude.

    The stage says so in its variable `stream` (infra/decisions/0011-a-stage-variable-says-how-to-answer.md).
    """
    variables = event.get("stageVariables") if isinstance(event, Mapping) else None
    return isinstance(variables, Mapping) and variables.get("stream") == "on"


def _body(event: Mapping[str, Any]) -> bytes | None:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        return None


@dataclass(slots=True)
class Answer:
    """One HTTP answer: a whole `body`, or `chunks` as they are produced.  `close` ends the work behind the chunks.

    `fault` is a bug of ours that is answered for: whoever can report one beside the answer does.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: Iterator[bytes] | None = None
    close: Callable[[], None] = field(default=lambda: None)
    fault: Exception | None = None

    def proxy(self) -> dict[str, Any]:
        """The answer as a proxy integration takes it whole; an answer in chunks is collected first.

        Chunks that break off are given as far as they came: whoever produced them has said so in the last one.  Raises
        what they raise where there was none.
        """
        body = self.body if self.chunks is None else _collected(self.chunks)
        return {
            "statusCode": self.status,
            "headers": self.headers,
            "body": body.decode("utf-8", "replace"),
            "isBase64Encoded": False,
        }


def filler(headers: Mapping[str, str]) -> tuple[float | None, bytes]:
    """What is sent into the silence of an answer in chunks: after so many seconds these bytes; None for never."""
    if headers.get("content-type", "").startswith(EVENT_STREAM):
        return PING_AFTER, PING
    return None, b""


def _collected(chunks: Iterator[bytes]) -> bytes:
    pieces: list[bytes] = []
    try:
        pieces.extend(chunks)
    except Exception:
        if not pieces:
            raise
    return b"".join(pieces)
