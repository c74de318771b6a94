"""What a request brings beside its question: the caller's key, its body's coding, its own limits."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from decimal import Decimal

from understudy.catalog import Limits
from understudy.errors import InvalidRequest, RequestTooLarge, Unauthenticated, UnsupportedEncoding
from understudy.runtime.gateway import ApiRequest

BODY_LIMIT = 6 * 1024 * 1024
"""Bytes; the limit of a synchronous Lambda invocation (AWS Lambda developer guide, "Lambda quotas")."""
COMPRESSED = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "deflate": b"\x78"}
"""Content codings that are read, and how their bytes begin (RFC 1952, RFC 1950); no JSON begins so."""
RESERVE = 2.0
"""Seconds before the end of the invocation at which a request's own time is over."""
DEADLINE_HEADER = "x-understudy-deadline-ms"
MAX_COST_HEADER = "x-understudy-max-cost"


def tightened(limits: Limits, request: ApiRequest) -> Limits:
    """The route's limits, as far as the request and its invocation leave them.

    A caller may only tighten them; an invocation must be left time to say that its time is over.  Raises
    InvalidRequest where a header is not what it should be.
    """
    times, money = [limits.request], [] if limits.max_cost is None else [limits.max_cost]
    if request.time_left is not None:
        times.append(max(0.0, request.time_left - RESERVE))
    if (given := request.headers.get(DEADLINE_HEADER)) is not None:
        if not re.fullmatch(r"[1-9][0-9]{0,8}", given):
            raise InvalidRequest(f"`{DEADLINE_HEADER}` must be milliseconds, such as 2500.", param=DEADLINE_HEADER)
        times.append(int(given) / 1000)
    if (given := request.headers.get(MAX_COST_HEADER)) is not None:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", given, re.ASCII) or not Decimal(given):
            raise InvalidRequest(f"`{MAX_COST_HEADER}` must be US dollars, such as 0.02.", param=MAX_COST_HEADER)
        money.append(Decimal(given))
    return replace(limits, request=min(times), max_cost=min(money, default=None))


def body_of(request: ApiRequest) -> bytes:
    """The body as it was before it was compressed.  Raises RequestTooLarge, UnsupportedEncoding, InvalidRequest.

    API Gateway decompresses what it can (developer guide, "Call an API method with a compressed payload") and may leave
    the header as it was, so it is the bytes that say whether there is something to be done.
    """
    coding, body = request.headers.get("content-encoding", "").strip().lower(), request.body
    if coding not in ("", "identity", *COMPRESSED):
        raise UnsupportedEncoding("The body is compressed in a way that is not known here: use gzip, deflate or none.")
    if body is None:
        raise InvalidRequest("The body could not be decoded.")
    if coding in COMPRESSED and body.startswith(COMPRESSED[coding]):
        body = _decompressed(body)
    if len(body) > BODY_LIMIT:
        raise RequestTooLarge(f"The body is larger than {BODY_LIMIT} bytes, which is the limit.")
    return body


def _decompressed(body: bytes) -> bytes:
    """Of a larger body no more than shows that it is too large."""
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # tells the two formats apart by itself
    try:
        whole = inflating.decompress(body, BODY_LIMIT + 1)
    except zlib.error as error:
        raise InvalidRequest("The body could not be decompressed.") from error
    if not inflating.eof and len(whole) <= BODY_LIMIT:
        raise InvalidRequest("The compressed body breaks off.")
    return whole


def caller_key(request: ApiRequest) -> str:
    """The caller's key, in the header of either family of clients.  Raises Unauthenticated where there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    if key := request.headers.get("x-api-key", "").strip():
        return key
    raise Unauthenticated("Send your API key in the header `Authorization: Bearer KEY` (or `x-api-key: KEY`).")
