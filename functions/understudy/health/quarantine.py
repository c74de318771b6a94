"""Who keeps a target from callers because of what was found: set once, by whoever proved it, lifted when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from understudy.detectors.sample import TRAFFIC, bought
from understudy.health.finding import Finding, Hold
from understudy.health.item import Health

SELF = "understudy"
"""Who holds what nobody has told to hold."""

MOST = 30
"""Findings that are kept of a target: its item is read by every router, and each takes some 1.5 KB of it."""

Stream = tuple[str, str]


def with_findings(health: Health, found: Mapping[Stream, Finding | None]) -> Health:
    """The health in which these streams have these findings, or none; those of other streams stay.

    Of more than MOST the confirmed are kept before the suspected, then those that can be asked again before those of
    callers' requests, then the older ones.
    """
    kept = [finding for finding in health.findings if (finding.stream, finding.kind) not in found]
    news = [finding for finding in found.values() if finding is not None]
    first = sorted([*kept, *news], key=lambda one: (*_precedence(one), *_age(one)))[:MOST]
    return replace(health, findings=tuple(sorted(first, key=_age)))


def _precedence(finding: Finding) -> tuple[bool, bool]:
    return finding.state != "confirmed", not (finding.stream == TRAFFIC or bought(finding.stream))


def _age(finding: Finding) -> tuple[float, str, str]:
    return finding.since, finding.stream, finding.kind


def worse(health: Health) -> Finding | None:
    """The proof that its answers are worse, the oldest where there are several.

    Only questions that are always the same prove it: what callers ask may change with them.
    """
    proofs = (one for one in health.findings if one.degrades and one.kind == "quality")
    return next((one for one in proofs if bought(one.stream)), None)


def quarantined(before: Health, after: Health, *, automatic: bool, now: float) -> Health:
    """The health with the hold that a proof brings, or without the one whose reason is over.

    Only the proof itself sets it: a hold that an operator has lifted does not come back while the proof stands.  A hold
    of an operator is never touched.
    """
    proof = worse(after)
    if proof is None:
        lifted = after.hold is not None and (after.hold.state, after.hold.by) == ("quarantined", SELF)
        return replace(after, hold=None) if lifted else after
    if not automatic or after.hold is not None or worse(before) is not None:
        return after
    stream = proof.stream or "callers' requests"
    cause = f"its answers to {stream} are worse: {proof.alarm.before} before, {proof.alarm.after} now"
    return replace(after, hold=Hold("quarantined", now, SELF, cause))
