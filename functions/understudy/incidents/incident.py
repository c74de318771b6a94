"""An incident: something is wrong with a subject, from when it was confirmed until it is over.

Key = (subject, kind).  Pure: what happened comes back as a new value; the store decides races by revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["outage", "credential"]
Status = Literal["open", "resolved"]
Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Incident:
    """`notices` counts what is to be told: it grows by one for the opening, each reminder and the resolution.
    Times are epoch seconds; `facts` are the figures that prove it, for people and machines."""

    subject: str
    kind: Kind
    status: Status
    severity: Severity
    opened_at: float
    changed_at: float
    noticed_at: float
    notices: int
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    link: str = ""
    resolved_at: float | None = None
    rev: int = 0

    @property
    def id(self) -> str:
        """Unique over time: the same subject and kind may have an incident again later."""
        return f"{self.subject}/{self.kind}/{int(self.opened_at * 1000)}"

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "rev"} | {"facts": dict(self.facts)}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell: a line a person can act on, a text for e-mail, an object for machines, filter attributes."""

    id: str
    subject: str
    text: str
    data: Mapping[str, Any]
    attributes: Mapping[str, str]


def incident_from(plain: Mapping[str, Any], rev: int) -> Incident:
    """The incident that `plain()` wrote; fields of a newer version are ignored."""
    return Incident(**({name: plain[name] for name in Incident.__slots__ if name in plain} | {"rev": rev}))


def observed(
    current: Incident | None,
    *,
    subject: str,
    kind: Kind,
    severity: Severity,
    summary: str,
    facts: Mapping[str, Any],
    now: float,
    renotify: float,
    link: str = "",
) -> Incident | None:
    """The incident after the trouble was seen (again): opened, updated in place, or None where nothing is new.

    An open one is told again only when `renotify` seconds have passed since it was last told.
    """
    if current is None or current.status == "resolved":
        return Incident(
            subject=subject,
            kind=kind,
            status="open",
            severity=severity,
            opened_at=now,
            changed_at=now,
            noticed_at=now,
            notices=1,
            summary=summary,
            facts=facts,
            link=link,
            rev=current.rev if current else 0,
        )
    due = now - current.noticed_at >= renotify
    if not due and (current.summary, dict(current.facts)) == (summary, dict(facts)):
        return None
    return replace(
        current,
        changed_at=now,
        summary=summary,
        facts=facts,
        noticed_at=now if due else current.noticed_at,
        notices=current.notices + (1 if due else 0),
    )


def resolved(current: Incident | None, *, now: float, facts: Mapping[str, Any]) -> Incident | None:
    """The incident resolved, or None where none is open."""
    if current is None or current.status == "resolved":
        return None
    return replace(
        current,
        status="resolved",
        resolved_at=now,
        changed_at=now,
        noticed_at=now,
        notices=current.notices + 1,
        facts={**current.facts, **facts},
    )
