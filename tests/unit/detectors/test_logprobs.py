"""Probabilities of first tokens: what is taken for another model, and what is not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from tests.benchmarks.detection import judged
from tests.benchmarks.scenarios import SCENARIOS
from understudy.detectors.confirm import confirmation
from understudy.detectors.logprobs import Logprobs, log_odds
from understudy.detectors.sample import Alarm, Sample

LENGTH = 10_000.0
PROMPTS = 30
LEARNED = 24
"""Runs, so that it is known how much prompts vary, and that their noise has no memory."""
NAMED = {scenario.name: scenario for scenario in SCENARIOS}
Shift = Callable[[int, int], float]
"""By prompt and run, of the log-odds."""


def told(shift: Shift, runs: range, noise: float = 0.02, prompts: int = PROMPTS) -> list[Sample]:
    """Every prompt once in each run; prompt n has log-odds of its own."""
    rng = random.Random(f"{runs}/{noise}")
    found = []
    for run in runs:
        for item in range(prompts):
            odds = item % 7 - 2 + shift(item, run) + rng.gauss(0, noise)
            at = (run * prompts + item) * 60.0
            found.append(Sample("logprob", -math.log1p(math.exp(-odds)), at, "drift", item, run))
    return found


def usual(item: int, run: int) -> float:
    return 0.0


def nudged(item: int, run: int) -> float:
    """The same model in fewer bits: some prompts a little up, some a little down, by two standard deviations."""
    return (-1) ** item * 0.04


def other(item: int, run: int) -> float:
    return (-1) ** item * 2.0


def fed(watch: Logprobs, samples: list[Sample]) -> list[Alarm]:
    return [alarm for sample in samples if (alarm := watch.step(sample)) is not None]


def learned(runs: int = LEARNED) -> Logprobs:
    watch = Logprobs(LENGTH)
    assert [] == fed(watch, told(usual, range(runs)))
    return watch


@pytest.mark.parametrize(("shift", "runs"), [(other, 2), (nudged, 5)])
def test_another_model_is_seen_whichever_way_it_moves(shift: Shift, runs: int) -> None:
    """Half of the prompts go up and half down, so that their mean stays: it is `changed`, and how far they moved."""
    (alarm,) = fed(learned(), told(shift, range(LEARNED, LEARNED + runs)))
    assert ("logprob", "changed", PROMPTS) == (alarm.kind, alarm.verdict, alarm.evidence["prompts"])
    assert alarm.before < 0.02 < alarm.low < alarm.after < alarm.high
    assert abs(alarm.changed_at - LEARNED * PROMPTS * 60.0) <= 300.0


@pytest.mark.parametrize("shift", [nudged, other])
def test_one_bad_run_alone_is_no_change(shift: Shift) -> None:
    """However far off it is, the next one must say so too."""
    watch = learned()
    assert [] == fed(watch, told(shift, range(LEARNED, LEARNED + 1)))
    assert [] == fed(watch, told(usual, range(LEARNED + 1, LEARNED + 9)))


def test_runs_that_come_to_nothing_are_believed_less_and_less() -> None:
    """A back end that answers a whole run now and then, and three in a row at last."""
    watch = learned()
    for begin in range(LEARNED, LEARNED + 16, 4):
        fed(watch, told(other, range(begin, begin + 1)) + told(usual, range(begin + 1, begin + 4)))
    assert [] == fed(watch, told(other, range(LEARNED + 16, LEARNED + 19)))


def test_runs_of_a_few_prompts_add_up() -> None:
    """At three prompts a run, as they are asked, a small change is seen within five rounds of all prompts."""
    watch = learned()
    samples = [
        Sample("logprob", one.value, one.at, "drift", one.item, 100 + place // 3)
        for place, one in enumerate(told(nudged, range(LEARNED, LEARNED + 5)))
    ]
    assert 1 == len(fed(watch, samples))


def test_it_arms_itself_again() -> None:
    """What it has become is normal, and the way back is a change again."""
    watch = learned()
    assert 1 == len(fed(watch, told(other, range(LEARNED, LEARNED + 12))))
    assert 1 == len(fed(watch, told(usual, range(LEARNED + 12, LEARNED + 24))))


def test_values_without_a_prompt_are_one_row() -> None:
    """One-shot values have no runs that could be bad."""
    watch, rng = Logprobs(LENGTH), random.Random(1)
    values = [rng.gauss(-1.0, 0.05) for _ in range(60)] + [rng.gauss(-0.5, 0.05) for _ in range(30)]
    assert 1 == len(fed(watch, [Sample("logprob", value, place * 60.0) for place, value in enumerate(values)]))


@pytest.mark.parametrize(("shift", "verdict"), [(usual, "refuted"), (other, "confirmed"), (nudged, "confirmed")])
def test_a_second_look_decides(shift: Shift, verdict: str) -> None:
    """By the baselines from before the alarm, when a part of the change waits there already."""
    watch = learned()
    fed(watch, told(shift, range(LEARNED, LEARNED + 1)))
    assert verdict == confirmation(watch, told(shift, range(LEARNED + 1, LEARNED + 2)))


def test_the_log_odds_of_what_is_nearly_sure_are_bounded() -> None:
    """Providers round: 1 and 0.9999 are the same; and what is said of the least likely tokens is not believed."""
    assert abs(log_odds(0.0) - log_odds(-0.0001)) < 0.01
    assert (log_odds(0.0), log_odds(-20.0)) == (log_odds(1e-9), log_odds(-1e300))


QUIET = [name for name, one in NAMED.items() if "logprob" in name and one.means != "change" and "end a run" not in name]
CHANGES = [name for name, one in NAMED.items() if "logprob" in name and one.means == "change"]


@pytest.mark.parametrize("name", QUIET)
def test_what_is_no_change_is_seldom_taken_for_one(name: str) -> None:
    """Heavy tails, two back ends, noise that remembers, coarse figures, gaps, draws: one alarm at most in about an
    in-control length."""
    outcome = judged(NAMED[name], 3, seed=21)
    assert (True, 0) == (outcome.false <= 1, outcome.refused)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_seen_within_batches(name: str) -> None:
    """Another model, the same in fewer bits, one that answers a third of the calls, one step of training."""
    outcome = judged(NAMED[name], 4, seed=22)
    assert (True, True) == (outcome.detected >= 75, outcome.mean <= 6)
