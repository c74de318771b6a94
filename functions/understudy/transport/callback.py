"""Answers to addresses that AWS hands out for one answer."""

from __future__ import annotations

import httpx

TIMEOUT = 10.0
TRIES = 3


def put(url: str, body: bytes) -> None:
    """PUT `body` there, up to three times.  Raises httpx.HTTPError."""
    # The address is signed for a request without a content type.
    transport = httpx.HTTPTransport(retries=TRIES - 1, trust_env=False)
    with httpx.Client(transport=transport, timeout=TIMEOUT, trust_env=False) as client:
        for left in reversed(range(TRIES)):
            answer = client.put(url, content=body, headers={"content-type": ""})
            if answer.status_code < 500 or not left:
                break
        answer.raise_for_status()
