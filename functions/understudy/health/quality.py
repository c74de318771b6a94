"""How good a target's answers are, by task: a recent mean, and what was normal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from understudy.health.finding import Quality

ALL = ""
"""The name of all tasks together."""
MEMORY = 120.0
"""Weight of judged answers after which older ones begin to lose theirs."""
KNOWN = 20.0
"""Weight of judged answers that makes a normal quality known."""
MOST_TASKS = 40


@dataclass(frozen=True, slots=True)
class Judged:
    """One judged answer: `value` from 0 to 1, `weight` its share in the quality of its task."""

    task: str
    value: float
    at: float
    weight: float = 1.0


def judged(known: Mapping[str, Quality], answers: Sequence[Judged]) -> Mapping[str, Quality]:
    """What is known of each task after these answers; of more than MOST_TASKS the further ones are left out."""
    after = dict(known)
    for answer in answers:
        for task in dict.fromkeys((ALL, answer.task)):
            if task in after or len(after) < MOST_TASKS:
                after[task] = _after(after.get(task), answer)
    return after


def relearned(known: Mapping[str, Quality]) -> Mapping[str, Quality]:
    """What is known, where what is normal is to be learned anew."""
    return {task: replace(quality, weight=0.0, baseline=None) for task, quality in known.items()}


def _after(known: Quality | None, answer: Judged) -> Quality:
    if known is None:
        known = Quality(answer.value, 0.0, answer.at)
    weight = min(known.weight, MEMORY - answer.weight) + answer.weight
    # An answer may weigh more than all that is remembered.
    mean = known.mean + (answer.value - known.mean) * min(1.0, answer.weight / weight)
    baseline = known.baseline
    if baseline is None and weight >= KNOWN:
        baseline = round(mean, 4)
    return Quality(round(mean, 6), round(weight, 3), max(known.at, answer.at), baseline)
