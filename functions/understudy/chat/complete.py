"""What an answer must have by the reference and a compatible server may leave out, filled in once for every front.

Pure: what has to be made up (ids, a time) is made from what is given, so that the same answer is the same again.
Source: the OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.chat.stream import Chunk, chunk_from, index_of
from understudy.chat.usage import counted

# A kind of call, and the field of it that grows piece by piece.
_INPUTS = {"function": "arguments", "custom": "input"}


@dataclass(slots=True)
class _Call:
    """One tool call: its place among those of its choice, what is known of it, and what waits for its name."""

    place: int
    given: object
    id: str = ""
    kind: str = "function"
    name: str = ""
    waiting: str = ""
    begun: bool = False
    said: bool = False
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Choice:
    calls: list[_Call] = field(default_factory=list)
    finished: bool = False


class Completed:
    """One answer, chunk by chunk.  `seed` is a name that no other answer has, `created` epoch seconds; with `one_call`
    only the first of a choice's calls is given on.

    Every chunk has an id, a model and a time; every choice an index and one stop reason, which is `tool_calls` where
    it stops after calls; calls are numbered from 0, and begin with an id of at most 40 characters where it is ours, and
    their name; their arguments are JSON.
    """

    def __init__(self, seed: str, created: int, *, one_call: bool = False) -> None:
        self._seed = seed
        self._created = created
        self._one_call = one_call
        self._choices: dict[int, _Choice] = {}

    def feed(self, chunk: Chunk, model: str) -> Sequence[Chunk]:
        """The chunk as it should be, sometimes in two; `model` is who answers, where the chunk does not say it."""
        if chunk.native:
            # Its caller reads the events that it was read from.
            return (chunk,)
        payload = chunk.payload
        fixed = self._head(payload, model)
        if chunk.usage is not None and isinstance(payload.get("usage"), Mapping):
            if (usage := counted(payload["usage"], chunk.usage)) != payload["usage"]:
                fixed["usage"] = usage
        elif payload.get("usage") is not None:
            fixed["usage"] = None
        choices = payload.get("choices") or []
        made = [self._choice(choice) for choice in choices]
        before = [early for early, _ in made if early is not None]
        kept = [late for _, late in made if late is not None]
        if not before and not fixed and len(kept) == len(choices) and all(map(_same, kept, choices)):
            return (chunk,)
        last = replace(
            chunk_from({**payload, **fixed, "choices": kept}),
            opaque=chunk.opaque,
            usage=chunk.usage,
            native=chunk.native,
            headers=chunk.headers,
        )
        if not before:
            return (last,)
        return (chunk_from({**payload, **fixed, "usage": None, "choices": before}), last)

    def _head(self, payload: Mapping[str, Any], model: str) -> dict[str, Any]:
        """What of the envelope must be put right."""
        fixed: dict[str, Any] = {}
        id, created = payload.get("id"), payload.get("created")
        if not isinstance(id, str) or not id:
            fixed["id"] = str(id) if isinstance(id, int) else f"chatcmpl-{self._minted('answer')}"
        if type(created) is not int or created <= 0:
            fixed["created"] = int(created) if isinstance(created, float) and 0 < created < 1e12 else self._created
        if not isinstance(payload.get("model"), str) or not payload["model"]:
            fixed["model"] = model
        if payload.get("object") != "chat.completion.chunk":
            fixed["object"] = "chat.completion.chunk"
        return fixed

    def _choice(self, choice: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Mapping[str, Any] | None]:
        """What comes before the choice's chunk, and the choice itself; None for nothing."""
        index = index_of(choice)
        delta, reason = choice.get("delta") or {}, choice.get("finish_reason")
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice()
        plain = "tool_calls" not in delta and "finish_reason" in choice and "delta" in choice
        if plain and reason is None and choice.get("index") == index:
            return None, choice
        made = {**choice, "index": index, "delta": dict(delta), "finish_reason": reason}
        parts = made["delta"].pop("tool_calls", None)
        if parts and (calls := self._calls(index, state, parts)):
            made["delta"]["tool_calls"] = calls
        if state.finished:
            # Said twice, often beside the counts.
            made["finish_reason"] = None
            return None, made if any(made["delta"].values()) else None
        if not isinstance(reason, str):
            return None, made
        state.finished = True
        if state.calls and reason == "stop":
            made["finish_reason"] = "tool_calls"
        if left := list(self._rest(index, state.calls)):
            calls = [*made["delta"].get("tool_calls", ()), *left]
            early = {**made, "delta": {**made["delta"], "tool_calls": calls}, "finish_reason": None}
            return early, {k: v for k, v in made.items() if k != "logprobs"} | {"delta": {}}
        return None, made

    def _calls(self, choice: int, state: _Choice, parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Pieces of calls as they may be given out; those of a call without a name wait for it."""
        out = []
        for part in parts:
            call = _call_of(state.calls, part)
            # Whoever begins the next call has said all of the one before.
            out += [
                self._begin(choice, state.calls, c, {}) for c in state.calls[: call.place] if c.name and not c.begun
            ]
            if self._one_call and call.place:
                continue
            kind = next((kind for kind in _INPUTS if isinstance(part.get(kind), Mapping)), call.kind)
            said = dict(part[kind]) if isinstance(part.get(kind), Mapping) else {}
            piece, name = _text(said.pop(_INPUTS[kind], None)), said.pop("name", None)
            rest = {k: v for k, v in part.items() if k not in ("index", "id", "type", kind) and v is not None}
            call.said = call.said or bool(piece.strip())
            if call.begun:
                out.append({"index": call.place, **rest, kind: {**said, _INPUTS[kind]: piece}})
                continue
            call.id = call.id or _id(part)
            call.kind, call.name = kind, call.name or (name if isinstance(name, str) else "")
            call.waiting += piece
            call.rest |= rest
            if call.name and call.id:
                out.append(self._begin(choice, state.calls, call, said))
        return out

    def _begin(self, choice: int, calls: list[_Call], call: _Call, more: Mapping[str, Any]) -> dict[str, Any]:
        if not call.id or any(other.id == call.id for other in calls if other is not call):
            call.id = f"call_{self._minted(f'{choice}.{call.place}')}"
        call.begun = True
        body = {"name": call.name, **more, _INPUTS[call.kind]: call.waiting}
        return {"index": call.place, **call.rest, "id": call.id, "type": call.kind, call.kind: body}

    def _rest(self, choice: int, calls: list[_Call]) -> Iterable[dict[str, Any]]:
        """What is still to be said of a choice's calls when it stops: those without an id, and missing arguments."""
        for call in calls[:1] if self._one_call else calls:
            empty = call.kind == "function" and not call.said
            if not call.begun:
                call.waiting += "{}" if empty else ""
                yield self._begin(choice, calls, call, {})
            elif empty:
                yield {"index": call.place, "function": {"arguments": "{}"}}

    def _minted(self, what: str) -> str:
        return hashlib.sha256(f"{self._seed} {what}".encode()).hexdigest()[:29]


def _same(made: object, given: object) -> bool:
    return made is given


def _call_of(calls: list[_Call], part: Mapping[str, Any]) -> _Call:
    """The call that a piece belongs to: by its index, else by its id; without either it goes on with the last one,
    unless it has a name.

    Some servers number all calls of an answer 0: another id together with a name begins another call.
    """
    given, id = part.get("index"), _id(part)
    named = any(isinstance(part.get(kind), Mapping) and part[kind].get("name") for kind in _INPUTS)
    numbered = isinstance(given, int)
    known = next((c for c in reversed(calls) if not numbered or c.given == given), None)
    another = known is not None and bool(id) and bool(known.id) and id != known.id
    if known is None or (named and known.name and (another or not (numbered or id == known.id != ""))):
        known = _Call(len(calls), given)
        calls.append(known)
    return known


def _id(part: Mapping[str, Any]) -> str:
    id = part.get("id")
    return id if isinstance(id, str) else str(id) if isinstance(id, int) else ""


def _text(piece: object) -> str:
    """Arguments as text: some servers send them as the object itself."""
    if piece is None:
        return ""
    return piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False, separators=(",", ":"))
