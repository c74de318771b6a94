"""How an incident is told: a subject a person can act on, a plain text for e-mail, and JSON for machines."""

from __future__ import annotations

from datetime import UTC, datetime

from understudy.incidents.incident import Incident, Kind, Notice

SUBJECT_LIMIT = 99
"""Characters, the limit of an SNS subject (Amazon SNS API reference, Publish)."""

DID: dict[Kind, str] = {
    "outage": "It is out of the rotation: its routes are served by their other targets. Understudy probes it and "
    "brings it back by itself.",
    "credential": "It is benched: its routes are served by their other targets. Understudy tries it again from time "
    "to time.",
}
DO: dict[Kind, str] = {
    "outage": "Look at the provider's status page. If it lasts, move the lead of its routes in the control document "
    "(`understudy publish`). Runbook: infra/runbooks/outage.md",
    "credential": "Check the key behind the target's secret reference: revoked, expired, or out of credit. "
    "Runbook: infra/runbooks/credential.md",
}


def notice(incident: Incident) -> Notice:
    """What to tell about the incident as it is now; the id is the same for the same telling."""
    over = incident.status == "resolved"
    what = {"outage": "is down", "credential": "refuses our credential"}[incident.kind]
    head = f"{incident.subject} is back" if over else f"{incident.subject} {what}"
    if not over and incident.notices > 1:
        head += f" (still, since {_when(incident.opened_at)})"
    subject = f"[{'resolved' if over else incident.severity}] {head}"
    return Notice(
        id=f"{incident.id}/{incident.notices}",
        subject=_line(subject),
        text=_text(incident, head),
        data={"incident": incident.id, **incident.plain()},
        attributes={
            "severity": incident.severity,
            "kind": incident.kind,
            "status": incident.status,
            "target": incident.subject,
            "provider": str(incident.facts.get("provider", "unknown")),
        },
    )


def _text(incident: Incident, head: str) -> str:
    over = incident.status == "resolved"
    until = incident.resolved_at if incident.resolved_at is not None else incident.changed_at
    lines = [
        f"{head}.",
        "",
        f"What:      {incident.summary}",
        f"Since:     {_when(incident.opened_at)}" + (f" until {_when(until)}" if over else ""),
        f"Duration:  {_span(until - incident.opened_at)}",
        "Evidence:  " + ("; ".join(f"{k}: {v}" for k, v in sorted(incident.facts.items())) or "none"),
        "",
        "Done:      " + ("It takes traffic again." if over else DID[incident.kind]),
        "To do:     " + ("Nothing." if over else DO[incident.kind]),
    ]
    if incident.link:
        lines.append(f"More:      {incident.link}")
    return "\n".join([*lines, "", f"Incident {incident.id}"])


def _line(text: str) -> str:
    """One line of printable ASCII, as SNS demands of a subject."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= SUBJECT_LIMIT else plain[: SUBJECT_LIMIT - 3] + "..."


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    minutes, secs = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {secs} s" if minutes else f"{secs} s"
