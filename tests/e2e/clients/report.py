"""What is printed: failures while they come, then the matrix of pass counts, with what is missing and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from tests.e2e.clients.matrix import Cell, Client, Matrix

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Result:
    check: str
    ok: bool
    detail: str
    seconds: float


class Report:
    """Collects what the clients' scripts print; used by several threads."""

    def __init__(self, matrix: Matrix, *, verbose: bool = False) -> None:
        self.matrix = matrix
        self.missed: list[str] = []
        self._verbose = verbose
        self._results: dict[Key, list[Result]] = {}
        self._took: dict[str, float] = {}
        self._wires: Set[str] = frozenset()
        self._fronts: Set[str] = frozenset()
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def missing(self, wires: Mapping[str, str], fronts: Set[str]) -> None:
        """Wires that cannot run, each with its reason, and the fronts that can."""
        self._wires = self.matrix.wires.keys() - wires.keys()
        wanted = {cell.front for cell in self.matrix.cells}
        self._fronts = fronts & wanted
        self.missed = [f"wire {name}: {reason}" for name, reason in wires.items()]
        self.missed += [
            f"front {name}: nothing answers at {self.matrix.paths[name]}" for name in sorted(wanted - fronts)
        ]

    def runs(self, cell: Cell) -> bool:
        return cell.wire in self._wires and cell.front in self._fronts

    def add(self, client: Client, lines: list[Mapping[str, Any]], trouble: str) -> None:
        """The script's lines; a check without a line has failed, for the reason `trouble`."""
        with self._lock:
            for cell in filter(self.runs, client.cells):
                found = {
                    line["check"]: Result(line["check"], line["ok"], line["detail"], line["seconds"])
                    for line in lines
                    if (line["front"], line["wire"]) == (cell.front, cell.wire)
                }
                silent = f"the script printed nothing for it; {trouble or 'it ended as if all were done'}"
                results = [found.get(name, Result(name, False, silent, 0)) for name in cell.checks]
                self._results[client.name, cell.front, cell.wire] = results
                for one in results:
                    self._print(cell, one)
                if self._verbose:
                    for name, reason in cell.absent.items():
                        print(f"n/a               {cell.client} {cell.front} {cell.wire} {name}  {reason}", flush=True)

    def took(self, client: Client, seconds: float) -> None:
        self._took[client.name] = seconds

    def _print(self, cell: Cell, one: Result) -> None:
        if not one.ok or self._verbose:
            word = "ok    " if one.ok else "FAILED"
            place = f"{cell.client} {cell.front} {cell.wire} {one.check}"
            print(f"{word} {one.seconds:5.2f} s  {place}  {' '.join(one.detail.split())}", flush=True)

    @property
    def failed(self) -> int:
        return sum(not one.ok for results in self._results.values() for one in results)

    def table(self) -> str:
        names = list(self.matrix.wires)
        rows = [["client", "front", *names, "seconds"]]
        for client in self.matrix.clients:
            for front in dict.fromkeys(cell.front for cell in client.cells):
                counts = [self._count(client.name, front, wire) for wire in names]
                rows.append([client.name, front, *counts, f"{self._took.get(client.name, 0):.1f}"])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["", "== client matrix ==", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows), ""]
        lines += [f"missing: {one}" for one in self.missed]
        every = [one for results in self._results.values() for one in results]
        absent = sum(len(cell.absent) for cell in filter(self.runs, self.matrix.cells))
        lines.append(f"{len(every) - self.failed} of {len(every)} checks passed in {len(self._results)} cells")
        lines.append(f"{absent} checks do not apply to their cells; matrix.yaml says why, and so does -v")
        lines.append(f"whole duration {time.monotonic() - self._began:.1f} s")
        return "\n".join(lines)

    def _count(self, client: str, front: str, wire: str) -> str:
        results = self._results.get((client, front, wire))
        return "missing" if results is None else f"{sum(one.ok for one in results)}/{len(results)}"
