"""What ends on a day that is known ahead: a model's life, a contract.  Told 90, 30 and 7 days ahead and on the day.

Pure.  Each step is told once: the incident says which one was told, and only a later one is told again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from understudy.incidents.incident import Incident, Severity, observed

STEPS = (90, 30, 7, 0)
"""Days ahead."""
DAY = 86400.0
STEP = "told for"
"""The fact that says for which day the incident was told last."""


@dataclass(frozen=True, slots=True)
class Date:
    """A moment (epoch seconds) at which something happens, in words; `grave`: callers lose the target then."""

    at: float
    what: str
    grave: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """What is to be told of a subject now: `since` is the day of the step that was reached last."""

    kind: Literal["lifecycle", "contract"]
    subject: str
    severity: Severity
    summary: str
    since: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def reached(dates: Sequence[Date], now: float) -> tuple[float, Date, int] | None:
    """The step that was reached last: when, of which date, how many days ahead of it; None where none was yet."""
    steps = [(date.at - days * DAY, date, days) for date in dates for days in STEPS]
    past = [step for step in steps if now >= step[0]]
    return max(past, key=lambda step: (step[0], step[1].grave)) if past else None


def ending(
    kind: Literal["lifecycle", "contract"],
    subject: str,
    dates: Sequence[Date],
    now: float,
    facts: Mapping[str, Any],
    hint: str = "",
) -> Ending | None:
    """What is to be told of a subject now; None where no step was reached."""
    step = reached(dates, now)
    if step is None:
        return None
    moment, date, days = step
    when = "today or before" if days == 0 else f"within {days} days"
    words = "; ".join(f"{one.what} on {day(one.at)}" for one in sorted(dates, key=lambda one: one.at))
    severity: Severity = "critical" if date.grave and days <= 7 else "warning"
    told = {**facts, "next": f"{date.what} {when}"}
    return Ending(kind, subject, severity, f"{words}{hint}", day(moment), told)


def told(current: Incident | None, one: Ending, *, now: float, link: str) -> Incident | None:
    """The incident after a look at the calendar; None where nothing is new.  A step that was reached is told whoever
    has acknowledged an earlier one."""
    before = current.facts if current is not None and current.status == "open" else {}
    moved = any(before.get(name) != value for name, value in one.facts.items() if name.endswith(" on"))
    return observed(
        current,
        subject=one.subject,
        kind=one.kind,
        severity=one.severity,
        summary=one.summary,
        facts={**one.facts, STEP: max(one.since, "" if moved else str(before.get(STEP, "")))},
        now=now,
        renotify=float("inf"),
        link=link,
        again=moved or one.since > str(before.get(STEP, "")),
    )


def day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
