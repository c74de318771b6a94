"""The APIs that callers speak: one file each, pure.  `FRONTS` is the only registry."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.wire.fronts.base import Front
from understudy.wire.fronts.chat import ChatFront
from understudy.wire.fronts.embeddings import EmbeddingsFront
from understudy.wire.fronts.responses import ResponsesFront

_CHAT = ChatFront()
FRONTS: Mapping[str, Front] = {
    "/chat/completions": _CHAT,
    "/embeddings": EmbeddingsFront(),
    "/responses": ResponsesFront(),
}
"""By path."""


def front_of(path: str, headers: Mapping[str, str]) -> Front:  # noqa: ARG001
    """The API that a request speaks, whatever it asks for, so that its errors can be read by who sent it."""
    return FRONTS.get(path, _CHAT)
