"""Whether a value may be taken in: what is wrong with it, in words."""

from __future__ import annotations

import math
from typing import Any

from understudy.detectors.sample import KINDS, ONE_SHOT, TEXTS, Sample

AHEAD = 300.0
"""Seconds by which the clock of who measured may be ahead of ours."""
LONGEST = 300
"""Characters of a text value or of a stream's name."""
MOST_ITEMS = 100_000
BOUNDED = frozenset({"quality", "errors"})
"""The kinds whose values lie between 0 and 1; of all others but logarithms they are not
negative."""


def problem(sample: Sample, now: float) -> str | None:
    """What is wrong with a sample that may have come from anywhere; None where nothing is."""
    if not isinstance(sample.kind, str) or sample.kind not in KINDS:
        return f"kind {_shown(sample.kind)}: no such kind"
    if not _finite(sample.at):
        return f"at {_shown(sample.at)}: not a time"
    if sample.at > now + AHEAD:
        return f"at {sample.at:.0f}: {sample.at - now:.0f} s in the future"
    if not isinstance(sample.stream, str) or "#" in sample.stream or len(sample.stream) > LONGEST:
        return f"stream {_shown(sample.stream)}: not the name of a stream"
    if type(sample.item) is not int or not ONE_SHOT <= sample.item < MOST_ITEMS:
        return f"item {_shown(sample.item)}: not the number of an item"
    if type(sample.run) is not int:
        return f"run {_shown(sample.run)}: not the number of a run"
    return _wrong_value(sample.kind, sample.value)


def _wrong_value(kind: str, value: Any) -> str | None:
    if kind in TEXTS:
        fits = isinstance(value, str) and len(value) <= LONGEST
        return None if fits else f"value {_shown(value)}: {kind} is a text of up to {LONGEST} characters"
    if not _finite(value):
        return f"value {_shown(value)}: {kind} is a number"
    if kind == "logprob":
        return None if value <= 0 else f"value {_shown(value)}: {kind} is the logarithm of a probability, 0 or less"
    if value < 0 or (kind in BOUNDED and value > 1):
        return f"value {_shown(value)}: {kind} is {'between 0 and 1' if kind in BOUNDED else 'not negative'}"
    return None


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        # A whole number may be larger than any float.
        return False


def _shown(value: Any) -> str:
    return repr(value)[:60]
