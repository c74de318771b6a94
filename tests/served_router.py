"""One router behind a loopback port, for clients that speak HTTP themselves: the local stack's front before it, the
table in memory behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.local.front import Front
from tests.one_router import Router
from understudy.runtime.gateway import Answer, api_request, filler
from understudy.runtime.loop import LoopThread


@contextmanager
def served(document: str) -> Iterator[tuple[str, Router]]:
    """The base URL, without the version, and the router."""
    loop = LoopThread()

    async def made() -> Router:
        return Router(document)

    router = loop.run(made())

    def handler(event: Any, context: Any) -> Answer:
        answered = loop.run(router.service.answer(api_request(event, context)), getattr(context, "on_start", None))
        if isinstance(answered.body, bytes):
            return Answer(answered.status, answered.headers, answered.body, fault=answered.fault)
        chunks, close = loop.iterate(answered.body, *filler(answered.headers))
        return Answer(answered.status, answered.headers, chunks=chunks, close=close)

    front = Front(("127.0.0.1", 0), handler, (("GET", "/{proxy+}"), ("POST", "/{proxy+}")), {}, lambda *_: (404, {}))
    front.start()
    try:
        yield front.url, router
    finally:
        front.shutdown()
        front.server_close()
        loop.run(router.transport.close())
        loop.stop()
