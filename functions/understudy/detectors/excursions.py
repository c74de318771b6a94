"""Sequential tests of one stream against several alternatives at once, each a CUSUM of log-likelihood ratios.

A CUSUM of the ratio of one alternative to what is normal passes log(N) once in at least N values as long as all is
well (Lorden 1971; Shin, Ramdas and Rinaldo 2024, "E-detectors", for ratios that are bets on bounded values), and it
is the fastest of all tests with that length.  Several alternatives share that budget.
"""

from __future__ import annotations

from collections.abc import Sequence

Row = list[float]
"""[log-likelihood ratio, values, their sum, the sum of what was expected, the sum of their squares about it, when the
first of them was]."""
EMPTY: tuple[float, ...] = (0.0, 0, 0.0, 0.0, 0.0, 0.0)


class Excursions:
    """One CUSUM for each alternative, with the values since it last stood at zero: those that argue for it."""

    __slots__ = ("rows",)

    def __init__(self, alternatives: int, rows: Sequence[Sequence[float]] | None = None) -> None:
        self.rows: list[Row] = [list(row) for row in rows] if rows else [list(EMPTY) for _ in range(alternatives)]

    def add(self, scores: Sequence[float], value: float, expected: float, at: float) -> None:
        """One more value, with its log-likelihood ratio under each alternative."""
        off = value - expected
        for row, score in zip(self.rows, scores, strict=True):
            total = row[0] + score
            if total <= 0.0:
                if row[1]:
                    row[:] = EMPTY
                continue
            if not row[1]:
                row[5] = at
            row[0] = total
            row[1] += 1
            row[2] += value
            row[3] += expected
            row[4] += off * off

    def highest(self) -> Row:
        """The row of the alternative that is most argued for."""
        return max(self.rows)

    def cap(self, most: float) -> None:
        """Leave no alternative with more than this."""
        for row in self.rows:
            row[0] = min(row[0], most)

    def clear(self) -> None:
        for row in self.rows:
            row[:] = EMPTY

    def plain(self) -> list[Row]:
        return self.rows
