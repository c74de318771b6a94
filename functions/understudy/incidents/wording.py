"""How an incident is told: a subject a person can act on, a plain text for e-mail, and JSON for machines."""

from __future__ import annotations

from understudy.incidents.evidence import FAILED, LOOK, PAGE, UNSURE, when
from understudy.incidents.incident import PROVIDER, Incident, Kind, Notice

SUBJECT_LIMIT = 99
"""Characters, the limit of an SNS subject (Amazon SNS API reference, Publish)."""

WHAT: dict[Kind, str] = {
    "outage": "is down",
    "credential": "refuses our credential",
    "latency": "is slower than it was",
    "quality": "answers worse than it did",
    "tokens": "writes answers of another length",
    "cost": "costs more than it did",
    "changed": "answers like another model",
    "version": "is another version now",
    "lifecycle": "is being retired by its provider",
    "contract": "has a contract that ends",
}
FAILING = "fails more often than it did"
OVER: dict[Kind, str] = {
    "outage": "is back",
    "credential": "is back",
    "latency": "is as fast as it was",
    "quality": "answers as well as it did",
    "tokens": "has a usual length of answers again",
    "cost": "costs what it did",
    "changed": "no longer counts as changed",
    "version": "is accepted in its new version",
    "lifecycle": "needs no replacement any more",
    "contract": "has no contract that ends soon",
}
DID: dict[Kind, str] = {
    "outage": "It is out of the rotation: its routes are served by their other targets. Understudy probes it and "
    "brings it back by itself.",
    "credential": "It is benched: its routes are served by their other targets. Understudy tries it again from time "
    "to time.",
    "latency": "It keeps its traffic; routes that choose by score send it less. Waits follow its own times.",
    "quality": "Routes that choose by score send it less. Where a route says `quarantine: automatic` it is kept from "
    "callers until it is good again.",
    "tokens": "Nothing: it keeps its traffic. What is normal is not learned anew before somebody accepts it, or the "
    "new version with which it came is accepted.",
    "cost": "It keeps its traffic; routes that choose by cost or score send it less.",
    "changed": "Nothing: it keeps its traffic. What is normal is not learned anew before somebody accepts it, or the "
    "new version with which it came is accepted.",
    "version": "It is asked the same questions as before the change. Without a loss the new version is accepted; with "
    "one there is a second incident, of its quality.",
    "lifecycle": "Nothing: it keeps its traffic for as long as its provider answers. Nobody takes its place but the "
    "targets that its routes list.",
    "contract": "Nothing yet: it keeps its traffic up to the last day of the contract. From then on it is denied, on "
    "every call, and its routes are served by their other targets.",
}
DO: dict[Kind, str] = {
    "outage": "Look at the provider's status page. If it lasts, move the lead of its routes in the control document "
    "(`understudy publish`). Runbook: infra/runbooks/outage.md",
    "credential": "Check the key behind the target's secret reference: revoked, expired, or out of credit. "
    "Runbook: infra/runbooks/credential.md",
    "latency": "If callers feel it, move the lead of its routes (`understudy publish`), or take it out now: {drain}. "
    "Runbook: infra/runbooks/latency.md",
    "quality": "Take it out if nobody has: {quarantine}. Bring it back: {release}. Runbook: infra/runbooks/quality.md",
    "tokens": "Look whether answers are still what you want; then {accept}. Runbook: infra/runbooks/tokens.md",
    "cost": "Compare the price in the control document with the provider's, and the length of answers; then {accept}. "
    "Runbook: infra/runbooks/cost.md",
    "changed": "Look for an announcement of the provider; take it out if you doubt it: {drain}; else {accept}. "
    "Runbook: infra/runbooks/changed.md",
    "version": "Nothing, if the comparison ends well. To end it yourself: {accept}, or {drain}. "
    "Runbook: infra/runbooks/version.md",
    "lifecycle": "Put its replacement on its routes before that day, as a canary first, and take it off them "
    "(`understudy publish`). Runbook: infra/runbooks/lifecycle.md",
    "contract": "Renew the contract and write its new last day into the control document, or take the target off its "
    "routes (`understudy publish`). Runbook: infra/runbooks/contract.md",
}
COMMANDS = {
    "quarantine": "`understudy quarantine {target} --because TEXT`",
    "drain": "`understudy drain {target} --because TEXT`",
    "release": "`understudy release {target}`",
    "accept": "`understudy accept {target}`",
}


def notice(incident: Incident) -> Notice:
    """What to tell about the incident as it is now; the id is the same for the same telling."""
    over = incident.status == "resolved"
    what = FAILING if FAILED in incident.facts and incident.kind == "outage" else WHAT[incident.kind]
    doubt = "perhaps " if incident.facts.get(LOOK) == UNSURE else ""
    head = f"{_name(incident)} {OVER[incident.kind] if over else doubt + what}"
    if not over and incident.notices > 1:
        head += f" (still, since {when(incident.opened_at)})"
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
    figures = sorted((k, v) for k, v in incident.facts.items() if k not in ("trend", PAGE))
    lines = [
        f"{head}.",
        "",
        f"What:      {incident.summary}",
        f"Since:     {when(incident.opened_at)}" + (f" until {when(until)}" if over else ""),
        f"Duration:  {_span(until - incident.opened_at)}",
        "Evidence:  " + ("; ".join(f"{k}: {v}" for k, v in figures) or "none"),
    ]
    if "trend" in incident.facts:
        lines.append(f"Trend:     {incident.facts['trend']}")
    if PAGE in incident.facts:
        lines.append(f"Provider:  {page_words(incident)}")
    lines += [
        "",
        "Done:      " + (_taken_back(incident) if over else _did(incident)),
        *(f"           {when(at)}  {what}" for at, what in incident.actions),
        "To do:     " + ("Nothing." if over else _to_do(incident)),
    ]
    if incident.acknowledged_by:
        lines.append(f"Taken by:  {incident.acknowledged_by}")
    if incident.link:
        lines.append(f"More:      {incident.link}")
    return "\n".join([*lines, "", f"Incident {incident.id}"])


def page_words(incident: Incident) -> str:
    """What the provider says itself; empty where that is not known.  Of an incident that is over it may be older."""
    if PAGE not in incident.facts:
        return ""
    over = " (when it was last looked at)" if incident.status == "resolved" else ""
    return f"its own status page {incident.facts[PAGE]}{over}"


def _name(incident: Incident) -> str:
    shared = incident.subject.startswith(PROVIDER)
    return f"Every target of {incident.subject.removeprefix(PROVIDER)}" if shared else incident.subject


def _did(incident: Incident) -> str:
    if incident.kind == "outage" and FAILED in incident.facts:
        return "It keeps its traffic; failed calls go on to the next target. Its breaker opens if it gets worse."
    return DID[incident.kind]


def _taken_back(incident: Incident) -> str:
    return "It takes traffic again." if incident.kind in ("outage", "credential") else "The alarm is over."


def _to_do(incident: Incident) -> str:
    shared = incident.subject.startswith(PROVIDER)
    target = "TARGET" if shared else incident.subject
    commands = {name: words.format(target=target) for name, words in COMMANDS.items()}
    return DO[incident.kind].format(**commands)


def _line(text: str) -> str:
    """One line of printable ASCII, as SNS demands of a subject."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= SUBJECT_LIMIT else plain[: SUBJECT_LIMIT - 3] + "..."


def _span(seconds: float) -> str:
    minutes, secs = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {secs} s" if minutes else f"{secs} s"
