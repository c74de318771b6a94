"""How much work judging may take: steps that are counted, and a depth."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass

STEPS = 5000
"""Parts of a value held against parts of a schema; some tens of milliseconds where all is made to take long."""
DEPTH = 64
"""Schemas inside each other, the followed references included."""
NAMES = 16
"""Names that are passed over in the time of one step."""
KEYWORDS = 4
"""Keywords of a schema that are looked at in the time of one step."""


class SpentError(Exception):
    """The bounds are reached, so that nothing more is looked at."""


@dataclass(slots=True)
class Budget:
    """The steps that are left, for one judgement or for several together."""

    left: int = STEPS

    def spend(self, depth: int = 0) -> None:
        """One step.  Raises SpentError."""
        self.left -= 1
        if self.left < 0 or depth > DEPTH:
            raise SpentError

    def passed(self, parts: Sized, for_one: int = NAMES) -> None:
        """The steps of going through what is only passed over, so many `for_one`.  Raises SpentError."""
        self.left -= len(parts) // for_one
        if self.left < 0:
            raise SpentError
