"""The failover engine: candidates in order, under one deadline, until one of them has answered.

What each failure class does is in its class (understudy.errors); this file only carries it out:

    retries       the same target again, after a jittered backoff or the wait the provider asked for
    fails_over    the next candidate
    neither       the failure is the caller's own and is given back as it is

Nothing is given to the caller before an attempt shows content (or, for `whole`, before it is complete), so every
failure until then is invisible.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from understudy.catalog import Limits, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import (
    AttemptFailed,
    Cause,
    ContextTooLong,
    Garbage,
    NoTargetAnswered,
    OutOfTime,
    RateLimited,
    Refusal,
    Silent,
    StreamBroken,
)
from understudy.routing.journal import Attempt, Journal
from understudy.routing.policy import Decision, Ranked


class Ask(Protocol):
    def __call__(self, request: ChatRequest, target: Target, *, connect: float) -> AsyncGenerator[Chunk, None]:
        """One upstream call: its chunks as they arrive.  Raises AttemptFailed; ends only after a stop reason."""


class Outcomes(Protocol):
    """Who is told how calls went."""

    def succeeded(self, target: Target, first_token: float, *, probe: bool) -> None: ...

    def failed(self, target: Target, failure: AttemptFailed, *, probe: bool) -> None: ...


Lease = Callable[[Target], Awaitable[bool]]


class Attempts:
    """One engine for every front.  `clock` is a monotonic clock in seconds, the one the event loop uses."""

    def __init__(
        self,
        ask: Ask,
        outcomes: Outcomes,
        lease: Lease,
        *,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._outcomes = outcomes
        self._lease = lease
        self._rng = rng
        self._sleep = sleep

    async def run(
        self, request: ChatRequest, decision: Decision, limits: Limits, journal: Journal, *, whole: bool
    ) -> AsyncGenerator[Chunk, None]:
        """The answer's chunks.

        Raises the AttemptFailed that is the caller's own, NoTargetAnswered with every cause, or StreamBroken where a
        failure came after the first chunk was given out.
        """
        deadline = asyncio.get_running_loop().time() + limits.request
        causes: list[Cause] = [*decision.denied, *decision.unfit]
        last: AttemptFailed | None = None
        window: int | None = None
        for ranked in decision.candidates:
            reason = await self._skip(ranked, journal, limits, deadline, window)
            if reason is not None:
                causes.append(Cause(ranked.target.name, reason))
                continue
            tries = 0
            while True:
                attempt = journal.begin(ranked.target, asyncio.get_running_loop().time())
                given = False
                try:
                    async with aclosing(self._one(request, ranked, limits, deadline, attempt, whole=whole)) as chunks:
                        async for chunk in chunks:
                            given = True
                            yield chunk
                    return
                except AttemptFailed as failure:
                    if given:
                        raise StreamBroken(ranked.target.name, failure) from failure
                    last = failure
                wait = self._wait(last, tries, ranked, journal, limits, deadline)
                if wait is None:
                    break
                tries += 1
                await self._sleep(wait)
            causes.append(Cause(ranked.target.name, f"{last.kind}: {last.message}"))
            if isinstance(last, ContextTooLong):
                window = ranked.target.capabilities.context_window or 0
            elif not last.fails_over and not (isinstance(last, Refusal) and decision.reroute_refusals):
                raise last
        if isinstance(last, ContextTooLong | Refusal):
            raise last
        raise NoTargetAnswered(decision.route, causes, last)

    async def _skip(
        self,
        ranked: Ranked,
        journal: Journal,
        limits: Limits,
        deadline: float,
        window: int | None,
    ) -> str | None:
        """Why this candidate is not asked now, or None."""
        if len(journal.attempts) >= limits.attempts_per_request:
            return f"not tried: {limits.attempts_per_request} attempts were made"
        if asyncio.get_running_loop().time() >= deadline:
            return f"not tried: the deadline of {limits.request:g} s was reached"
        if window is not None and (ranked.target.capabilities.context_window or 0) <= window:
            return "not tried: it declares no larger context window"
        if ranked.last_resort and any(a.target.name == ranked.target.name for a in journal.attempts):
            return "not tried again"
        if ranked.probe and not await self._lease(ranked.target):
            return "not probed: somebody else holds the lease"
        return None

    def _wait(
        self, failure: AttemptFailed, tries: int, ranked: Ranked, journal: Journal, limits: Limits, deadline: float
    ) -> float | None:
        """Seconds until the same target is asked again, or None where it is not."""
        if tries >= min(failure.retries, limits.retries_per_target) or ranked.last_resort or ranked.probe:
            return None
        if len(journal.attempts) >= limits.attempts_per_request:
            return None
        if isinstance(failure, RateLimited):
            wait = failure.retry_after if failure.retry_after is not None else limits.backoff
            if wait > limits.retry_after_cap:
                return None
        else:
            wait = self._rng.uniform(0, limits.backoff * 2.0**tries)
        return wait if asyncio.get_running_loop().time() + wait < deadline else None

    async def _one(
        self,
        request: ChatRequest,
        ranked: Ranked,
        limits: Limits,
        deadline: float,
        attempt: Attempt,
        *,
        whole: bool,
    ) -> AsyncGenerator[Chunk, None]:
        """One attempt, watched: chunks are held until the answer shows content, or until it is whole."""
        clock = asyncio.get_running_loop().time
        held: list[Chunk] = []
        try:
            async with aclosing(self._watched(request, ranked.target, limits, deadline, attempt)) as chunks:
                async for chunk in chunks:
                    held.append(chunk)
                    if attempt.first_token is not None and not whole:
                        for ready in held:
                            yield ready
                        held.clear()
            if attempt.first_token is None and "stop" in {r for c in held for r in c.finish_reasons.values()}:
                raise Garbage("the answer is empty")
        except AttemptFailed as failure:
            attempt.seconds = clock() - attempt.started_at
            attempt.failed(failure)
            self._outcomes.failed(ranked.target, failure, probe=ranked.probe)
            raise
        attempt.seconds = clock() - attempt.started_at
        attempt.outcome = "ok"
        self._outcomes.succeeded(ranked.target, attempt.first_token or attempt.seconds, probe=ranked.probe)
        for ready in held:
            yield ready

    async def _watched(
        self, request: ChatRequest, target: Target, limits: Limits, deadline: float, attempt: Attempt
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of one call under the first-token, stall and request limits."""
        clock = asyncio.get_running_loop().time
        due = attempt.started_at + limits.first_token
        async with aclosing(self._ask(request, target, connect=limits.connect)) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(min(due, deadline)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise _silence(attempt, limits, due, deadline) from None
                if chunk.has_content and attempt.first_token is None:
                    attempt.first_token = clock() - attempt.started_at
                attempt.usage = chunk.usage or attempt.usage
                attempt.model = chunk.model or attempt.model
                yield chunk
                if attempt.first_token is not None:
                    # Counted from here: the time that the caller takes to read is not the target's silence.
                    due = clock() + limits.stall


def _silence(attempt: Attempt, limits: Limits, due: float, deadline: float) -> Silent:
    if deadline < due:
        return OutOfTime(f"the deadline of the whole request, {limits.request:g} s, was reached")
    if attempt.first_token is None:
        return Silent(f"no first token within {limits.first_token:g} s")
    return Silent(f"silent for {limits.stall:g} s in the middle of its answer")
