"""Runs: the questions of a golden set, or the drift prompts, asked together and told as one.

A run is taken by a conditional write before it begins, so that two workers never pay for the same one; a run whose
worker dies is not made up for.  What is not answered in time is missing, and detectors bear that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from understudy.catalog import Catalog, Limits, Route, Target
from understudy.detectors.sample import Kind, Sample, bought
from understudy.facts import Constraints
from understudy.golden.checkers import judged
from understudy.golden.drift import first_token
from understudy.golden.item import Item
from understudy.golden.judge import judge_value
from understudy.health.observation import Observation
from understudy.ports import CONFIRM_GAP, Clock, Logger, ObservationStore, Probing, ProbingStore, Rota
from understudy.pricing.ledger import Purpose
from understudy.services.metering import Metering
from understudy.services.probe_call import Asked, Caller, Seen, measured, probe_limits, seen_of
from understudy.services.probe_questions import Question, Questions, judge_question
from understudy.services.probe_samples import of_item, of_target
from understudy.services.spend import counted, estimated, reserved, too_dear
from understudy.services.sweep import Call, allowing, demanded_of, demanded_of_judges, judge_for, overdue, runs_of, well

AT_ONCE = 4
"""Questions of one run that are under way together."""
ROOM = 150.0
"""Seconds that a run may take; the room itself has 180."""
LEAST = 5.0
"""Seconds without which no further question is asked."""
ENOUGH = 2
"""Failures after which a run asks nothing more: it is the breaker's business then."""


class Store(ObservationStore, ProbingStore, Protocol):
    """The part of the store that runs need."""


@dataclass(slots=True)
class _Run:
    """One run under way: what is asked of whom until when, what is demanded of whoever sees it, what came of it."""

    target: Target
    current: Catalog
    stream: str
    number: int
    until: float
    seen: Seen
    demanded: Constraints
    samples: list[Sample] = field(default_factory=list)
    unjudged: list[tuple[Item, Asked, Mapping[str, Any]]] = field(default_factory=list)
    version: Sample | None = None
    plainer: bool = False
    """Whether the target has refused what it was declared to take."""

    @property
    def over(self) -> bool:
        """Whether the target should be left alone from here on."""
        seen = self.seen.observation
        return seen.failures >= ENOUGH or seen.benched_until > 0 or seen.credential


class ProbeRuns:
    def __init__(
        self, store: Store, caller: Caller, *, clock: Clock, logger: Logger, metering: Metering | None = None
    ) -> None:
        self._metering = metering
        self._store = store
        self._caller = caller
        self._clock = clock
        self._logger = logger
        self._questions = Questions(logger)

    async def run(self, call: Call, current: Catalog, known: dict[str, Probing]) -> bool:
        """Do what a message asks for; False where there was nothing to do.  `known` has the call's target, and the
        judge where there is one; what the run may cost is added there, for those that share it."""
        target, mine = current.targets.get(call.target), known[call.target]
        routes = allowing(current, self._clock()).get(call.target, [])
        if target is None or not routes or not self._wanted(call, target, mine, current, routes):
            return False
        judge = judge_for(target, call.stream, routes, current, self._clock())
        if judge is not None and (judge.name not in known or not well(known[judge.name].health, self._clock())):
            judge = None
        rota = mine.rotas.get(call.stream, Rota())
        asked, after = self._questions.next(call, target, current, rota, judged=judge is not None)
        if not asked or self._dear(call, target, asked, known, current, judge):
            return False
        if not await self._took(call, after, mine):
            return False
        number = -after.confirmations if call.ask == "confirm" else after.run
        seen = seen_of(target.name, mine.health, self._clock)
        until = asyncio.get_running_loop().time() + ROOM
        run = _Run(target, current, call.stream, number, until, seen, demanded_of(call.stream, current))
        costs: dict[str, Decimal] = {}
        try:
            try:
                await self._ask_all(run, asked)
            finally:
                costs[call.ask] = counted(seen.attempts)
                self._charge("probe", seen)
            await self._judged(run, judge, demanded_of_judges(call.stream, routes, current), costs)
        finally:
            # First of all, and whatever happens: what was paid counts, told or not.
            if paid := {kind: usd for kind, usd in costs.items() if usd}:
                await asyncio.to_thread(self._store.spend, target.name, paid, self._clock())
        await self._tell(call, run, len(asked), costs)
        return True

    def _wanted(self, call: Call, target: Target, mine: Probing, current: Catalog, routes: Sequence[Route]) -> bool:
        now = self._clock()
        streams, rota = runs_of(target, routes, current, now), mine.rotas.get(call.stream, Rota())
        if not well(mine.health, now):
            return False
        if call.ask == "confirm":
            known = bought(call.stream) and call.stream in streams
            return known and now - rota.confirmed_at >= CONFIRM_GAP
        ask, period = streams.get(call.stream, ("liveness", 0.0))
        # The moments of a run are a period apart, so what is nearer is the same one, asked for twice.
        return ask == call.ask and (call.due or 0.0) - rota.at >= period / 2 and not overdue(call, period, now)

    def _dear(
        self,
        call: Call,
        target: Target,
        asked: Sequence[Question],
        known: dict[str, Probing],
        current: Catalog,
        judge: Target | None,
    ) -> bool:
        price = estimated((question.request for question in asked), target)
        if judge is not None:
            items = [q.item for q in asked if q.item is not None and q.judged]
            price += estimated((judge_question(item, {}, judge, current) for item in items), judge)
        why = too_dear(call.ask, price, known[target.name], current.health)
        if why is not None:
            said = f"{call.ask} {call.stream}".strip()
            self._logger.warning("a probe was left out for its cost", target=target.name, ask=said, why=why)
        else:
            known[target.name] = reserved(known[target.name], price)
        return why is not None

    async def _took(self, call: Call, after: Rota, mine: Probing) -> bool:
        """Whether the run is ours."""
        now, before = self._clock(), mine.rotas.get(call.stream, Rota())
        rota = replace(after, confirmed_at=now) if call.ask == "confirm" else replace(after, at=call.due or now)
        return await asyncio.to_thread(self._store.take_run, call.target, call.stream, before, rota)

    async def _ask_all(self, run: _Run, asked: Sequence[Question]) -> None:
        left = deque(asked)

        async def work() -> None:
            while left and not run.over:
                room = run.until - asyncio.get_running_loop().time()
                if room < LEAST:
                    return
                question = left.popleft()
                limits = probe_limits(run.target, run.current)
                limits = replace(limits, request=min(limits.request, room))
                self._note(run, question, await self._asked(run, question, limits))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _asked(self, run: _Run, question: Question, limits: Limits) -> Asked:
        """What became of one question; asked again without what the target refuses against its declaration."""
        plainer = question.plainer
        if plainer is None or not run.plainer:
            asked = await self._caller.ask(question.request, run.target, limits, run.seen, run.demanded)
            if plainer is None or asked.attempt is None or asked.attempt.outcome != "caller":
                return asked
            if not run.plainer:
                why = "it refuses logprobs, which its capabilities declare"
                self._logger.warning("a drift prompt is asked without them", target=run.target.name, why=why)
            run.plainer = True
        return await self._caller.ask(plainer, run.target, limits, run.seen, run.demanded)

    def _note(self, run: _Run, question: Question, asked: Asked) -> None:
        """Keep what one answer says."""
        attempt, at = asked.attempt, asked.at
        if attempt is None:
            return
        for sample in of_target(attempt, at):
            if sample.kind == "version":
                # One run, one version: that many calls say the same is no news.
                run.version = sample
            else:
                run.samples.append(sample)
        shown = self._shown(run, question, asked) if attempt.outcome == "ok" else []
        run.samples += of_item(attempt, at, run.stream, question.number, run.number, *shown)

    def _shown(self, run: _Run, question: Question, asked: Asked) -> list[tuple[Kind, float | str]]:
        """What an answer shows beside its time and its tokens: nothing where it is empty, or a judge must read it."""
        message, item = _message(asked), question.item
        if item is None:
            first = first_token(asked.answer or {})
            if first is None:
                return []
            if first.logprob is None:
                return [("fingerprint", first.text)]
            return [("fingerprint", first.text), ("logprob", round(first.logprob, 4))]
        if question.judged:
            run.unjudged.append((item, asked, message))
            return []
        value = judged(item, message).value
        return [] if value is None else [("quality", value)]

    async def _judged(self, run: _Run, judge: Target | None, demanded: Constraints, costs: dict[str, Decimal]) -> None:
        """Have the judge say how right the answers are that no checker can judge; `costs` has what that cost."""
        if judge is None or not run.unjudged:
            return
        seen, left = seen_of(judge.name, None, self._clock), deque(run.unjudged)

        async def work() -> None:
            while left and (room := run.until - asyncio.get_running_loop().time()) >= LEAST:
                item, asked, message = left.popleft()
                limits = probe_limits(judge, run.current)
                request = judge_question(item, message, judge, run.current)
                limits = replace(limits, request=min(limits.request, room))
                said = await self._caller.ask(request, judge, limits, seen, demanded)
                value = judge_value(_message(said)).value
                if value is not None:
                    usd = round(float(counted([said.attempt] if said.attempt else [])), 9)
                    run.samples.append(Sample("quality", value, asked.at, run.stream, item.number, run.number, usd=usd))

        try:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        finally:
            costs["judge"] = counted(seen.attempts)
            self._charge("judge", seen)

    def _charge(self, purpose: Purpose, seen: Seen) -> None:
        if self._metering is not None:
            self._metering.own(purpose, seen.attempts)

    async def _tell(self, call: Call, run: _Run, asked: int, costs: Mapping[str, Decimal]) -> None:
        seen, attempts = run.seen, run.seen.attempts
        version = (run.version,) if run.version else ()
        # The samples come as one: an observation that is added to others may lose some.
        told: Observation = replace(seen.observation, at=self._clock(), samples=(*run.samples, *version))
        await asyncio.to_thread(self._store.add_observation, told)
        right = [float(sample.value) for sample in run.samples if sample.kind == "quality"]
        self._logger.info(
            "probe run",
            target=run.target.name,
            ask=call.ask,
            stream=run.stream,
            run=run.number,
            asked=asked,
            answered=sum(attempt.outcome == "ok" for attempt in attempts),
            quality=round(sum(right) / len(right), 4) if right else None,
            cost_usd=str(sum(costs.values(), Decimal(0))),
            detail=told.last_failure,
            metrics=measured(run.target, attempts),
        )


def _message(asked: Asked) -> Mapping[str, Any]:
    """The assistant message of an answer; an empty one where there is none."""
    choices = (asked.answer or {}).get("choices") or ()
    return next((choice["message"] for choice in choices), {})
