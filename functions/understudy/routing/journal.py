"""What happened to one request: its attempts, in order, for the decision log and the answer's headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from understudy.catalog import Target
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed


@dataclass(slots=True)
class Attempt:
    """One upstream call.  Times in seconds; `outcome` is "ok", "cancelled" or the failure's kind."""

    target: Target
    started_at: float
    outcome: str = "cancelled"
    detail: str = ""
    status: int | None = None
    first_token: float | None = None
    seconds: float = 0.0
    usage: Usage | None = None
    model: str = ""

    def failed(self, failure: AttemptFailed) -> None:
        self.outcome, self.detail, self.status = failure.kind, failure.message, failure.status

    def fields(self) -> dict[str, Any]:
        """The attempt as fields of a log line."""
        return {
            "target": self.target.name,
            "outcome": self.outcome,
            "detail": self.detail,
            "status": self.status,
            "first_token_ms": None if self.first_token is None else round(self.first_token * 1000, 1),
            "ms": round(self.seconds * 1000, 1),
        }


@dataclass(slots=True)
class Journal:
    """The attempts of one request; the last one is the one that answered, if any did."""

    attempts: list[Attempt] = field(default_factory=list)

    def begin(self, target: Target, now: float) -> Attempt:
        attempt = Attempt(target, now)
        self.attempts.append(attempt)
        return attempt

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None
