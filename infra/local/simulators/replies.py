"""What a simulator is about to send, as a value, so that a fault is a function from one reply to another."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["frame", "token", "stop", "end"]
Ending = Literal["clean", "close", "hang", "reset"]


@dataclass(frozen=True)
class Piece:
    """One write: a server-sent event, or the whole body of a reply that is not streamed.

    `token` carries a part of the answer, `stop` the stop reason (and the usage), `end` the closing
    marker of the wire, `frame` everything that stands around them.
    """

    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Reply:
    """One HTTP answer, with the ways in which it may go wrong.

    `length` is the declared content-length (None: chunked). `ending` says what happens after the last
    piece, `silent` that not even the status line is sent. `wait` (seconds) comes before the first token of
    a stream, before the status line of anything else; `pace` (seconds; None: the provider's usual one) before
    every other token of a stream.
    """

    status: int
    content_type: str
    pieces: tuple[Piece, ...]
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = "clean"
    silent: bool = False
    wait: float = 0.0
    pace: float | None = None

    @property
    def streamed(self) -> bool:
        return self.length is None


class RejectedError(Exception):
    """The request is one that the real provider refuses; carries its answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"refused with HTTP {reply.status}")
        self.reply = reply


def dump(value: Any) -> bytes:
    """Compact JSON, as the providers send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def whole(status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply that is not streamed."""
    return Reply(status, content_type, (Piece("token", body),), length=len(body), headers=headers or {})


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return whole(status, "application/json", dump(body), headers)


def stream_reply(pieces: Sequence[Piece], headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(200, "text/event-stream; charset=utf-8", tuple(pieces), headers=headers or {})


def body_of(reply: Reply) -> bytes:
    return b"".join(piece.data for piece in reply.pieces)


def halfway(reply: Reply) -> int:
    """Index of the piece after which half of the answer's tokens (at least one) have been sent."""
    tokens = [index for index, piece in enumerate(reply.pieces) if piece.kind == "token"]
    return tokens[max(1, len(tokens) // 2) - 1] if tokens else 0


def first_half(reply: Reply) -> Reply:
    """The reply cut in the middle; a declared content-length stays the one of the whole body."""
    if reply.streamed:
        return replace(reply, pieces=reply.pieces[: halfway(reply) + 1])
    body = body_of(reply)
    return replace(reply, pieces=(Piece("token", body[: len(body) // 2]),))
