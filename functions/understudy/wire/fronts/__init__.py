"""The APIs that callers speak: one file each, pure.  `FRONTS` is the only registry."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.wire.fronts.base import Front
from understudy.wire.fronts.chat import ChatFront
from understudy.wire.fronts.embeddings import EmbeddingsFront
from understudy.wire.fronts.messages import VERSION_HEADER, CountFront, MessagesFront
from understudy.wire.fronts.responses import ResponsesFront

_CHAT = ChatFront()
_MESSAGES = MessagesFront()
FRONTS: Mapping[str, Front] = {
    "/chat/completions": _CHAT,
    "/embeddings": EmbeddingsFront(),
    "/messages": _MESSAGES,
    "/messages/count_tokens": CountFront(),
    "/responses": ResponsesFront(),
}
"""By path."""


def front_of(path: str, headers: Mapping[str, str]) -> Front:
    """The API that a request speaks, whatever it asks for, so that its errors can be read by who sent it."""
    if path in FRONTS:
        return FRONTS[path]
    return _MESSAGES if path.startswith("/messages/") or VERSION_HEADER in headers else _CHAT
