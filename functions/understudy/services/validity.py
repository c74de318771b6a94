"""What can be said of a whole answer by its form, whether it went to a caller or was only a copy.

    tools     every tool call names an offered tool and has arguments that its schema allows (0 or 1)
    json      an answer that was to be JSON is, and what its schema asks for (0 or 1)
    refusals  0 where the model or the provider's filter refused
    finish    the share of choices that came to their own end, and not to the limit of tokens

What cannot be judged surely has no value.  It is judged before its caller's request ends, in the loop that serves the
others: so all of an answer together has one budget, whatever schemas its caller sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.request import ChatRequest
from understudy.chat.schema import Unjudgeable, violation
from understudy.chat.steps import Budget
from understudy.chat.stream import Chunk, index_of
from understudy.routing.resume import Delivered

LONGEST = 64 * 1024
"""Characters of JSON that are judged of one answer; reading more would take longer than a millisecond."""
MOST_STEPS = 1000
"""Steps of all judgements of one answer; some milliseconds."""

_FINISHES = {"stop": 1.0, "tool_calls": 1.0, "function_call": 1.0, "length": 0.0}


@dataclass(slots=True)
class _Left:
    """What may still be judged of an answer."""

    characters: int = LONGEST
    steps: Budget = field(default_factory=lambda: Budget(MOST_STEPS))


def judged(request: ChatRequest, given: Delivered) -> Iterator[tuple[str, float]]:
    """The signals of a whole answer, each with its value."""
    reasons = given.reasons.values()
    refused = given.refused or "content_filter" in reasons
    yield "refusals", 0.0 if refused else 1.0
    known = [_FINISHES[reason] for reason in reasons if reason in _FINISHES]
    if known:
        yield "finish", round(sum(known) / len(known), 3)
    if refused or len(known) < len(reasons) or 0.0 in known:
        # What was refused or cut is not whole, for a reason that has a signal of its own.
        return
    left = _Left()
    if given.calls and (value := _tools(request, given.calls, left)) is not None:
        yield "tools", value
    if request.is_structured and not given.calls and (value := _structured(request, given, left)) is not None:
        yield "json", value


def flaws(request: ChatRequest, given: Delivered) -> list[str]:
    """The signals by which a whole answer is not as it should be.  One that was cut at its length is whole as far as it
    goes: that was asked for."""
    return [signal for signal, value in judged(request, given) if value < 1 and signal != "finish"]


def _tools(request: ChatRequest, chunks: Sequence[Chunk], left: _Left) -> float | None:
    """Whether all calls are of offered tools and as their schemas have it; None where that cannot be said."""
    offered = dict(_offered(request.body.get("tools") or ()))
    calls = _calls(chunks) if offered else None
    if not calls:
        return None
    unjudged = False
    for name, pieces in calls:
        if name not in offered:
            if not _all_known(request):
                unjudged = True
                continue
            return 0.0
        try:
            if pieces is not None and not _allowed(offered[name], pieces, left):
                return 0.0
        except Unjudgeable:
            unjudged = True
    return None if unjudged else 1.0


def _all_known(request: ChatRequest) -> bool:
    """Whether all tools are in the request's body: those that only one protocol's providers know, such as a shell, are
    in what the caller wrote alone, and may be called all the same."""
    written = request.native.body.get("tools") if request.native else None
    return not isinstance(written, list) or len(written) <= len(request.body.get("tools") or ())


def _offered(tools: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, object]]:
    """The callers' own tools by name, each with the schema of its arguments."""
    for tool in tools:
        about = tool.get(tool["type"]) if tool.get("type") in ("function", "custom") else None
        if isinstance(about, Mapping) and isinstance(about.get("name"), str):
            yield about["name"], about.get("parameters", True)


def _calls(chunks: Sequence[Chunk]) -> list[tuple[str, list[object] | None]] | None:
    """The name of each call with the pieces of its arguments, or None where its input is free text; None where it is
    not clear which piece belongs to which call."""
    calls: dict[tuple[int, int | None], tuple[object, str, list[object] | None]] = {}
    for chunk in chunks:
        for choice in chunk.payload.get("choices") or ():
            for part in (choice.get("delta") or {}).get("tool_calls") or ():
                index, id, about = part.get("index"), part.get("id"), part.get("function")
                key = (index_of(choice), index if isinstance(index, int) else None)
                if not isinstance(about, Mapping):
                    custom = part.get("custom")
                    if isinstance(custom, Mapping) and key not in calls:
                        calls[key] = (id, str(custom.get("name")), None)
                    continue
                known = calls.get(key)
                if known is None:
                    known = calls[key] = (id, str(about.get("name")), [])
                elif id and id != known[0]:
                    return None
                if known[2] is not None and (piece := about.get("arguments")) is not None:
                    known[2].append(piece)
    return [(name, pieces) for _, name, pieces in calls.values()]


def _allowed(schema: object, pieces: list[object], left: _Left) -> bool:
    """Raises Unjudgeable."""
    if len(pieces) == 1 and isinstance(pieces[0], Mapping):
        # Some servers send the object itself.
        return violation(schema, pieces[0], left.steps) is None
    if not all(isinstance(piece, str) for piece in pieces):
        raise Unjudgeable("the arguments are no text")
    text = "".join(map(str, pieces))
    found = _read(text, left) if text.strip() else {}
    return isinstance(found, Mapping) and violation(schema, found, left.steps) is None


def _structured(request: ChatRequest, given: Delivered, left: _Left) -> float | None:
    """Whether the answer is the JSON that was asked for; None where that cannot be said."""
    form = request.body["response_format"]
    texts = [text for (_, channel), text in given.texts.items() if channel == "content"]
    schema: object = {"type": "object"}
    if form["type"] == "json_schema":
        about = form.get("json_schema")
        schema = about.get("schema", True) if isinstance(about, Mapping) else True
    elif form["type"] != "json_object":
        return None
    try:
        return float(all(_is_json(schema, text, left) for text in texts)) if texts else None
    except Unjudgeable:
        return None


def _is_json(schema: object, text: str, left: _Left) -> bool:
    found = _read(text, left)
    return found is not _UNREADABLE and violation(schema, found, left.steps) is None


_UNREADABLE = object()


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is no number")


def _read(text: str, left: _Left) -> object:
    """The JSON of a text, or _UNREADABLE.  Raises Unjudgeable where it is too long or too deep."""
    left.characters -= len(text)
    if left.characters < 0:
        raise Unjudgeable(f"the answer is longer than {LONGEST} characters")
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise Unjudgeable("it is nested too deeply") from None
    except ValueError:
        return _UNREADABLE
