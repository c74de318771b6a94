"""What a wire protocol must be able to do.  A wire is pure: values in, values out, no clock, no network.

Each protocol is one implementation of `Wire`; the engine knows only this page.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Protocol

from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed


@dataclass(frozen=True, slots=True)
class Call:
    """What to send: a path below the provider's base URL, protocol headers, and a JSON body (UTF-8).

    `calls`: whether the answer may call tools.  False where the request forbids it and the protocol cannot: calls are
    left out of the answer then.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    calls: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its `event` name (may be empty) and its joined `data` lines."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a target departs from its protocol: see `understudy.catalog.Provider.rename` and `Capabilities`; `owner` is
    its mark on what only it can read again (understudy.chat.bound)."""

    owner: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    reasoning_control: str = "none"
    image_urls: bool = True


PLAIN = Quirks()


class Decoder(Protocol):
    """Turns the events of one streamed answer into chunks.  One object per answer; keeps what it must."""

    @property
    def complete(self) -> bool:
        """Whether the stop reason has arrived.  An end before that is a cut, however clean."""

    @property
    def ended(self) -> bool:
        """Whether the protocol's own end marker has arrived, so that nothing more will come."""

    def feed(self, event: Event) -> list[Chunk]:
        """Chunks of one event, often none.

        Raises ValueError on an event that cannot be read (the engine may skip one), AttemptFailed on an error
        that the provider reports in the stream.
        """


class UnaryWire(Protocol):
    """One operation of a protocol whose answer is one object: embeddings, the count of a prompt's tokens."""

    def call(self, request: UnaryRequest, *, model: str, quirks: Quirks = PLAIN) -> Call:
        """Translate a request.  Raises InvalidRequest naming what cannot be carried."""

    def chunk(self, request: UnaryRequest, body: Mapping[str, object]) -> Chunk:
        """The answer (`understudy.chat.unary.unary_chunk`).

        Raises ValueError on another shape, AttemptFailed on an error object sent with status 200.
        """

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        """As `Wire.failure`."""


class Wire(Protocol):
    """One provider protocol.  `protocol` is its name, as `understudy.chat.request.Native` has it."""

    @property
    def protocol(self) -> str: ...

    def cannot_carry(self, request: ChatRequest, quirks: Quirks = PLAIN) -> Set[str]:
        """Names of the request's fields that this protocol, or a target with these quirks, has no place for."""

    def call(
        self,
        request: ChatRequest,
        *,
        model: str,
        stream: bool,
        drop: Set[str],
        max_output_tokens: int | None,
        quirks: Quirks = PLAIN,
    ) -> Call:
        """Translate a request.  `drop` are fields the route agreed to lose; `max_output_tokens` the target's own."""

    def decoder(self, choices: int = 1, *, native: bool = False, owner: str = "") -> Decoder:
        """A fresh decoder for one streamed answer of so many choices.

        `native`: the caller speaks this protocol, so every chunk carries the events it was read from; an event that
        says nothing in the chat shape makes a chunk without choices then.  `owner` marks what only this target can
        read again (understudy.chat.bound).
        """

    def chunks(self, body: Mapping[str, object], *, native: bool = False, owner: str = "") -> list[Chunk]:
        """Chunks of a whole (non-streamed) answer.  Raises ValueError or AttemptFailed as `Decoder.feed` does."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
        """Classify an error answer (status >= 400) by the failure table.  Header names are lower case."""
