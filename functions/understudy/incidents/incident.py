"""An incident: something is wrong with a subject, from when it was confirmed until it is over.

Key = (subject, kind).  Pure: what happened comes back as a new value; the store decides races by revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["outage", "credential", "latency", "quality", "tokens", "cost", "changed", "version", "price", "budget"]
"""What is wrong: calls fail; the credential is refused; slower; worse answers; longer or shorter answers; dearer; other
first words, so another model; another version, as the provider says itself; its price is not known; the money of a
client key is spent."""

KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
Status = Literal["open", "resolved"]
Severity = Literal["critical", "warning"]
Action = tuple[float, str]
"""When, and what was done, in words."""

MOST_ACTIONS = 20
OVER = "over"
"""The fact that says why an incident ended."""
ACCOUNT = "key:"
"""Begins the subject of an incident of an account: the beginning of a client key's hash, or "router" for itself; of one
of its budget the key's name."""
PROVIDER = "provider:"
"""Begins the subject of an incident that all targets of a provider share; the name of a target cannot."""


@dataclass(frozen=True, slots=True)
class Incident:
    """`notices` counts what is to be told: it grows by one for the opening, each reminder and the resolution.
    Times are epoch seconds; `facts` are the figures that prove it, for people and machines; `actions` what was done,
    oldest first.  An acknowledged one is not told again before its end."""

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
    actions: tuple[Action, ...] = ()
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    rev: int = 0

    @property
    def id(self) -> str:
        """Unique over time: the same subject and kind may have an incident again later."""
        return f"{self.subject}/{self.kind}/{int(self.opened_at * 1000)}"

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "rev"}
        return plain | {"facts": dict(self.facts), "actions": [list(action) for action in self.actions]}


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
    known = {name: plain[name] for name in Incident.__slots__ if name in plain}
    actions = tuple((at, what) for at, what in plain.get("actions", ()))
    return Incident(**known | {"actions": actions, "rev": rev})


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
    actions: Sequence[Action] = (),
) -> Incident | None:
    """The incident after the trouble was seen (again): opened, updated in place, or None where nothing is new.

    An open one is told again only when `renotify` seconds have passed since it was last told and nobody has
    acknowledged it, or when it has become critical.  `actions` are added to those that are known.
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
            actions=_joined((), actions),
            rev=current.rev if current else 0,
        )
    worse = severity == "critical" and current.severity != "critical"
    due = worse or (current.acknowledged_at is None and now - current.noticed_at >= renotify)
    done = _joined(current.actions, actions)
    if not due and (current.summary, dict(current.facts), current.actions) == (summary, dict(facts), done):
        return None
    return replace(
        current,
        changed_at=now,
        severity=severity if worse else current.severity,
        summary=summary,
        facts=facts,
        actions=done,
        noticed_at=now if due else current.noticed_at,
        notices=current.notices + (1 if due else 0),
    )


def acknowledged(current: Incident | None, *, now: float, by: str) -> Incident | None:
    """The incident with somebody who takes care of it; None where none is open, or it has somebody."""
    if current is None or current.status == "resolved" or current.acknowledged_at is not None:
        return None
    actions = _joined(current.actions, [(now, f"acknowledged by {by}")])
    return replace(current, changed_at=now, acknowledged_at=now, acknowledged_by=by, actions=actions)


def ending(current: Incident | None, *, now: float, why: str) -> Incident | None:
    """The incident with the reason for which it is about to end, which is not told yet; None where none is open."""
    if current is None or current.status == "resolved":
        return None
    return replace(
        current, changed_at=now, facts={**current.facts, OVER: why}, actions=_joined(current.actions, [(now, why)])
    )


def resolved(
    current: Incident | None,
    *,
    now: float,
    facts: Mapping[str, Any],
    actions: Sequence[Action] = (),
    quiet: bool = False,
) -> Incident | None:
    """The incident resolved, or None where none is open; `quiet`: the end is not told, since it goes on elsewhere."""
    if current is None or current.status == "resolved":
        return None
    return replace(
        current,
        status="resolved",
        resolved_at=now,
        changed_at=now,
        noticed_at=current.noticed_at if quiet else now,
        notices=current.notices + (0 if quiet else 1),
        facts={**current.facts, **facts},
        actions=_joined(current.actions, actions),
    )


def _joined(known: Sequence[Action], more: Sequence[Action]) -> tuple[Action, ...]:
    """Both in the order of time, each once; of too many the first and the newest."""
    every = sorted(dict.fromkeys((*known, *more)), key=lambda action: action[0])
    return tuple(every if len(every) <= MOST_ACTIONS else [*every[:2], *every[2 - MOST_ACTIONS :]])
