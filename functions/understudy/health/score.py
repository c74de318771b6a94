"""One number for how well a target does: the recent share of good answers."""

from __future__ import annotations

MEMORY = 20.0
"""Calls after which a past outcome has lost about two thirds of its weight."""


def blend(score: float, ok: int, failed: int) -> float:
    """The score after `ok` good and `failed` bad calls; an empty observation leaves it as it was."""
    calls = ok + failed
    if not calls:
        return score
    weight = 1.0 - (1.0 - 1.0 / MEMORY) ** calls
    return round(score + (ok / calls - score) * weight, 6)
