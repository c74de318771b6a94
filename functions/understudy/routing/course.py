"""One request under way: who is left to be asked, what was tried, what may still be spent, what the caller has.

The rules of who is asked next are here, without a clock or a network; understudy.routing.attempts carries them out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import (
    AttemptFailed,
    CallerFault,
    Cause,
    ContextTooLong,
    Credential,
    Diverged,
    Garbage,
    NoTargetAnswered,
    OverBudget,
    Refusal,
    StreamBroken,
    UnderstudyError,
)
from understudy.health.standing import Standing
from understudy.routing.journal import Attempt, Journal
from understudy.routing.limits import CHARACTERS, Watch, dearest
from understudy.routing.policy import Decision, Ranked
from understudy.routing.resume import Delivered, How, Resumption, Seam, continued, labelled

KEY_REFUSED = frozenset({401, 402, 429})
"""Statuses of a Credential failure that speak of the key itself, not of one model."""


@dataclass(slots=True)
class Turn:
    """A candidate's turn to be asked: `how`, how it may be asked instead (`otherwise`), how often it was already."""

    ranked: Ranked
    how: How = "fresh"
    otherwise: tuple[How, ...] = ()
    tries: int = 0
    hedge: bool = False
    attempt: Attempt | None = None

    @property
    def target(self) -> Target:
        return self.ranked.target


class TurnFailed(Exception):
    """A turn that brought no whole answer, and why."""

    def __init__(self, turn: Turn, failure: AttemptFailed | Diverged) -> None:
        super().__init__(str(failure))
        self.turn = turn
        self.failure = failure


@dataclass(slots=True)
class Course:
    """See the module.  `deadline` is a moment of the event loop's clock."""

    request: ChatRequest | UnaryRequest
    decision: Decision
    limits: Limits
    journal: Journal
    deadline: float
    _left: deque[Turn] = field(default_factory=deque)
    _causes: list[Cause] = field(default_factory=list)
    _last: AttemptFailed | None = None
    _broken: StreamBroken | None = None
    _window: int | None = None
    _refused: set[str] = field(default_factory=set)
    _returned: bool = False

    def __post_init__(self) -> None:
        self._left.extend(Turn(ranked) for ranked in self.decision.candidates)
        self._causes += [*self.decision.denied, *self.decision.unfit, *self.decision.held]

    @property
    def delivered(self) -> Delivered:
        return self.journal.delivered

    # who is next

    def pop(self) -> Turn | None:
        """The next in line; once the caller has text, with the ways in which it may be asked to go on."""
        if not self._left:
            return None
        turn = self._left.popleft()
        if self.delivered.begun and turn.how == "fresh":
            turn.how, *otherwise = self._hows(turn.target)
            turn.otherwise = tuple(otherwise)
        return turn

    def put_last(self, turn: Turn, standing: Standing) -> bool:
        """Whether the candidate has left the rotation since the decision; then it is a last resort from now on."""
        ranked = turn.ranked
        if standing.share > 0 or ranked.last_resort or ranked.probe or turn.tries or self._asked(turn.target):
            return False
        self._left.append(replace(turn, ranked=replace(ranked, last_resort=True)))
        self.journal.skipped.append(Cause(turn.target.name, f"put last: {standing.reason}"))
        return True

    def barred(self, turn: Turn, now: float) -> str | None:
        """Why this candidate is not asked now, or None."""
        limits, ranked = self.limits, turn.ranked
        if len(self.journal.attempts) >= limits.attempts_per_request:
            return f"not tried: {limits.attempts_per_request} attempts were made"
        if now >= self.deadline:
            return f"not tried: the deadline of {limits.request:g} s was reached"
        if self._window is not None and (turn.target.capabilities.context_window or 0) <= self._window:
            return "not tried: it declares no larger context window"
        if turn.target.provider.name in self._refused:
            return "not tried: its provider refused the same credential"
        if ranked.last_resort and self._asked(turn.target):
            return "not tried again"
        return self._too_dear(turn.target)

    def skip(self, turn: Turn, reason: str) -> None:
        """Note that a candidate was passed over."""
        cause = Cause(turn.target.name, reason)
        self.journal.skipped.append(cause)
        self._causes.append(cause)

    @property
    def alternatives(self) -> bool:
        """Whether somebody else in the rotation is left to be asked."""
        return any(not turn.ranked.last_resort for turn in self._left)

    def may_retry(self, turn: Turn, failure: AttemptFailed) -> bool:
        """Whether the same target may be asked again right away, as far as the limits go."""
        return (
            turn.tries < min(failure.retries, self.limits.retries_per_target)
            and not (turn.ranked.last_resort or turn.ranked.probe)
            and len(self.journal.attempts) < self.limits.attempts_per_request
            and not self._gave(turn)
        )

    def may_hedge(self, turn: Turn) -> bool:
        """Whether the next may be asked beside this one.  Who is too dear beside it may be asked after it."""
        if not self._left or not self.decision.hedge or self.delivered.begun:
            return False
        other = self._left[0]
        special = any(one.ranked.last_resort or one.ranked.probe for one in (turn, other))
        return not special and self._too_dear(other.target) is None

    def again(self, turn: Turn) -> None:
        """The same target is next, in the same way."""
        self._left.appendleft(replace(turn, tries=turn.tries + 1))

    def put_back(self, turn: Turn) -> None:
        """A turn that was broken off by us, not by its target, may be tried after all others."""
        self._left.append(Turn(turn.ranked))

    def move_on(self, turn: Turn, failure: AttemptFailed | Diverged) -> None:
        """What a failure means for who is next.  Raises it where it is to be given back to the caller."""
        cause = _cause(turn.target, failure)
        if self.delivered.begun:
            self._after_commit(turn, failure, cause)
            return
        self._causes.append(cause)
        if isinstance(failure, Diverged):
            return
        self._last = failure
        if isinstance(failure, ContextTooLong):
            self._window = turn.target.capabilities.context_window or 0
        elif isinstance(failure, Credential) and failure.status in KEY_REFUSED:
            self._refused.add(turn.target.provider.name)
        elif not failure.fails_over and not (isinstance(failure, Refusal) and self.decision.reroute_refusals):
            raise failure

    def _after_commit(self, turn: Turn, failure: AttemptFailed | Diverged, cause: Cause) -> None:
        """The first failure stays the one that is told, whatever those who were to go on with the answer said.

        Raises it where nobody may go on: a refusal is not routed around in the middle of an answer either.
        """
        if self._broken is None and isinstance(failure, AttemptFailed):
            self._broken = StreamBroken(turn.target.name, failure)
            self._causes.clear()
        else:
            self._causes.append(cause)
        if isinstance(failure, Refusal) and not self.decision.reroute_refusals:
            raise self.verdict()
        if self.delivered.opaque:
            # What a provider's own tool did, or spoken words: nobody else can go on from there.
            raise self.verdict()
        # A refused prefix says nothing against the same target's answering anew.
        if turn.otherwise and isinstance(failure, Diverged | CallerFault | Refusal):
            self._left.appendleft(Turn(turn.ranked, turn.otherwise[0], turn.otherwise[1:]))
        elif self._gave(turn) and isinstance(failure, AttemptFailed) and failure.retries and not self._returned:
            # It may have been a blip: once, after all others, whoever began the answer may be asked for it again.
            self._returned = True
            self._left.append(Turn(turn.ranked))

    def verdict(self) -> UnderstudyError:
        """What the caller is told when nobody is left."""
        if self._broken is not None:
            return StreamBroken(self._broken.target, self._broken.failure, self._causes)
        if isinstance(self._last, ContextTooLong | Refusal):
            return self._last
        if not self.journal.attempts and any(c.reason.startswith(TOO_DEAR) for c in self.journal.skipped):
            return OverBudget(f"No target of route {self.decision.route!r} fits the budget: {_listed(self._causes)}.")
        return NoTargetAnswered(self.decision.route, self._causes, self._last)

    # how it is asked

    def request_for(self, turn: Turn) -> ChatRequest | UnaryRequest:
        """The request as this turn sends it."""
        begun = continued(self.delivered) if turn.how in ("continuation", "user turn") else None
        if begun is None or isinstance(self.request, UnaryRequest):
            return self.request
        written = self.delivered.characters // CHARACTERS
        if turn.how == "continuation":
            return self.request.continuing(begun[0], turn.target.capabilities.prefill, written)
        return self.request.asking_to_go_on("".join(begun), written)

    def seam(self, turn: Turn) -> Seam | None:
        """What joins the turn's stream to the delivered text; None where nothing was delivered."""
        if turn.how == "fresh":
            return None
        if turn.how == "repetition":
            return Seam(self.delivered.texts, self.delivered.finished)
        begun = continued(self.delivered)
        return Seam({(0, "content"): begun[1]} if begun and turn.how == "continuation" else {})

    def watch(self, limit: float, stall: float, started_at: float) -> Watch:
        """The limits of one attempt; part of a short deadline is kept for those who come after it."""
        share = (self.deadline - started_at) / 2 if self.alternatives else None
        return Watch(limit, stall, started_at, self.deadline, self.limits.request, share)

    def check(self, reasons: Mapping[int, str], *, answered: bool, ended: bool = False) -> None:
        """Whether an answer whose choices have these stop reasons is one.  Raises Garbage or Refusal where it is not.

        `answered`: it said something, which thinking alone is not.
        """
        if not ended and len(reasons) < self.request.choices:
            return
        said = reasons.values()
        if not answered and "stop" in said:
            raise Garbage("the answer is empty")
        if "content_filter" in said and self.decision.reroute_refusals and not self.delivered.begun:
            raise Refusal("the provider's content filter ended the answer", code="content_filter")

    # what the caller gets

    def give(self, turn: Turn, chunk: Chunk) -> Chunk:
        """The chunk as it is given to the caller, who then has it."""
        journal = self.journal
        if journal.answering is not turn.attempt and turn.attempt is not None:
            if journal.answering is not None:
                source, at = journal.answering.target.name, self.delivered.characters
                journal.resumptions.append(Resumption(source, turn.target.name, at, turn.how))
            journal.answering = turn.attempt
        self.delivered.add(chunk)
        return labelled(chunk, journal.resumptions)

    # within

    def _hows(self, target: Target) -> list[How]:
        hows: list[How] = ["repetition"]
        if self.request.choices == 1 and continued(self.delivered):
            if target.capabilities.prefill != "none":
                hows.insert(0, "continuation")
            if self.decision.continue_in_user_turn:
                hows.append("user turn")
        return hows

    def _gave(self, turn: Turn) -> bool:
        return turn.attempt is not None and self.journal.answering is turn.attempt

    def _asked(self, target: Target) -> bool:
        return any(attempt.target.name == target.name for attempt in self.journal.attempts)

    def _too_dear(self, target: Target) -> str | None:
        """Why the request's budget does not allow a call to this target; attempts under way count at their dearest."""
        budget = self.limits.max_cost
        if budget is None:
            return None
        worst = dearest(self.request, target)
        if worst is None:
            return f"{TOO_DEAR}: its price is not known, and the request has a budget"
        under_way = [dearest(self.request, a.target) or Decimal(0) for a in self.journal.attempts if a.open]
        left = budget - self.journal.spent - sum(under_way, Decimal(0))
        return None if worst <= left else f"{TOO_DEAR}: it may cost ${worst:f}, and ${left:f} of the budget is left"


TOO_DEAR = "not tried for its cost"


def _cause(target: Target, failure: AttemptFailed | Diverged) -> Cause:
    if isinstance(failure, Diverged):
        return Cause(target.name, str(failure))
    kept = f"{failure.kind}: {failure.kept}" if failure.quoted else ""
    return Cause(target.name, f"{failure.kind}: {failure.message}", kept)


def _listed(causes: list[Cause]) -> str:
    return "; ".join(f"{cause.target}: {cause.reason}" for cause in causes)
