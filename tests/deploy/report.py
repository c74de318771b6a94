"""What is printed: one line for each step while it runs, and one table at the end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """A step did not do what it promises; says what was expected and what was seen."""


class Stop(Exception):
    """Nothing that follows makes sense any more."""


@dataclass
class Row:
    """`seconds` is how long the step took; `note` what it measured, or why it failed."""

    name: str
    seconds: float = 0.0
    note: str = ""
    ok: bool = False


@dataclass
class Report:
    """Collects the rows; a failed check does not keep the next ones from being tried."""

    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str, *, vital: bool = False) -> Iterator[Row]:
        """Times what is inside.  When it raises: prints it, and raises Stop where the step is `vital`."""
        row = Row(name)
        self.rows.append(row)
        began = time.monotonic()
        try:
            yield row
            row.ok = True
        except Failed as error:
            row.note = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a check meets is its failure, and the others still run
            row.note = f"{type(error).__name__}: {error} ({_where(error)})"
        except BaseException:
            row.note = "interrupted"
            raise
        finally:
            row.seconds = time.monotonic() - began
            print(_line(row), flush=True)
        if vital and not row.ok:
            raise Stop(name)

    def check(self, name: str, run: Callable[[], str | None], *, vital: bool = False) -> None:
        with self.step(name, vital=vital) as row:
            row.note = run() or ""

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if not row.ok]

    def table(self) -> str:
        lines = ["", "== result ==", *(_line(row) for row in self.rows), ""]
        lines.append(f"{len(self.rows) - len(self.failed)} of {len(self.rows)} steps passed")
        lines.append(f"whole duration {time.monotonic() - self.began:.1f} s")
        return "\n".join(lines)


def _line(row: Row) -> str:
    note = f"  {row.note}" if row.note else ""
    return f"{'ok    ' if row.ok else 'FAILED'} {row.seconds:6.1f} s  {row.name}{note}"


def _where(error: Exception) -> str:
    """The last line of this folder that the error passed through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == Path(__file__).parent]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def wait(what: str, until: Callable[[], object], seconds: float, pause: float = 0.25) -> float:
    """Wait for something the deployed functions do on their own; returns the seconds it took, or raises Failed."""
    began = time.monotonic()
    while not until():
        if time.monotonic() - began > seconds:
            raise Failed(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(pause)
    return time.monotonic() - began


def expect(expected: object, actual: object, what: str) -> None:
    """Raises Failed unless both are equal."""
    if expected != actual:
        raise Failed(f"{what}: expected {expected!r}, got {actual!r}")
