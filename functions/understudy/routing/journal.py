"""What happened to one request: its attempts, in order, for the decision log and the answer's headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from understudy.catalog import Target
from understudy.chat.usage import Usage
from understudy.errors import AttemptFailed, Cause
from understudy.prices import Price
from understudy.pricing.cost import cost, counted_at
from understudy.routing.resume import Delivered, How, Resumption


@dataclass(slots=True)
class Attempt:
    """One upstream call.  Times in seconds; `outcome` is "ok", "cancelled", "diverged" or the failure's kind.

    `how` it was asked; `hedge`: it was started beside another; `effect` is what its failure did to the target, in
    words, `hurt` whether it counts against the target's health; `received` counts the tokens that arrived, about;
    `open`: it is under way; `usage` is what the provider counted, or an estimate (`estimated`) where a call ended
    before the counts came; `model` and `fingerprint` are the version that its provider reports; `headers` are those of
    its answer that callers may see; `started_at` is of the event loop's clock, `priced_at` in epoch seconds.
    """

    target: Target
    started_at: float
    how: How = "fresh"
    hedge: bool = False
    outcome: str = "cancelled"
    detail: str = ""
    effect: str = ""
    hurt: bool = False
    status: int | None = None
    first_token: float | None = None
    longest_gap: float = 0.0
    seconds: float = 0.0
    received: float = 0.0
    usage: Usage | None = None
    estimated: bool = False
    open: bool = True
    model: str = ""
    fingerprint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    priced_at: float = 0.0

    def failed(self, failure: AttemptFailed) -> None:
        self.outcome, self.detail, self.status = failure.kind, failure.kept, failure.status
        self.hurt = failure.hurts_health

    def close(self, now: float, guess: Usage) -> None:
        """The attempt is over.  Where tokens were or may have been worked on and the counts never came, `guess` stands
        for them: a provider may bill for what it did, whoever broke off."""
        self.open = False
        self.seconds = now - self.started_at
        if self.usage is None and (self.received or self.outcome in ("ok", "silent", "out_of_time", "cancelled")):
            self.usage, self.estimated = guess, True
        elif self.usage is not None and self.outcome != "ok" and guess.completion_tokens > self.usage.completion_tokens:
            # Counts that came before the end say nothing of what was written since.
            self.usage, self.estimated = replace(self.usage, completion_tokens=guess.completion_tokens), True

    @property
    def version(self) -> str:
        """What the provider says answered: the model, with its fingerprint where it gives one; up to 200 characters."""
        return "/".join(filter(None, (self.model[:100], self.fingerprint[:99])))

    @property
    def cost(self) -> Decimal | None:
        """US dollars, at an assumed price where none is known; None where the tokens are not known."""
        return cost(self.usage, self.price)

    @property
    def price(self) -> Price:
        """What it is counted at: the target's price when the request began, else what is assumed."""
        return counted_at(self.target, self.priced_at)

    @property
    def guessed(self) -> bool:
        """Whether its cost rests on an estimate of its tokens, or of its price."""
        return self.estimated or self.price.assumed

    def fields(self) -> dict[str, Any]:
        """The attempt as fields of a log line."""
        spent = self.cost
        return {
            "target": self.target.name,
            "how": self.how,
            "hedge": self.hedge,
            "outcome": self.outcome,
            "detail": self.detail,
            "effect": self.effect,
            "status": self.status,
            "first_token_ms": None if self.first_token is None else round(self.first_token * 1000, 1),
            "ms": round(self.seconds * 1000, 1),
            "reported_model": self.model or None,
            "usage": self.usage.payload() if self.usage else None,
            "usage_estimated": self.estimated,
            "cost_usd": None if spent is None else str(spent),
            "cost_estimated": spent is not None and self.guessed,
        }


@dataclass(slots=True)
class Journal:
    """The attempts of one request, the candidates that were passed over, and where the answer changed hands.

    `at` is when it began, in epoch seconds, which says what its calls cost.  `answering` is the attempt whose answer
    the caller gets, as far as there is one; `delivered` what he has of it.
    """

    attempts: list[Attempt] = field(default_factory=list)
    skipped: list[Cause] = field(default_factory=list)
    resumptions: list[Resumption] = field(default_factory=list)
    answering: Attempt | None = None
    delivered: Delivered = field(default_factory=Delivered)
    at: float = 0.0

    def begin(self, target: Target, now: float, how: How = "fresh", *, hedge: bool = False) -> Attempt:
        attempt = Attempt(target, now, how, hedge, priced_at=self.at)
        self.attempts.append(attempt)
        return attempt

    @property
    def spent(self) -> Decimal:
        """US dollars of all attempts, as far as they are known."""
        return sum((attempt.cost or Decimal(0) for attempt in self.attempts), Decimal(0))
