"""How targets do, in words: what `understudy status` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.catalog import HealthSettings
from understudy.explain import when
from understudy.health.item import Health
from understudy.health.score import explained, scored
from understudy.health.state import state_of
from understudy.incidents.incident import Incident
from understudy.incidents.wording import page_words
from understudy.store_ports import Probing

STATUS = ("TARGET", "STATE", "SINCE", "SCORE", "FIRST TOKEN", "CAUSE", "LAST FAILURE")


def status(health: Health | None, settings: HealthSettings, now: float) -> dict[str, Any]:
    """State and score of a target as plain data; the score is that without any route's objective or prices."""
    state, score = state_of(health, now, period=settings.probe_period), scored(health, settings.score, now)
    named = {"state": state.name, "since": state.since, "cause": state.cause, "evidence": dict(state.evidence)}
    return named | {"score": score.value, "parts": explained(score)}


def status_row(name: str, health: Health | None, settings: HealthSettings, now: float) -> tuple[str, ...]:
    """The cells under STATUS of one target; `-` for what is not known."""
    known = status(health, settings, now)
    if health is None:
        return (name, known["state"], "-", "-", "-", known["cause"], "-")
    first = "-" if health.first_token is None else f"{health.first_token * 1000:.0f} ms"
    failure = f"{when(health.last_failure_at)} {health.last_failure}" if health.last_failure_at else "-"
    return (name, known["state"], when(known["since"]), f"{known['score']:.0f}", first, known["cause"], failure)


def incident_lines(incident: Incident) -> list[str]:
    """An open incident: what, since when, who takes care of it, and what its provider says itself."""
    taken = f", taken by {incident.acknowledged_by}" if incident.acknowledged_by else ""
    head = f"  {incident.severity} {incident.subject} {incident.kind} since {when(incident.opened_at)}{taken}"
    said = page_words(incident)
    return [head, f"    {incident.summary}", *([f"    {said}"] if said else [])]


def spent(probing: Mapping[str, Probing]) -> str:
    """What the probes of a day have cost, in all and of the five dearest targets."""
    dearest = sorted(((known.total, name) for name, known in probing.items() if known.total), reverse=True)
    if not dearest:
        return "nothing"
    named = ", ".join(f"{name} ${usd:.4f}" for usd, name in dearest[:5])
    more = f" and {len(dearest) - 5} more" if len(dearest) > 5 else ""
    return f"${sum(usd for usd, _ in dearest):.4f} ({named}{more})"
