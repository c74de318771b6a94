"""What a run asks: which questions of a golden set are next, or the drift prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.catalog import Catalog, Route, Target
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.unary import UnaryRequest
from understudy.errors import UnderstudyError
from understudy.golden.checkers import needs_judge
from understudy.golden.drift import DRIFT, PROMPTS, drift_body
from understudy.golden.item import GoldenSet, Item, body
from understudy.golden.judge import judge_body
from understudy.golden.sets import find
from understudy.ports import Logger
from understudy.services.fitness import unfit
from understudy.services.sweep import Call
from understudy.store_ports import Rota

_NOBODYS = Route("probe", ())
"""A route that agrees to nothing's being lost."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its number in its stream; `item` where it has a right answer, which a judge must tell where it
    is `judged`.  `plainer` is the same without what the target has been declared to take and may refuse after all."""

    number: int
    request: ChatRequest | UnaryRequest
    item: Item | None = None
    judged: bool = False
    plainer: ChatRequest | None = None


class Questions:
    """Knows the golden sets of the document in force, each read once."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._version = 0
        self._sets: dict[str, GoldenSet | None] = {}

    def next(
        self, call: Call, target: Target, current: Catalog, rota: Rota, *, judged: bool
    ) -> tuple[list[Question], Rota]:
        """What is asked now, and how far its stream has come by it.  Questions that the target cannot take are passed
        over, and those for a judge where there is none (`judged`)."""
        quality, drift, confirms = current.health.quality, current.health.drift, call.ask == "confirm"
        if call.stream == DRIFT:
            all_, count = _prompts(target), drift.prompts
        else:
            all_ = self._items(call.stream, target, current, judged=judged)
            count = quality.confirm_items if confirms else quality.items
        if confirms:
            return _spread(all_, count, rota.next), replace(rota, confirmations=rota.confirmations + 1)
        found = [all_[(rota.next + place) % len(all_)] for place in range(min(count, len(all_)))]
        return found, replace(rota, run=rota.run + 1, next=(rota.next + count) % len(all_) if all_ else 0)

    def _items(self, name: str, target: Target, current: Catalog, *, judged: bool) -> list[Question]:
        golden, settings = self._set(name, current), current.health
        found = []
        for item in golden.items if golden else ():
            thinking = settings.probe_reasoning_tokens if target.capabilities.reasoning else 0
            request = _request(body(item, target.model, reasoning_tokens=thinking), target)
            wants = needs_judge(item)
            if request is not None and (judged or not wants):
                found.append(Question(item.number, request, item, wants))
        return found

    def _set(self, name: str, current: Catalog) -> GoldenSet | None:
        if current.version != self._version:
            self._version, self._sets = current.version, {}
        if name not in self._sets:
            try:
                self._sets[name] = find(name, current.golden_sets)
            except UnderstudyError as error:
                self._sets[name] = None
                self._logger.warning("a golden set cannot be read", set=name, error=str(error))
        return self._sets[name]


def judge_question(item: Item, message: Mapping[str, Any], judge: Target, current: Catalog) -> ChatRequest:
    """What the judge is asked of an answer."""
    thinking = current.health.probe_reasoning_tokens if judge.capabilities.reasoning else 0
    return chat_request(_spoken(judge_body(item, message, judge.model, reasoning_tokens=thinking), judge))


def _prompts(target: Target) -> list[Question]:
    found = []
    for prompt in PROMPTS:
        plain = _request(drift_body(prompt, target.model), target)
        if plain is None:
            continue
        more = drift_body(prompt, target.model, logprobs=True) if target.capabilities.logprobs else None
        full = _request(more, target) if more else None
        found.append(Question(prompt.number, full, plainer=plain) if full else Question(prompt.number, plain))
    return found


def _spread(questions: Sequence[Question], count: int, first: int) -> list[Question]:
    """So many, as evenly over the set and so over its tasks as may be, not always the same ones."""
    size = len(questions)
    if size <= count:
        return list(questions)
    return [questions[(first + place * size // count) % size] for place in range(count)]


def _request(asked: Mapping[str, Any], target: Target) -> ChatRequest | None:
    """The request as the target can take it, or None where it cannot."""
    request = chat_request(_spoken(asked, target))
    return request if unfit(request, _NOBODYS, target) is None else None


def _spoken(asked: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Without a temperature, where the target has only one."""
    refuses = target.capabilities.refuses
    return {name: value for name, value in asked.items() if name != "temperature" or name not in refuses}
