"""Every port the services need beside the store's, on one page.  Adapters satisfy them structurally; only bootstrap
knows which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from understudy.incidents.incident import Notice
from understudy.metrics import Measured
from understudy.pricing.ledger import Charge as Charge
from understudy.pricing.ledger import LedgerLine as LedgerLine
from understudy.pricing.ledger import Spent as Spent
from understudy.pricing.ledger import Token as Token
from understudy.wire.base import Event


class Clock(Protocol):
    def __call__(self) -> float:
        """Seconds since the epoch."""


class ProbeQueue(Protocol):
    def send(self, target: str, delay: float) -> None:
        """Ask for a recovery probe of `target` in `delay` seconds."""


CONFIRM_GAP = 30.0
"""Seconds between the beginnings of two runs that confirm an alarm of one stream, at least."""


class ConfirmQueue(Protocol):
    def send(self, target: str, stream: str) -> None:
        """Ask for a run of a golden set's questions in CONFIRM_GAP seconds, to confirm what a detector found there.

        It comes as one observation whose samples of that stream have a negative `run`.  One that is asked for twice
        within that time is bought once.
        """


AskKind = Literal["liveness", "quality", "drift", "confirm"]
"""What a message of the due queue asks for."""


@dataclass(frozen=True, slots=True)
class Due:
    """One target to be probed at `at` (epoch seconds), which is in `delay` whole seconds; `stream` is the golden set
    that is asked, where `ask` says that one is."""

    target: str
    at: float
    delay: int
    ask: AskKind = "liveness"
    stream: str = ""

    def plain(self) -> dict[str, Any]:
        """The body of its message."""
        plain: dict[str, Any] = {"target": self.target, "due": self.at}
        return plain if self.ask == "liveness" else plain | {"ask": self.ask, "set": self.stream}


class DueQueue(Protocol):
    def send(self, messages: Sequence[Due]) -> None:
        """Ask for these probes.  Raises QueueError where some could not be asked for; the others are."""


class AlertSink(Protocol):
    def send(self, notice: Notice) -> None: ...


@dataclass(frozen=True, slots=True)
class PiiFinding:
    """Where in a text something personal stands, and of which kind (`understudy.catalog.PII_KINDS`)."""

    kind: str
    start: int
    end: int


class PiiGuard(Protocol):
    """Looks for personal data; pure, and safe in several threads."""

    def find(self, text: str, kinds: Set[str], countries: Set[str]) -> Sequence[PiiFinding]:
        """In their order, none of them overlapping; see `understudy.catalog.PiiRules`."""


class Secrets(Protocol):
    async def value(self, reference: str) -> str:
        """The secret behind a reference.  Raises SecretError."""

    async def renewed(self, reference: str, refused: str) -> bool:
        """Whether there is another value now than the one a provider refused: then `value` gives it."""


class Signer(Protocol):
    """Signs calls with the router's own AWS credentials."""

    async def sign(
        self, service: str, region: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        """The headers to add to a POST; `headers` are those that the signature shall cover beside the host.

        Raises SecretError where there are no credentials.
        """

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """Whether there are other credentials now than those of a signature that was refused."""


class Framing(Protocol):
    """Cuts the bytes of one stream into its events; see `understudy.wire.sse.SseDecoder`."""

    def feed(self, read: bytes) -> list[Event]:
        """Events completed by these bytes.  Raises ValueError where they cannot be read."""

    def flush(self) -> list[Event]:
        """What was still open at the end of the body."""


class Reply(Protocol):
    """An open upstream answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]

    def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives.  Raises AttemptFailed on a broken connection."""


class Transport(Protocol):
    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AbstractAsyncContextManager[Reply]:
        """POST and wait for the answer's head.  Raises AttemptFailed; leaving the context closes the connection."""


class PageReader(Protocol):
    def get(self, url: str, headers: Mapping[str, str], *, connect: float) -> AbstractAsyncContextManager[Reply]:
        """GET and wait for the answer's head, without following redirects; otherwise as `Transport.send`."""


class Logger(Protocol):
    """One line a call.  `metrics` are counted by the same line: at most one `Measured` of each dimension."""

    def info(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None: ...

    def warning(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None: ...

    def exception(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        """With the exception that is being handled."""
