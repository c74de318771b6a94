"""One request on its way through the data plane: what was asked, decided and done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from understudy.catalog import Limits, Route
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.facts import Constraints
from understudy.keys import ClientKey
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision
from understudy.services.shadow import Shadow


@dataclass(slots=True)
class Answered:
    """Status, headers, and a body that is whole or comes in pieces; `fault` is a bug of ours that is answered for."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncGenerator[bytes, None]
    fault: Exception | None = None


@dataclass(slots=True)
class Handling:
    """One request on its way.

    `front` is the path of the API that its caller speaks, `bound` the owners of what only they can read again,
    `constraints` what the route, the key and the request demand together, `digest` a number by which the same request
    is known again, `recorded` whether the audit has it.
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
    recorded: bool = False

    @property
    def model(self) -> str:
        """The model of the target that is answering; empty before one does."""
        answering = self.journal.answering
        return answering.target.model if answering else ""


@dataclass(slots=True)
class Asked:
    """What is known of a request so far, for the case that it is turned away; `key_hash` of the key that it brought."""

    id: str
    front: str
    key_hash: str = ""
    client: ClientKey | None = None
    route: str = ""
    version: int | None = None
    constraints: Constraints | None = None
    handling: Handling | None = None
