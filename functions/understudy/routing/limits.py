"""What one attempt may take: the wait for its first token, its slowest pace, and its dearest cost."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.usage import Usage
from understudy.errors import OutOfTime, Silent
from understudy.pricing.cost import cost

TOLERANCE = 3.0
"""A first token may take this many times the target's own recent p99."""
READING = 5000.0
"""Tokens of prompt for which a second is added: what is known of a target was mostly learned on short prompts, and
served models read several thousand tokens a second."""
CHARACTERS = 4
"""Characters of a token, as the providers' own guides estimate English text."""
ASSUMED_OUTPUT = 4096
"""Tokens of an answer that nothing bounds, where its cost must be estimated."""


def first_token_limit(target: Target, limits: Limits, p99: float | None, size: int) -> float:
    """Seconds to wait for a first token.  `p99` is the target's own, None while unknown; `size` the prompt's
    characters."""
    least, most = min(limits.first_token_min, limits.first_token), limits.first_token
    if target.capabilities.reasoning or not target.capabilities.streaming:
        least, most = most, max(most, limits.first_token_reasoning)
    known = most if p99 is None else min(most, max(least, TOLERANCE * p99))
    return known + size / CHARACTERS / READING


def tokens(chunk: Chunk) -> float:
    """About how many tokens a chunk brings: at least one where it says anything."""
    return max(1.0, len(chunk.text) / CHARACTERS) if chunk.has_content else 0.0


class Pace:
    """Whether an answer comes too slowly: fewer than `least` tokens a second over the last `window` seconds.

    Times are seconds spent waiting for the target, so that a caller who reads slowly does not make it look slow.
    """

    def __init__(self, least: float, window: float) -> None:
        self._least = least * window
        self._window = window
        self._seen: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def too_slow(self, waited: float, brought: float) -> bool:
        """Note tokens that came after `waited` seconds."""
        self._seen.append((waited, brought))
        self._total += brought
        begun = False
        while self._seen[0][0] < waited - self._window:
            self._total -= self._seen.popleft()[1]
            begun = True
        return begun and self._total < self._least


class Watch:
    """How long one attempt may be silent; all moments are of one clock.

    `share`: the most that a first token may take of what the request has left (None: all of it), so that a deadline
    leaves time for another target.  Then the target is not to blame.
    """

    def __init__(self, limit: float, started_at: float, deadline: float, limits: Limits, share: float | None) -> None:
        self._limit = limit
        self._limits = limits
        self._deadline = deadline
        self._hurried = share is not None and share < limit
        self._spoke = False
        due = started_at + (share if share is not None and self._hurried else limit)
        self._share = due - started_at
        self.until = min(due, deadline)

    def spoken(self, now: float) -> None:
        """The target has said something; from here on its silence is a stall."""
        self._spoke = True
        self.until = min(now + self._limits.stall, self._deadline)

    def silence(self) -> Silent:
        """What it means that nothing came until `until`."""
        if self.until >= self._deadline:
            return OutOfTime(f"the deadline of the whole request, {self._limits.request:g} s, was reached")
        if self._spoke:
            return Silent(f"silent for {self._limits.stall:g} s in the middle of its answer")
        if self._hurried:
            return OutOfTime(f"no first token within the {self._share:.2g} s that the request's deadline leaves it")
        return Silent(f"no first token within {self._limit:.3g} s")


def estimated_usage(request: ChatRequest, received: float) -> Usage:
    """The tokens of a call whose counts never came: the prompt's length, and the tokens that arrived."""
    return Usage(prompt_tokens=-(-request.size // CHARACTERS), completion_tokens=round(received))


def dearest(request: ChatRequest, target: Target) -> Decimal | None:
    """US dollars that a call may cost at most, by estimate; None where the target's price is not known.

    An answer is as long as the request allows, else as the target declares, else ASSUMED_OUTPUT tokens.
    """
    longest = request.max_output_tokens or target.capabilities.max_output_tokens or ASSUMED_OUTPUT
    choices = request.choices
    return cost(Usage(-(-request.size // CHARACTERS), longest * choices), target.price)
