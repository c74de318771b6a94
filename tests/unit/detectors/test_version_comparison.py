"""Two versions of a model by the same questions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.detectors.comparison import FEWEST, added, compared


def answers(values: list[float]) -> dict[int, tuple[float, float]]:
    return {item: (4.0, value) for item, value in enumerate(values)}


def verdict(before: list[float], after: list[float], max_loss: float = 0.05) -> str | None:
    found = compared(answers(before), answers(after), max_loss=max_loss)
    return found.verdict if found else None


@pytest.mark.parametrize(("before", "after", "expected"), [
    ([1.0] * 19, [1.0] * 19, None),
    ([1.0] * 20, [1.0] * 20, "unsure"),
    ([1.0] * 40, [1.0] * 40, "no loss"),
    ([1.0] * 40, [1.0] * 20 + [0.0] * 20, "loss"),
    ([1.0] * 40, [1.0] * 38 + [0.0] * 2, "unsure"),
    ([0.0] * 20 + [1.0] * 20, [1.0] * 40, "no loss"),
])  # fmt: skip
def test_a_loss_must_be_excluded_or_proved(before: list[float], after: list[float], expected: str | None) -> None:
    """Forty answers that are all as before exclude a loss of 5 %; a few lost ones do not; an improvement is none."""
    assert expected == verdict(before, after)


def test_the_figures_are_those_of_the_questions_both_answered() -> None:
    """Questions that only one version answered count for nothing; the interval holds the difference."""
    before, after = answers([1.0] * 40), answers([1.0] * 30)
    after[77] = (1.0, 0.0)
    found = compared(before, after, max_loss=0.1)
    assert found is not None
    assert (30, 1.0, 1.0, 0.0) == (found.questions, found.before, found.after, found.difference)
    assert found.low < 0 < found.high


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=FEWEST, max_size=60))
def test_both_ways_say_the_same(pairs: list[tuple[float, float]]) -> None:
    """Compared the other way round, the interval is its mirror image."""
    there = compared(answers([b for b, _ in pairs]), answers([a for _, a in pairs]), max_loss=0.05)
    back = compared(answers([a for _, a in pairs]), answers([b for b, _ in pairs]), max_loss=0.05)
    assert there is not None
    assert back is not None
    assert pytest.approx((-there.high, -there.low), abs=2e-4) == (back.low, back.high)


def test_a_lossy_version_is_seldom_accepted() -> None:
    """Of versions that lose just what may be lost, at most about one of forty is accepted."""
    rng = random.Random(3)
    accepted = 0
    for _ in range(400):
        after = [0.0 if rng.random() < 0.1 else 1.0 for _ in range(60)]
        accepted += verdict([1.0] * 60, after, max_loss=0.1) == "no loss"
    assert accepted <= 20


def test_older_answers_lose_their_weight() -> None:
    """A question keeps the mean of about its last answers, and the others are left alone."""
    known = {9: (1.0, 0.5)}
    for value in [0.0] * 50 + [1.0] * 50:
        known = added(known, 1, value, 8)
    assert (8, True) == (known[1][0], known[1][1] > 0.99)
    assert (1.0, 0.5) == known[9]
