"""A decision in words: what `understudy explain` prints of the log records of one request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from understudy.catalog import Capabilities

Record = Mapping[str, Any]

# What has its own place in the words; every other field comes last, as it is.
# fmt: off
_TOLD = frozenset({
    "at", "message", "request_id", "client", "route", "document_version", "stream", "outcome", "target",
    "reported_model", "candidates", "denied", "unfit", "skipped", "attempts", "resumed", "usage",
    "usage_estimated", "cost_usd", "attempts_cost_usd", "limits", "time_to_commit_ms", "ms", "status", "code",
    "param", "causes", "strategy", "canary", "shadow", "held", "constraints",
})
_TOLD_OF_ATTEMPT = frozenset({
    "target", "how", "hedge", "outcome", "detail", "effect", "status", "first_token_ms", "ms", "reported_model",
    "usage", "usage_estimated", "cost_usd",
})
# fmt: on
_LEFT = ("CancelledError", "GeneratorExit")
_MOST = Capabilities()


def explain(records: Sequence[Record], targets: Record | None = None) -> str:
    """What happened to one request, for a person.

    `records` are its log records, oldest first, `targets` those of the control document that was in force, by name: an
    unfit one is told with what it declares.  A field that is missing is left out, one that is not known here is shown
    as it is; nothing in a record makes this fail.
    """
    decision = next((r for r in records if r.get("message") == "decision"), {})
    refused = next((r for r in records if r.get("message") == "refused"), {})
    others = [r for r in records if r is not decision and r is not refused]
    lines = [_headline(decision or refused or (records[0] if records else {}))]
    lines += _joined(
        _said("control document version ", decision.get("document_version")),
        _said("client ", decision.get("client")),
        "streamed" if decision.get("stream") is True else "",
        _said("first chunk given out after ", _span(decision.get("time_to_commit_ms"))),
        _said("the model calls itself ", decision.get("reported_model")),
    )
    places: list[list[str]] = [
        [f"{number}.", *row] for number, row in enumerate(_reasons(decision.get("candidates")), start=1)
    ]
    lines += _section("constraints", [[_plain(decision.get("constraints") or refused.get("constraints"))]])
    if decision.get("strategy") not in (None, "ordered"):
        lines += _section("strategy", [[_text(decision.get("strategy"))]])
    lines += _section("candidates", places)
    lines += _section("scores", _scores(decision.get("candidates")))
    lines += _section("canary", [[_text(decision.get("canary"))]])
    lines += _section("shadow", _reasons([decision.get("shadow")]))
    lines += _section("drained", _reasons(decision.get("held")))
    lines += _section("denied", _reasons(decision.get("denied")))
    lines += _section("unfit", [[*row, _declared(row[0], targets)] for row in _reasons(decision.get("unfit"))])
    lines += _section("not asked", _reasons(decision.get("skipped")))
    lines += _section("attempts", _attempts(decision.get("attempts")))
    lines += _section("resumed", [[_resumption(one)] for one in _objects(decision.get("resumed"))])
    lines += _section("answer", [[_spent(decision)]])
    lines += _section("in all", [[_said("$", decision.get("attempts_cost_usd"))]])
    lines += _section("limits", [[_plain(decision.get("limits"))]])
    lines += _section("refused", [[_refusal(refused)]])
    if decision.get("candidates") is None:
        # The field that nobody takes is named only where that is the reason.
        declared = targets if refused.get("param") is not None else None
        lines += _section("because", [[*row, _declared(row[0], declared)] for row in _reasons(refused.get("causes"))])
    for record in (decision, refused):
        lines += _section("also", [[_plain(_rest(record, _TOLD))]])
    for record in others:
        lines += _section("log", [[_plain({k: v for k, v in record.items() if k not in ("at", "request_id")})]])
    return "\n".join(lines)


def when(moment: float) -> str:
    """Seconds since the epoch as a person reads them; `-` for none."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "-"


def _headline(record: Record) -> str:
    parts = [
        f"request {_text(record.get('request_id'))}",
        _said("route ", record.get("route")),
        _began(record),
        _outcome(record),
    ]
    return "  ".join(part for part in parts if part)


def _began(record: Record) -> str:
    """When the request came: the record was written at its end."""
    at = _number(record.get("at"))
    if at is None:
        return ""
    try:
        return when(at - (_number(record.get("ms")) or 0) / 1000)
    except (OverflowError, ValueError, OSError):
        return ""


def _outcome(record: Record) -> str:
    outcome, attempts = record.get("outcome"), record.get("attempts")
    count = len(attempts) if isinstance(attempts, Sequence) and not isinstance(attempts, str) else None
    tries = "" if count is None else f" after {count} attempt{'' if count == 1 else 's'}"
    took = _said(" in ", _span(record.get("ms")))
    if record.get("message") == "refused":
        return f"turned away{took}"
    if outcome == "ok":
        return f"answered by {_text(record.get('target'))}{tries}{took}"
    if outcome in _LEFT:
        return f"the caller left{tries}{took}"
    if outcome is None:
        return "" if record.get("message") == "decision" else _text(record.get("message"))
    return f"not answered ({_name(outcome)}){tries}{took}"


def _attempts(attempts: object) -> list[list[str]]:
    rows = []
    for number, attempt in enumerate(_objects(attempts), start=1):
        rest = _plain(_rest(attempt, _TOLD_OF_ATTEMPT))
        words = [_tags(attempt), _result(attempt), _said("→ ", attempt.get("effect")), f"[{rest}]" if rest else ""]
        rows.append([f"{number}.", _text(attempt.get("target")), "  ".join(word for word in words if word)])
    return rows


def _tags(attempt: Record) -> str:
    """How the target was asked, where it was not simply asked."""
    tags = "".join(_joined(_text(attempt.get("how")), "hedge" if attempt.get("hedge") is True else ""))
    return _bracketed(tags)


def _result(attempt: Record) -> str:
    took, first = _span(attempt.get("ms")), _said("first token after ", _span(attempt.get("first_token_ms")))
    cost = [_spent(attempt), _said("by ", attempt.get("reported_model"))]
    if attempt.get("outcome") == "ok":
        return "".join(_joined("answered", first, took, *cost))
    head = _text(attempt.get("outcome")) + _said(" ", _bracketed(attempt.get("status"))) + _said(" after ", took)
    return "".join(_joined(head, first, *cost)) + _said(": ", attempt.get("detail"))


def _bracketed(value: object) -> str:
    text = _text(value)
    return f"({text})" if text else ""


def _spent(record: Record) -> str:
    """Tokens, in and out, and dollars."""
    usage, tokens = record.get("usage"), ""
    if isinstance(usage, Mapping):
        estimated = record.get("usage_estimated") is True
        counts = f"{_text(usage.get('prompt_tokens'))}+{_text(usage.get('completion_tokens'))} tokens"
        tokens = f"about {counts} (estimated)" if estimated else counts
    return "".join(_joined(tokens, _said("$", record.get("cost_usd"))))


def _resumption(one: Record) -> str:
    parts = [
        _said("from ", one.get("from")),
        _said("to ", one.get("to")),
        _said("at character ", one.get("at")),
        _said("by ", one.get("how")),
        _plain(_rest(one, frozenset({"from", "to", "at", "how"}))),
    ]
    return " ".join(part for part in parts if part)


def _refusal(refused: Record) -> str:
    if not refused:
        return ""
    facts = _joined(
        _said("status ", refused.get("status")),
        _said("code ", refused.get("code")),
        _said("field ", refused.get("param")),
        _name(refused.get("outcome")),
    )
    return "".join(facts)


def _reasons(causes: object) -> list[list[str]]:
    return [[_text(cause.get("target")), _text(cause.get("reason"))] for cause in _objects(causes)]


def _scores(candidates: object) -> list[list[str]]:
    """The score of each candidate and its parts, once; none where none was logged."""
    scored = {_text(one.get("target")): one for one in _objects(candidates) if one.get("score") is not None}
    return [[name, _text(one["score"]), _text(one.get("parts"))] for name, one in scored.items()]


def _declared(name: str, targets: Record | None) -> str:
    """What a target declares that differs from what one declares by saying nothing."""
    target = (targets or {}).get(name)
    can = target.get("capabilities") if isinstance(target, Mapping) else None
    if not isinstance(can, Mapping):
        return ""
    usual = {one: getattr(_MOST, one) for one in _MOST.__slots__}
    names = [*(one for one in usual if one in can), *(one for one in can if one not in usual)]
    words = [_capability(one, can[one]) for one in names if can[one] not in (usual.get(one), [])]
    return f"[it declares: {', '.join(words) or 'nothing'}]"


def _capability(name: str, value: object) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {', '.join(map(_text, value)) if isinstance(value, list) else _text(value)}"


def _rest(record: Record, told: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in told}


def _section(label: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, the label before the first; nothing where there is nothing to say."""
    rows = [row for row in rows if any(row)]
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [f"{f'{label}:' if number == 0 else '':<13}{line}" for number, line in enumerate(lines)]


def _joined(*parts: str) -> list[str]:
    """The parts that say something as one line, or no line."""
    said = ", ".join(part for part in parts if part)
    return [said] if said else []


def _said(before: str, value: object) -> str:
    """The value with its word before it, or nothing where there is none."""
    text = _text(value)
    return f"{before}{text}" if text else ""


def _span(value: object) -> str:
    ms = _number(value)
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if abs(ms) < 10_000 else f"{ms / 1000:.1f}".removesuffix(".0") + " s"


def _name(error: object) -> str:
    """The name of an exception in words: NoTargetAnswered, no target answered."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", _text(error)).lower()


def _plain(value: object) -> str:
    """Anything, on one line; what is not set is left out."""
    if isinstance(value, Mapping):
        set_ones = {_text(name): inner for name, inner in value.items() if inner not in (None, "", [], {})}
        return ", ".join(_field(name, inner) for name, inner in set_ones.items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(inner) for inner in value)
    return _text(value)


def _field(name: str, value: object) -> str:
    """A field of any record; the end of its name says the unit."""
    words, _, unit = name.rpartition("_")
    if words and unit == "ms" and _number(value) is not None:
        return f"{words.replace('_', ' ')} {_span(value)}"
    if words and unit == "usd":
        return f"{words.replace('_', ' ')} ${_plain(value)}"
    return f"{name.replace('_', ' ')} {_plain(value)}"


def _text(value: object) -> str:
    """Printable text: a provider's words must not drive the terminal."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)


def _objects(value: object) -> Iterable[Record]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
