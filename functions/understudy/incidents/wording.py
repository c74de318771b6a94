"""How an incident is told: a subject a person can act on, a plain text for e-mail, and JSON for machines."""

from __future__ import annotations

from understudy.incidents.evidence import FAILED, LOOK, PAGE, UNSURE, when
from understudy.incidents.incident import ACCOUNT, PROVIDER, Incident, Kind, Notice

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
    "price": "has a price that nobody knows",
    "budget": "has spent most of its budget",
}
FAILING = "fails more often than it did"
USED_UP = "has spent its budget"
OVER: dict[Kind, str] = {
    "outage": "is back",
    "credential": "is back",
    "latency": "is as fast as it was",
    "quality": "answers as well as it did",
    "tokens": "has a usual length of answers again",
    "cost": "costs what it did",
    "changed": "no longer counts as changed",
    "version": "is accepted in its new version",
    "price": "has no unknown price any more",
    "budget": "has money again",
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
    "price": "It keeps its traffic. Its calls are counted at an assumed price, and told as estimated.",
    "budget": "Its requests go on until all is spent; then they are refused (429, insufficient_quota) until a new day "
    "or month (UTC) begins.",
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
    "price": "Write `price` of the target in the control document, or publish with an installation whose price book "
    "knows the model; `understudy prices` shows what is known. Runbook: infra/runbooks/price.md",
    "budget": "See what it is spent on, and raise the budget if it is right: {budget}. "
    "Runbook: infra/runbooks/budget.md",
}
SPENDS = "spends more than it used to"
SPENT = "spends what it used to"
SPENDING = "Nothing: its requests go on. A budget of the key would stop it."
WHO_SPENDS = (
    "See what it spends: `understudy cost --key {key} --by day --by route --by target`. If it is not meant, revoke the "
    "key or give it a budget. Runbook: infra/runbooks/spending.md"
)
"""Of the kind `cost`, where an account is its subject."""
COMMANDS = {
    "quarantine": "`understudy quarantine {target} --because TEXT`",
    "drain": "`understudy drain {target} --because TEXT`",
    "release": "`understudy release {target}`",
    "accept": "`understudy accept {target}`",
    "budget": "`understudy keys show {key}`, `understudy keys set {key} --usd-per-day USD`",
}


def notice(incident: Incident) -> Notice:
    """What to tell about the incident as it is now; the id is the same for the same telling."""
    over = incident.status == "resolved"
    what = FAILING if FAILED in incident.facts and incident.kind == "outage" else WHAT[incident.kind]
    what = USED_UP if incident.kind == "budget" and incident.severity == "critical" else what
    ended = OVER[incident.kind]
    if _pace(incident):
        what, ended = SPENDS, SPENT
    doubt = "perhaps " if incident.facts.get(LOOK) == UNSURE else ""
    head = f"{_name(incident)} {ended if over else doubt + what}"
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


def _pace(incident: Incident) -> bool:
    """Whether it tells how fast an account spends."""
    return incident.kind == "cost" and incident.subject.startswith(ACCOUNT)


def _name(incident: Incident) -> str:
    if incident.subject.startswith(ACCOUNT):
        return f"Key {incident.facts.get('account', incident.subject.removeprefix(ACCOUNT))}"
    shared = incident.subject.startswith(PROVIDER)
    return f"Every target of {incident.subject.removeprefix(PROVIDER)}" if shared else incident.subject


def _did(incident: Incident) -> str:
    if incident.kind == "outage" and FAILED in incident.facts:
        return "It keeps its traffic; failed calls go on to the next target. Its breaker opens if it gets worse."
    return SPENDING if _pace(incident) else DID[incident.kind]


def _taken_back(incident: Incident) -> str:
    return "It takes traffic again." if incident.kind in ("outage", "credential") else "The alarm is over."


def _to_do(incident: Incident) -> str:
    if _pace(incident):
        return WHO_SPENDS.format(key=incident.subject.removeprefix(ACCOUNT))
    shared = incident.subject.startswith(PROVIDER)
    target = "TARGET" if shared else incident.subject
    key = incident.subject.removeprefix(ACCOUNT)
    commands = {name: words.format(target=target, key=key) for name, words in COMMANDS.items()}
    return DO[incident.kind].format(**commands)


def _line(text: str) -> str:
    """One line of printable ASCII, as SNS demands of a subject."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= SUBJECT_LIMIT else plain[: SUBJECT_LIMIT - 3] + "..."


def _span(seconds: float) -> str:
    minutes, secs = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {secs} s" if minutes else f"{secs} s"
