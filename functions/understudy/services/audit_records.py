"""What the audit says of a request: plain data without floats, bounded, and without content unless its route asks.

Times are text, durations whole milliseconds, money decimal text, so that whoever reads and writes a record again gets
the same text, and the same hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from understudy.audit.chain import moment
from understudy.chat.usage import Usage
from understudy.errors import Cause
from understudy.facts import Constraints, plain_constraints
from understudy.keys import ClientKey
from understudy.routing.journal import Attempt
from understudy.services.handling import Asked, Handling

HASH = 12
"""Characters of a key's hash, as `understudy keys list` shows them."""
MOST = 100
"""Candidates, denials or attempts of one record."""
REASON = 300
"""Characters of a reason."""
CONTENT = 32_000
"""Characters of a prompt, and of an answer, where a route keeps them."""
ESCAPED = 96_000
"""Bytes of one of them as JSON that is all ASCII: a log line may have 256 KB."""
_DENIED = re.compile(r"denied by ([\w.-]{1,64}): (.*)", re.DOTALL)
_WORD = re.compile(r"[\w.:/\[\]-]{1,128}")


def of_request(handling: Handling, error: BaseException | None, now: float) -> dict[str, Any]:
    """The record of a request on which was decided."""
    journal, decision, answering = handling.journal, handling.decision, handling.journal.answering
    spent = answering.cost if answering else None
    record = {
        "kind": "request",
        "at": moment(handling.started_at),
        "request_id": handling.id,
        "client": _client(handling.client, handling.client.hash),
        "front": handling.front,
        "route": handling.route.name,
        "document_version": handling.version,
        "constraints": _plain(handling.constraints),
        "personal_data": dict(handling.found) if handling.found is not None else None,
        "outcome": "ok" if error is None else type(error).__name__,
        "strategy": decision.strategy,
        "candidates": [ranked.target.name for ranked in decision.candidates[:MOST]],
        "denied": denials(decision.denied),
        "unfit": _causes(decision.unfit),
        "held": _causes(decision.held),
        "skipped": _causes(journal.skipped),
        "attempts": [_attempt(attempt) for attempt in journal.attempts[:MOST]],
        "target": answering.target.name if answering else None,
        "reported_model": answering.version[:200] if answering else None,
        "tokens": _tokens(answering),
        "cost_usd": None if spent is None else str(spent),
        "attempts_cost_usd": str(journal.spent),
        "resumed": [one.fields() for one in journal.resumptions],
        "shadow": handling.shadow.fields() if handling.shadow else None,
        "ms": round((now - handling.started_at) * 1000),
    }
    return record | ({"content": _content(handling)} if handling.route.audit_content else {})


def of_refused(asked: Asked, error: BaseException, status: int, now: float) -> dict[str, Any]:
    """The record of a request that was turned away: who asked, and by which rule, as far as it is known."""
    return {
        "kind": "request",
        "at": moment(now),
        "request_id": asked.id,
        "client": _client(asked.client, asked.key_hash),
        "front": _word(asked.front),
        "route": _word(asked.route),
        "document_version": asked.version,
        "constraints": _plain(asked.constraints),
        "outcome": type(error).__name__,
        "status": status,
        "rule": _word(getattr(error, "code", None)),
        "denied": denials(getattr(error, "causes", ())),
        "target": None,
    }


def denials(causes: Iterable[Cause]) -> list[dict[str, Any]]:
    """Who was not asked, by which rule."""
    told = []
    for cause in list(causes)[:MOST]:
        found = _DENIED.fullmatch(cause.kept or cause.reason)
        rule, reason = found.groups() if found else (None, cause.kept or cause.reason)
        told.append({"target": cause.target, "rule": rule, "reason": reason[:REASON]})
    return told


def _client(client: ClientKey | None, key_hash: str) -> dict[str, Any] | None:
    """Who asked; of an unknown key no more than the beginning of its hash."""
    if client is None:
        return {"key": key_hash[:HASH]} if key_hash else None
    return {"name": client.name, "key": client.hash[:HASH], "owner": client.owner}


def _plain(constraints: Constraints | None) -> dict[str, Any]:
    return plain_constraints(constraints) if constraints is not None else {}


def _causes(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{"target": cause.target, "reason": (cause.kept or cause.reason)[:REASON]} for cause in causes[:MOST]]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    spent = attempt.cost
    return {
        "target": attempt.target.name,
        "model": attempt.target.model,
        "reported_model": attempt.version or None,
        "how": attempt.how,
        "hedge": attempt.hedge,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "detail": attempt.detail[:REASON],
        "tokens": _tokens(attempt),
        "cost_usd": None if spent is None else str(spent),
        "ms": round(attempt.seconds * 1000),
    }


def _tokens(attempt: Attempt | None) -> dict[str, Any] | None:
    usage: Usage | None = attempt.usage if attempt else None
    if attempt is None or usage is None:
        return None
    told = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
    return told | ({"estimated": True} if attempt.estimated else {})


def _content(handling: Handling) -> dict[str, Any]:
    """Prompt and answer, cut where they are too long."""
    prompt = json.dumps(handling.request.body, ensure_ascii=False, default=str)
    texts = handling.journal.delivered.texts
    answer = "\n".join(texts[channel] for channel in sorted(texts))
    told = {"prompt": _kept(prompt), "answer": _kept(answer)}
    return told | ({"cut": True} if (len(prompt), len(answer)) != (len(told["prompt"]), len(told["answer"])) else {})


def _kept(text: str) -> str:
    # A text may hold half of a character that takes two; no JSON reader gives it back alike.
    kept = text[:CONTENT].encode("utf-8", "replace").decode("utf-8")
    while (size := len(json.dumps(kept))) > ESCAPED:
        kept = kept[: len(kept) * ESCAPED // size]
    return kept


def _word(said: object) -> str | None:
    """A name of ours; not whatever else a caller may have put in its place."""
    return said if isinstance(said, str) and _WORD.fullmatch(said) else None
