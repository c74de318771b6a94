"""From the answers of the Gemini API, whole or in pieces, to chunks.

Sources: the Gemini API reference, "GenerateContentResponse", "Candidate" and "FinishReason", and its guides
"Thought signatures" and "OpenAI compatibility".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy.chat.bound import SIGNED, marked, with_signature
from understudy.chat.stream import Chunk, chunk_from
from understudy.chat.usage import Usage
from understudy.errors import Credential, Garbage
from understudy.wire.base import Event
from understudy.wire.body import decode_object
from understudy.wire.failures import reported

LONGEST_CALL_ID = 40
"""Characters that OpenAI's API takes in the id of a tool call."""

FINISH: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        [
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "ESCALATION",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ],
        "content_filter",
    ),
}
BROKEN = frozenset(
    [
        "IMAGE_OTHER",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "OTHER",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    ]
)
"""Ends that are no answer: another try, or another model, may bring one."""
DISABLED = "PUP_LIMITED_DISABLED"
"""The end that speaks of our account, not of the answer."""

_PART_FIELDS = frozenset({"text", "thought", "thoughtSignature", "functionCall"})
_COUNTS = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
)
_MODAL = ("promptTokensDetails", "candidatesTokensDetails")


@dataclass(slots=True)
class _Candidate:
    calls: int = 0
    begun: bool = False
    finished: bool = False


class GeminiDecoder:
    """Chunks of one answer; complete once every candidate that was asked for has its stop reason.

    The protocol has no end marker, so only the stop reasons say that nothing more will come.
    """

    def __init__(self, choices: int = 1, owner: str = "") -> None:
        self._choices = choices
        self._owner = owner
        self._id = self._seed = ""
        self._model = ""
        self._candidates: dict[int, _Candidate] = {}
        self._counts: dict[str, int] = {}
        self._noted = self._told = False
        self.blocked = False
        self.ended = False

    @property
    def complete(self) -> bool:
        finished = [candidate.finished for candidate in self._candidates.values()]
        return self.blocked or (all(finished) and len(finished) >= self._choices)

    def feed(self, event: Event) -> list[Chunk]:
        if not event.data.strip():
            return []
        return self.read(decode_object(event.data))

    def read(self, answer: Mapping[str, Any]) -> list[Chunk]:
        """As `feed`, for an event that is parsed already."""
        if answer.get("error"):
            raise reported(answer)
        candidates = _list(answer, "candidates")
        feedback = answer.get("promptFeedback")
        self._open(answer)
        self._count(answer.get("usageMetadata"))
        chunks = [chunk for candidate in candidates for chunk in self._candidate(candidate)]
        if not candidates and isinstance(feedback, Mapping) and feedback.get("blockReason"):
            chunks = self._block()
        if answer.get("usageMetadata") and not self._told and self.complete:
            self._told = True
            return [*chunks, self._chunk([], self._usage())]
        if chunks and self._counts and not self._noted:
            # Not for the caller, who gets the counts at the end: what is known should the answer break off.
            self._noted = True
            chunks[-1] = replace(chunks[-1], usage=self._usage())
        return chunks

    def _open(self, answer: Mapping[str, Any]) -> None:
        identifier, model = answer.get("responseId"), answer.get("modelVersion")
        if not self._seed:
            # Servers that speak this protocol for another may leave the id out; then the answer is named elsewhere.
            self._id = "chatcmpl-" + identifier if isinstance(identifier, str) and identifier else ""
            self._seed = self._id or _digest(json.dumps(answer))
        if isinstance(model, str) and model:
            self._model = self._model or model

    def _block(self) -> list[Chunk]:
        """The prompt was refused, so there is no candidate to say it."""
        self.blocked = True
        said: dict[str, Any] = {"delta": {"role": "assistant"}, "finish_reason": "content_filter"}
        return [self._chunk([{"index": index, **said}]) for index in range(self._choices)]

    def _candidate(self, given: object) -> Iterator[Chunk]:
        if not isinstance(given, Mapping):
            raise ValueError("a candidate is not an object")
        index = given.get("index", 0)
        if not isinstance(index, int):
            raise ValueError("`index` is not a number")
        candidate = self._candidates.setdefault(index, _Candidate())
        content = given.get("content") or {}
        if not isinstance(content, Mapping):
            raise ValueError("`content` is not an object")
        choices: list[dict[str, Any]] = [
            {"delta": delta} for part in _list(content, "parts") if (delta := self._delta(part, index))
        ]
        if choices and candidate.finished:
            raise ValueError("an answer goes on after its stop reason")
        if reason := self._reason(given.get("finishReason"), candidate):
            choices.append({"delta": {}, "finish_reason": reason})
        if logprobs := _logprobs(given.get("logprobsResult")):
            spoken = next((choice for choice in choices if "content" in choice["delta"]), None)
            (spoken or (choices[-1] if choices else _appended(choices)))["logprobs"] = logprobs
        for choice in choices:
            if not candidate.begun:
                candidate.begun = True
                choice["delta"] = {"role": "assistant", **choice["delta"]}
            yield self._chunk([{"index": index, "finish_reason": None, **choice}])

    def _delta(self, part: object, index: int) -> dict[str, Any]:
        """What one part says; empty where it says nothing."""
        if not isinstance(part, Mapping):
            raise ValueError("a part is not an object")
        signature = self._signature(part.get("thoughtSignature"))
        if part.get("functionCall") is not None:
            return {"tool_calls": [self._call(part["functionCall"], index, signature)]}
        text = part.get("text")
        if text is None and (unknown := sorted(part.keys() - _PART_FIELDS)):
            # Skipped as an unreadable event it would be missing from an answer that looks whole.
            raise Garbage(f"the answer holds a part that nothing here can carry: {unknown[0]}", status=200)
        if not isinstance(text, str | None):
            raise ValueError("`text` is not a string")
        name = "reasoning_content" if part.get("thought") else "content"
        said: dict[str, Any] = {name: text} if text else {}
        return with_signature(said, signature) if signature else said

    def _signature(self, given: object) -> str:
        if not isinstance(given, str | None):
            raise ValueError("`thoughtSignature` is not a string")
        return marked(given or "", self._owner)

    def _call(self, call: object, index: int, signature: str) -> dict[str, Any]:
        if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
            raise ValueError("a function call has no name")
        if call.get("willContinue") or call.get("partialArgs"):
            # Only a request that asks for it is answered with calls in pieces.
            raise Garbage("the answer holds a function call in pieces", status=200)
        given = {} if call.get("args") is None else call["args"]
        if not isinstance(given, Mapping):
            raise ValueError("`args` is not an object")
        candidate = self._candidates[index]
        place, candidate.calls = candidate.calls, candidate.calls + 1
        written = json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        made = {
            "index": place,
            "id": self._call_id(call.get("id"), f"{index}.{place}", signed=bool(signature)),
            "type": "function",
            "function": {"name": call["name"], "arguments": written},
        }
        return with_signature(made, signature) if signature else made

    def _call_id(self, given: object, place: str, *, signed: bool) -> str:
        if isinstance(given, str) and 0 < len(given) <= LONGEST_CALL_ID and not signed:
            return given
        # Made of the answer's id, so that no two answers have the same.
        return (SIGNED if signed else "call_") + _digest(f"{self._seed} {place} {given}")

    def _reason(self, reason: object, candidate: _Candidate) -> str | None:
        if reason is None or candidate.finished:
            return None
        if not isinstance(reason, str):
            raise ValueError("`finishReason` is not a string")
        if reason == DISABLED:
            raise Credential("the provider has limited or disabled the account", status=200)
        if reason in BROKEN:
            raise Garbage(f"the answer ended with {reason}", status=200)
        if reason not in FINISH:
            raise ValueError(f"an unknown finish reason {reason!r}")
        candidate.finished = True
        return "tool_calls" if candidate.calls and reason == "STOP" else FINISH[reason]

    def _count(self, usage: object) -> None:
        """Counts are running totals; a later one replaces an earlier one."""
        if isinstance(usage, Mapping):
            self._counts.update({n: usage[n] for n in _COUNTS if isinstance(usage.get(n), int)})
            for name in _MODAL:
                for kind, tokens in _modalities(usage.get(name)):
                    self._counts[f"{name}.{kind}"] = tokens

    def _usage(self) -> Usage:
        prompt, tools, said, thought, cached = (self._counts.get(name, 0) for name in _COUNTS)
        read, answered = _MODAL
        return Usage(
            prompt + tools,
            said + thought,
            cached,
            thought,
            audio_input_tokens=self._counts.get(f"{read}.AUDIO", 0),
            audio_output_tokens=self._counts.get(f"{answered}.AUDIO", 0),
            image_input_tokens=self._counts.get(f"{read}.IMAGE", 0),
            image_output_tokens=self._counts.get(f"{answered}.IMAGE", 0),
        )

    def _chunk(self, choices: list[dict[str, Any]], usage: Usage | None = None) -> Chunk:
        payload: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            # A wire has no clock; the front stamps every chunk.
            "created": 0,
            "model": self._model,
            "choices": choices,
        }
        made = chunk_from(payload | {"usage": usage.payload()} if usage else payload)
        # The shape has no room for all that `usage` says.
        return replace(made, usage=usage) if usage else made


def _logprobs(result: object) -> dict[str, Any] | None:
    """Log probabilities in OpenAI's shape; the two lists of the API have one entry for each token."""
    if not isinstance(result, Mapping):
        return None
    chosen, tops = _list(result, "chosenCandidates"), _list(result, "topCandidates")
    if not chosen:
        return None
    entries = []
    for place, token in enumerate(chosen):
        top = tops[place] if place < len(tops) and isinstance(tops[place], Mapping) else {}
        entries.append({**_token(token), "top_logprobs": [_token(one) for one in _list(top, "candidates")]})
    return {"content": entries, "refusal": None}


def _token(given: object) -> dict[str, Any]:
    token = given.get("token", "") if isinstance(given, Mapping) else None
    logprob = given.get("logProbability", 0.0) if isinstance(given, Mapping) else None
    if not isinstance(token, str) or not isinstance(logprob, int | float):
        raise ValueError("a log probability is none")
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}


def _appended(choices: list[dict[str, Any]]) -> dict[str, Any]:
    choices.append({"delta": {}})
    return choices[-1]


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"`{name}` is not a list")
    return value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _modalities(details: object) -> Iterator[tuple[str, int]]:
    """Tokens of a prompt or an answer by modality (Gemini API reference, "ModalityTokenCount")."""
    for one in details if isinstance(details, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("tokenCount"), int):
            yield str(one.get("modality")), one["tokenCount"]
