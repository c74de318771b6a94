"""One request on its way through the data plane: what was asked, decided and done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.catalog import Limits, Route
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.facts import Constraints
from understudy.keys import ClientKey
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision
from understudy.services.allowance import Ticket
from understudy.services.shadow import Shadow


@dataclass(slots=True)
class Answered:
    """Status, headers, and a body that is whole or comes in pieces; `fault` is a bug of ours that is answered for."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncGenerator[bytes, None]
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the PII guard did about a request: how often it found each kind, never a value; how many parts nobody could
    read; why the rest was not looked at, where `incomplete` says so; in how many milliseconds."""

    mode: str
    kinds: Mapping[str, int]
    unread: int = 0
    incomplete: str = ""
    ms: float = 0.0

    def fields(self) -> dict[str, Any]:
        """As a field of the decision's log line and of the audit record."""
        told = {"mode": self.mode, "kinds": dict(self.kinds), "unread": self.unread, "ms": self.ms}
        return told | {"incomplete": self.incomplete} if self.incomplete else told


@dataclass(slots=True)
class Handling:
    """One request on its way.

    `front` is the path of the API that its caller speaks, `bound` the owners of what only they can read again,
    `constraints` what the route, the key and the request demand together, `digest` a number by which the same request
    is known again, `ticket` what it counts for where its key has limits.  `request` is the only form in which anything
    here knows what was asked: where the route redacts personal data, the redacted one; `pii` is what was found, None
    where nobody looked.
    """

    id: str
    front: str
    client: ClientKey
    request: ChatRequest | UnaryRequest
    route: Route
    decision: Decision
    bound: frozenset[str]
    journal: Journal
    version: int
    limits: Limits
    constraints: Constraints
    started_at: float
    committed_at: float | None = None
    digest: int = 0
    shadow: Shadow | None = None
    ticket: Ticket | None = None
    pii: Guarded | None = None

    @property
    def found(self) -> Mapping[str, int] | None:
        """How often each kind of personal data was found in it; None where nobody looked."""
        return self.pii.kinds if self.pii else None

    @property
    def time_to_commit_ms(self) -> float | None:
        """None before the caller was given anything."""
        committed = self.committed_at
        return None if committed is None else round((committed - self.started_at) * 1000, 1)

    @property
    def model(self) -> str:
        """The model of the target that is answering; empty before one does."""
        answering = self.journal.answering
        return answering.target.model if answering else ""
