"""The second stage: what fresh values say of an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from understudy.detectors.sample import Sample
from understudy.detectors.stream import Detector

Confirmation = Literal["confirmed", "refuted", "unsure"]


def confirmation(detector: Detector, samples: Sequence[Sample]) -> Confirmation:
    """Whether the values, taken together, are not as the detector's baselines have them."""
    raise NotImplementedError
