"""What an alarm says, for people: a sentence, figures, and a small picture in plain ASCII."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from understudy.detectors.sample import TRAFFIC, Alarm
from understudy.detectors.sample import Kind as Value
from understudy.incidents.incident import Action, Kind

LEVELS = "_.-=+*%#"
"""From the lowest to the highest, all of them in the oldest of mail programs."""
FAILED = "failed calls"
"""The fact that says that calls fail more often, where the target is not down."""
LOOK = "second look"
"""The fact that says whether an alarm was confirmed."""
UNSURE = "not sure"
PAGE = "status page"
"""The fact that repeats what the provider's own status page says: what follows after "its own status page"."""
KIND: Mapping[Value, Kind] = {
    "errors": "outage",
    "latency": "latency",
    "speed": "latency",
    "quality": "quality",
    "tokens": "tokens",
    "cost": "cost",
    "logprob": "changed",
    "fingerprint": "changed",
    "version": "version",
}
VALUE: Mapping[Value, str] = {
    "errors": "failed calls",
    "latency": "seconds to the first token",
    "speed": "tokens a second",
    "quality": "right answers",
    "tokens": "tokens of an answer",
    "cost": "cost of a call",
    "logprob": "shift of the first words' log-odds",
    "fingerprint": "first words",
    "version": "version",
}
HIDDEN = frozenset({"e_value", "doubt", "good", "actions", "trend"})
"""Evidence that has its own place, or is none for people."""


@dataclass(frozen=True, slots=True)
class Found:
    """One alarm of one stream as an incident tells it; `confirmed`: a second look says so too."""

    target: str
    stream: str
    confirmed: bool
    alarm: Alarm


def summary(found: Sequence[Found]) -> str:
    """A sentence of the first, and how many there are beside it."""
    alarm = found[0].alarm
    words = f"{VALUE[alarm.kind]} {where(found[0].stream)}"
    if alarm.before is not None and alarm.after is not None:
        words += f": {alarm.before:.3g} before, {alarm.after:.3g} now"
        if alarm.low is not None and alarm.high is not None:
            words += f" (95 % sure: {alarm.low:.3g} to {alarm.high:.3g})"
    else:
        words += " differ" if alarm.kind == "fingerprint" else " changed"
        told = "; ".join(f"{name}: {value}" for name, value in _shown(alarm).items())
        words += f" ({told})" if told else ""
    words += f", since about {when(alarm.changed_at)}"
    if not found[0].confirmed:
        words = f"not confirmed: {words}"
    return words + (f"; and {len(found) - 1} more like it" if len(found) > 1 else "")


def facts(found: Sequence[Found]) -> dict[str, Any]:
    """The figures of the first, and the streams of all."""
    alarm = found[0].alarm
    told: dict[str, Any] = {"seen in": "; ".join(dict.fromkeys(where(one.stream) for one in found))}
    told[LOOK] = "confirmed" if found[0].confirmed else UNSURE
    told["values since"] = alarm.samples_since
    if alarm.unit:
        told["unit"] = alarm.unit
    if alarm.kind == "errors" and alarm.before is not None and alarm.after is not None:
        told[FAILED] = f"{alarm.before:.1%} before, {alarm.after:.1%} now"
    trend = alarm.evidence.get("trend", ())
    if len(trend) > 1:
        told["trend"] = sparkline(trend)
    return told | _shown(alarm)


def actions(found: Sequence[Found]) -> list[Action]:
    """What was done, of each stream."""
    every: list[Action] = []
    for one in found:
        for at, what in one.alarm.evidence.get("actions", ()):
            every.append((float(at), f"{one.target}, {where(one.stream)}: {what}"))
    return every


def where(stream: str) -> str:
    """A stream in words."""
    return "of callers' requests" if stream == TRAFFIC else f"of the questions of {stream}"


def sparkline(values: Sequence[float]) -> str:
    """Values from the oldest to the newest, in plain ASCII, with what its lowest and highest mean."""
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    top = len(LEVELS) - 1
    drawn = "".join(LEVELS[round((value - low) / reach * top)] if high > low else LEVELS[3] for value in values)
    if high == low:
        return f"{drawn} (all {low:.3g})"
    return f"{drawn} (oldest first; {LEVELS[0]} is {low:.3g}, {LEVELS[-1]} is {high:.3g})"


def when(moment: float) -> str:
    """Seconds since the epoch as a person reads them."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _shown(alarm: Alarm) -> dict[str, str]:
    """The alarm's own evidence, one short word each."""
    return {name: str(value)[:200] for name, value in alarm.evidence.items() if name not in HIDDEN}
