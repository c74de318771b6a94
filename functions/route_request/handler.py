"""The data plane.

Trigger: API Gateway REST proxy, every path.  Reads: control document, health, client keys (one batch read, cached 2 s).
Writes: observations; the health item of a target whose breaker it opens; use, money and incidents of limited keys.
Time: 900 s; 30 s without streaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.runtime.gateway import Answer, api_request, filler, takes_pieces
from understudy.runtime.loop import LoopThread
from understudy.runtime.snapshot import register
from understudy.services.route_request import RouteRequest
from understudy.settings import settings


@cache
def loop() -> LoopThread:
    return LoopThread()


@cache
def service() -> RouteRequest:
    """Built on the loop, once for each execution environment."""

    async def build() -> RouteRequest:
        return bootstrap.route_request(settings())

    return loop().run(build())


# What the runtime loop does before the first event: an environment that is kept ready has it behind it then.
ready = register(service, loop, bootstrap.prepare, bootstrap.renew)


def handler(event: Mapping[str, Any], context: object) -> Answer | dict[str, Any]:
    """An `Answer` where the API takes it in pieces, else the proxy integration's dictionary."""
    answer = _answer(event, context)
    return answer if takes_pieces(event) else answer.proxy()


def _answer(event: Mapping[str, Any], context: object) -> Answer:
    # A front that can tell when its caller has left says so through its context; Lambda's own has no such thing.
    answered = loop().run(service().answer(api_request(event, context)), getattr(context, "on_start", None))
    if isinstance(answered.body, bytes):
        return Answer(answered.status, answered.headers, answered.body, fault=answered.fault)
    chunks, close = loop().iterate(answered.body, *filler(answered.headers))
    return Answer(answered.status, answered.headers, chunks=chunks, close=close)
