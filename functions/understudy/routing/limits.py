"""What one attempt may take: the wait for its first token, its slowest pace, and its dearest cost."""

from __future__ import annotations

from decimal import Decimal

from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.chat.usage import Usage
from understudy.errors import OutOfTime, Silent
from understudy.health.latency import KNOWN, Histogram, quantile, weight
from understudy.pricing.cost import cost

PATIENT, LATE = 0.99, 0.95
"""Quantiles of a target's times: the first sets limits, later than the second a hedge starts."""
TOLERANCE = 3.0
"""A token may take this many times the target's own recent p99."""
READING = 5000.0
"""Tokens of prompt for which a second is added: what is known of a target was mostly learned on short prompts, and
served models read several thousand tokens a second."""
CHARACTERS = 4
"""Characters of a token, as the providers' own guides estimate English text."""
ASSUMED_OUTPUT = 4096
"""Tokens of an answer that nothing bounds, where its cost must be estimated."""


def first_token_limit(target: Target, limits: Limits, seen: Histogram, size: int) -> float:
    """Seconds to wait for a first token, by those `seen` of the target; `size` is the prompt's characters."""
    least, most = limits.first_token_min, limits.first_token
    if target.capabilities.reasoning or not target.capabilities.streaming:
        least, most = most, max(most, limits.first_token_reasoning)
    return _adapted(seen, least, most) + reading(size)


def reading(size: int) -> float:
    """Seconds allowed for reading a prompt of so many characters."""
    return size / CHARACTERS / READING


def stall_limit(limits: Limits, seen: Histogram) -> float:
    """Seconds to wait for the next token, by the longest silences `seen` inside the target's answers."""
    return _adapted(seen, limits.stall_min, limits.stall)


def hedge_delay(seen: Histogram) -> float | None:
    """Seconds after which a first token is later than most; None while that is not known."""
    return quantile(seen, LATE) if weight(seen) >= KNOWN else None


def _adapted(seen: Histogram, least: float, most: float) -> float:
    """Three times the p99, within bounds; twice the lower bound at least while the distribution is hardly known."""
    p99 = quantile(seen, PATIENT)
    if p99 is None:
        return most
    return min(most, max(least if weight(seen) >= KNOWN else 2 * least, TOLERANCE * p99))


def tokens(chunk: Chunk) -> float:
    """About how many tokens a chunk brings: at least one where it says anything."""
    return max(1.0, len(chunk.text) / CHARACTERS) if chunk.has_content else 0.0


class Pace:
    """Whether an answer comes too slowly: fewer than `least` tokens a second over the last `window` seconds, looked at
    every half window.

    Only the time spent waiting for the target counts, so that a caller who reads slowly does not make it look slow.
    """

    def __init__(self, least: float, window: float) -> None:
        self._least = least * window
        self._half = window / 2
        self._waited = 0.0
        self._brought = 0.0
        self._before: float | None = None
        """What the half window before this one brought; None in the first."""

    def too_slow(self, waited: float, brought: float) -> bool:
        """Note tokens that came after `waited` seconds more."""
        self._waited += waited
        self._brought += brought
        if self._waited < self._half:
            return False
        slow = self._before is not None and self._before + self._brought < self._least
        self._before, self._waited, self._brought = self._brought, 0.0, 0.0
        return slow


class Watch:
    """How long one attempt may be silent; all moments are of one clock.

    `limit` is that of the first token, `stall` that of every other.  `share`: the most that a first token may take of
    what the request has left (None: all of it), so that a deadline leaves time for another target.  Then the target is
    not to blame.
    """

    def __init__(
        self, limit: float, stall: float, started_at: float, deadline: float, request: float, share: float | None
    ) -> None:
        self._limit = limit
        self._stall = stall
        self._request = request
        self._deadline = deadline
        self._hurried = share is not None and share < limit
        self._spoke = False
        due = started_at + (share if share is not None and self._hurried else limit)
        self._share = due - started_at
        self.until = min(due, deadline)

    def spoken(self, now: float) -> float:
        """The target has said something; from here on its silence is a stall.  Returns the new `until`."""
        self._spoke = True
        self.until = min(now + self._stall, self._deadline)
        return self.until

    def silence(self) -> Silent:
        """What it means that nothing came until `until`."""
        if self.until >= self._deadline:
            return OutOfTime(f"the deadline of the whole request, {self._request:g} s, was reached")
        if self._spoke:
            return Silent(f"silent for {self._stall:.3g} s in the middle of its answer")
        if self._hurried:
            return OutOfTime(f"no first token within the {self._share:.2g} s that the request's deadline leaves it")
        return Silent(f"no first token within {self._limit:.3g} s")


def estimated_usage(request: ChatRequest | UnaryRequest, received: float) -> Usage:
    """The tokens of a call whose counts never came: the prompt's length, and the tokens that arrived; none where all
    that is asked for is a count, which nobody bills."""
    if isinstance(request, UnaryRequest) and request.operation == "count_tokens":
        return Usage()
    return Usage(prompt_tokens=-(-request.size // CHARACTERS), completion_tokens=round(received))


def dearest(request: ChatRequest | UnaryRequest, target: Target) -> Decimal | None:
    """US dollars that a call may cost at most, by estimate; None where the target's price is not known.

    An answer is as long as the request allows, else as the target declares, else ASSUMED_OUTPUT tokens.
    """
    longest = request.max_output_tokens
    if longest is None:
        longest = target.capabilities.max_output_tokens or ASSUMED_OUTPUT
    usage = estimated_usage(request, longest * request.choices)
    # A price that is announced counts already: a request must not become dearer than it may at midnight.
    prices = [price for price in (target.price, *target.price_changes) if price is not None]
    return max((cost(usage, price) or Decimal(0) for price in prices), default=None)
