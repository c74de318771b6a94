"""The failover engine: candidates in order, under one deadline and one budget, until one of them has answered.

What each failure class does is in its class (understudy.errors); this file only carries it out:

    retries       the same target again, after a jittered backoff or the wait the provider asked for
    fails_over    the next candidate
    neither       the failure is the caller's own and is given back as it is

Nothing is given to the caller before an attempt shows content (or, for `whole`, before it is complete), so every
failure until then is invisible.  After that the answer is resumed (understudy.routing.resume): the next candidate is
asked to continue it where it can, else for the same answer again, of which only what follows is delivered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Protocol

from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.compliance import Denied
from understudy.errors import AttemptFailed, CallerFault, Diverged, RateLimited, RequestError, Silent
from understudy.health.latency import Histogram
from understudy.health.standing import Standing
from understudy.routing.alarm import Alarm
from understudy.routing.course import Course, Turn, TurnFailed
from understudy.routing.hedge import Piece, Play, first_to_speak
from understudy.routing.journal import Attempt, Journal
from understudy.routing.limits import Pace, estimated_usage, first_token_limit, hedge_delay, stall_limit, tokens
from understudy.routing.policy import Decision, Judged
from understudy.routing.resume import Gate


class Ask(Protocol):
    def __call__(
        self, request: ChatRequest | UnaryRequest, target: Target, *, connect: float
    ) -> AsyncGenerator[Chunk, None]:
        """One upstream call: its chunks as they arrive.  Raises AttemptFailed; ends only after a stop reason."""


class Outcomes(Protocol):
    """Who is told how calls went, and knows how targets do."""

    def succeeded(self, target: Target, first_token: float, *, gap: float, seconds: float, probe: bool) -> None:
        """A good answer with its longest silence between tokens; the call began `seconds` ago."""

    def failed(self, target: Target, failure: AttemptFailed, *, seconds: float, probe: bool) -> str:
        """A call that began `seconds` ago failed.  Returns what it did to the target, in words; empty where nothing."""

    def standing(self, target: Target) -> Standing:
        """Whether the target may be given traffic now."""

    def alone(self, target: Target) -> bool:
        """Whether the failure told last stands alone: the call before it was good."""

    def first_tokens(self, target: Target) -> Histogram:
        """How long the target's recent first tokens took."""

    def gaps(self, target: Target) -> Histogram:
        """The longest silence inside each of its recent answers."""


Lease = Callable[[Target], Awaitable[bool]]


class Attempts:
    """One engine for every front.  Times come from the event loop's monotonic clock, in seconds."""

    def __init__(
        self,
        ask: Ask,
        outcomes: Outcomes,
        lease: Lease,
        *,
        judged: Judged,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`judged`: whether a target may see the request, asked again right before each call: a decision may be
        minutes old by then."""
        self._ask = ask
        self._outcomes = outcomes
        self._lease = lease
        self._judged = judged
        self._rng = rng
        self._sleep = sleep

    async def run(
        self, request: ChatRequest | UnaryRequest, decision: Decision, limits: Limits, journal: Journal, *, whole: bool
    ) -> AsyncGenerator[Chunk, None]:
        """The answer's chunks.

        Raises the AttemptFailed that is the caller's own, NoTargetAnswered with every cause, OverBudget, or
        StreamBroken where a failure came after the first chunk was given out and nobody could go on with the answer.
        """
        course = Course(request, decision, limits, journal, asyncio.get_running_loop().time() + limits.request)
        play = partial(self._turn, course=course, whole=whole)
        while (turn := await self._next(course)) is not None:
            try:
                async with aclosing(self._pieces(turn, course, play)) as pieces:
                    async for giver, chunk in pieces:
                        yield course.give(giver, chunk)
                return
            except TurnFailed as lost:
                await self._after(lost.turn, lost.failure, course)
        raise course.verdict()

    async def _next(self, course: Course, beside: Turn | None = None) -> Turn | None:
        """The next candidate that may be asked (`beside` another, who is at work); those passed over are noted with
        their reasons."""
        while (beside is None or course.may_hedge(beside)) and (turn := course.pop()) is not None:
            if isinstance(verdict := self._judged(turn.target), Denied):
                course.skip(turn, verdict.told)
                continue
            reason = course.barred(turn, asyncio.get_running_loop().time())
            if reason is None and course.put_last(turn, self._outcomes.standing(turn.target)):
                continue
            if reason is None and turn.ranked.probe and not await self._lease(turn.target):
                reason = "not probed: somebody else holds the lease"
            if reason is None:
                return turn
            course.skip(turn, reason)
        return None

    async def _after(self, turn: Turn, failure: AttemptFailed | Diverged, course: Course) -> None:
        """What follows a failed attempt: the same target again, or the next one.  Raises what is given back."""
        wait = self._wait(turn, failure, course) if isinstance(failure, AttemptFailed) else None
        if wait is not None:
            await self._sleep(wait)
            asked_to_wait = isinstance(failure, RateLimited)
            if asked_to_wait or self._outcomes.standing(turn.target).share > 0 or not course.alternatives:
                course.again(turn)
                return
        course.move_on(turn, failure)

    def _wait(self, turn: Turn, failure: AttemptFailed, course: Course) -> float | None:
        """Seconds until the same target is asked again, or None where it is not."""
        limits = course.limits
        if not course.may_retry(turn, failure):
            return None
        if isinstance(failure, RateLimited):
            wait = failure.retry_after if failure.retry_after is not None else limits.backoff
            if wait > limits.retry_after_cap:
                return None
        elif course.alternatives and not self._outcomes.alone(turn.target):
            # Calls before this one failed as well: it is no blip, and the caller's time is better spent elsewhere.
            return None
        else:
            wait = self._rng.uniform(0, limits.backoff * 2.0**turn.tries)
        return wait if asyncio.get_running_loop().time() + wait < course.deadline else None

    def _pieces(self, turn: Turn, course: Course, play: Play) -> AsyncGenerator[Piece, None]:
        """One turn; where the route hedges and its first token is late, with the next candidate beside it."""
        delay = hedge_delay(self._outcomes.first_tokens(turn.target)) if course.may_hedge(turn) else None
        if delay is None:
            return play(turn, _nobody)

        async def second() -> Turn | None:
            return await self._next(course, beside=turn)

        return first_to_speak(turn, play, delay, second, course)

    async def _turn(
        self, turn: Turn, spoke: Callable[[], None], *, course: Course, whole: bool
    ) -> AsyncGenerator[Piece, None]:
        """One attempt: its chunks as the caller may have them.  Raises TurnFailed."""
        clock = asyncio.get_running_loop().time
        request, seam, gate = course.request_for(turn), course.seam(turn), Gate(whole=whole)
        attempt = turn.attempt = course.journal.begin(turn.target, clock(), turn.how, hedge=turn.hedge)
        reasons: dict[int, str] = {}
        answered = turn.how == "continuation"  # It may have nothing to add.
        told = False
        try:
            async with aclosing(self._watched(request, turn.target, course, attempt)) as chunks:
                async for chunk in chunks:
                    if attempt.first_token is not None and not told:
                        told = True
                        spoke()
                    answered = answered or chunk.answers
                    if chunk.finish_reasons:
                        reasons.update(chunk.finish_reasons)
                        # Before the stop reason is given out, as far as all have come.
                        course.check(reasons, answered=answered)
                    fresh = chunk if seam is None else seam.feed(chunk)
                    if fresh is not None:
                        for ready in gate.feed(fresh, spoken=attempt.first_token is not None):
                            yield turn, ready
            course.check(reasons, answered=answered, ended=True)
            if seam is not None:
                seam.end()
            attempt.outcome = "ok"
        except AttemptFailed as failure:
            attempt.failed(failure)
            seconds = clock() - attempt.started_at
            attempt.effect = self._outcomes.failed(turn.target, failure, seconds=seconds, probe=turn.ranked.probe)
            raise TurnFailed(turn, failure) from failure
        except Diverged as difference:
            attempt.outcome, attempt.detail = "diverged", str(difference)
            raise TurnFailed(turn, difference) from difference
        finally:
            attempt.close(clock(), estimated_usage(request, attempt.received))
        first_token, probe = attempt.first_token or attempt.seconds, turn.ranked.probe
        self._outcomes.succeeded(
            turn.target, first_token, gap=attempt.longest_gap, seconds=attempt.seconds, probe=probe
        )
        for ready in gate.rest():
            yield turn, ready

    async def _watched(
        self, request: ChatRequest | UnaryRequest, target: Target, course: Course, attempt: Attempt
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of one call under the first-token, stall, pace and request limits."""
        clock, limits = asyncio.get_running_loop().time, course.limits
        first = first_token_limit(target, limits, self._outcomes.first_tokens(target), request.size)
        watch = course.watch(first, stall_limit(limits, self._outcomes.gaps(target)), attempt.started_at)
        pace, spoken = Pace(target.min_tokens_per_s, limits.stall), False
        finished: set[int] = set()
        call = self._ask(request, target, connect=limits.connect)
        async with aclosing(call) as chunks, Alarm(watch.until) as alarm:
            while True:
                began = clock()
                try:
                    chunk = await alarm.wait(chunks)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if len(finished) >= request.choices:
                        # The answer is whole; only its counts or its end marker are late.
                        return
                    raise watch.silence() from None
                except RequestError as refused:
                    if attempt.how == "fresh":
                        raise
                    # Not what the caller wrote cannot be carried, but what the router made of it.
                    raise CallerFault(refused.message) from refused
                now, brought = clock(), tokens(chunk)
                if brought and attempt.first_token is None:
                    attempt.first_token = now - attempt.started_at
                    attempt.fingerprint = chunk.fingerprint
                attempt.received += brought
                attempt.usage = chunk.usage or attempt.usage
                attempt.model = chunk.model or attempt.model
                attempt.fingerprint = chunk.fingerprint or attempt.fingerprint
                attempt.headers = chunk.headers or attempt.headers
                finished.update(chunk.finish_reasons)
                yield chunk
                if attempt.first_token is None:
                    continue
                # Counted from here: the time that the caller takes to read is not the target's silence.
                alarm.until = watch.spoken(clock())
                if spoken and now - began > attempt.longest_gap:
                    attempt.longest_gap = now - began
                spoken = True
                if pace.too_slow(now - began, brought):
                    raise Silent(f"fewer than {target.min_tokens_per_s:g} tokens/s for {limits.stall:g} s")


def _nobody() -> None:
    """Nobody waits for the first word."""
