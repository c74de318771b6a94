"""What beside its breaker is known of a target: what detectors found, how good its answers are, who holds it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from understudy.detectors.sample import Alarm, Kind, alarm_from


@dataclass(frozen=True, slots=True)
class Finding:
    """An alarm that stands.  `suspected`: the confirmation sample is not in yet; `confirmed`: it says so too."""

    stream: str
    state: Literal["suspected", "confirmed"]
    since: float
    alarm: Alarm

    @property
    def kind(self) -> Kind:
        return self.alarm.kind

    @property
    def degrades(self) -> bool:
        """Whether traffic should go elsewhere because of it."""
        return self.state == "confirmed" and self.alarm.verdict == "degraded"

    @property
    def told(self) -> str:
        """In a few words: `quality 0.86 → 0.64`."""
        before, after, unit = self.alarm.before, self.alarm.after, self.alarm.unit
        if before is None or after is None:
            return self.kind
        return f"{self.kind} {before:.3g} → {after:.3g}" + (f" {unit}" if unit else "")

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__} | {"alarm": self.alarm.plain()}


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the answers to one task are: the recent mean (0 to 1) of `weight` judged answers, the newest at `at`;
    `baseline` is what was normal, None while it is being learned."""

    mean: float
    weight: float
    at: float
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The target gets no callers' requests until the hold is lifted: an operator has drained it, or it is quarantined
    because of a finding (`by` "understudy", or the name of an operator)."""

    state: Literal["drained", "quarantined"]
    since: float
    by: str
    cause: str


def finding_from(plain: Mapping[str, Any]) -> Finding:
    """The finding that `plain()` wrote; fields of a newer version are ignored."""
    return Finding(**_known(Finding, plain) | {"alarm": alarm_from(plain["alarm"])})


def quality_from(plain: Mapping[str, Any]) -> Quality:
    return Quality(**_known(Quality, plain))


def hold_from(plain: Mapping[str, Any] | None) -> Hold | None:
    return Hold(**_known(Hold, plain)) if plain else None


def _known(form: type[Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: plain[field.name] for field in fields(form) if field.name in plain}
