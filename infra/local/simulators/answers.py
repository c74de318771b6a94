"""What a simulated model answers: a pure function of what it is asked, the same on every wire."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from infra.local.simulators.schemas import fill

# Long answers are wanted, endless ones are not.
HIGHEST_COUNT = 100_000

Stop = Literal["end", "length", "stop_sequence", "tool", "refusal"]
Choice = Literal["auto", "none", "any", "named"]


@dataclass(frozen=True)
class Tool:
    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]

    @property
    def arguments_json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Ask:
    """A request of either wire, reduced to what decides the answer.

    `prefix` is the beginning of the answer that the caller wants continued, `begun` whether the conversation ends
    with an assistant's message at all, `results` the tool results it ends with (None: it ends with none),
    `fingerprint` the hex digest of the whole request, `thoughts` whether the thinking is to be shown, `logprobs` how
    many alternatives of each token (None: not even its own probability).
    """

    wire: str
    model: str
    fingerprint: str
    text: str = ""
    images: int = 0
    results: tuple[str, ...] | None = None
    prefix: str = ""
    begun: bool = False
    tools: tuple[Tool, ...] = ()
    choice: Choice = "auto"
    named: str = ""
    parallel: bool = True
    schema: Mapping[str, Any] | None = None
    limit: int | None = None
    stops: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    input_tokens: int = 0
    thoughts: bool = False
    logprobs: int | None = None
    version: str = "simulated"


@dataclass(frozen=True)
class Answer:
    """`hidden`: output tokens that are counted and not shown."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop: Stop = "end"
    stop_sequence: str | None = None
    hidden: int = 0

    @property
    def tokens(self) -> list[str]:
        return split_words(self.text)

    @property
    def output_tokens(self) -> int:
        return self.hidden + len(self.tokens) + sum(len(split_words(call.arguments_json)) for call in self.calls)


def fingerprint(body: Mapping[str, Any]) -> str:
    """Hex digest of a request, the source of every id in its answer, streamed or not."""
    asked = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def certainty(ask: Ask, token: str) -> float:
    """The logarithm of a token's probability: from -2 to 0, always the same of one model after one question."""
    told = f"{ask.model}/{ask.version}/{ask.text}/{token}"
    return -int(hashlib.sha256(told.encode()).hexdigest()[:4], 16) / 0x8000


def split_words(text: str) -> list[str]:
    """Tokens: every word with the white space that follows it; joined they are the text again."""
    return re.findall(r"\S+\s*|\s+", text)


def split_arguments(arguments: str) -> list[str]:
    """At least three pieces (a very short text gives empty ones), as long arguments arrive in reality."""
    count = max(3, len(arguments) // 12)
    edges = [len(arguments) * index // count for index in range(count + 1)]
    return [arguments[start:stop] for start, stop in itertools.pairwise(edges)]


def answer(ask: Ask) -> Answer:
    """The deterministic answer: tool calls, an object that fits the schema, or labelled text."""
    called = _called(ask)
    if called:
        calls = tuple(
            ToolCall(ask.fingerprint[index : index + 24], tool.name, fill(tool.schema))
            for index, tool in enumerate(called)
        )
        return Answer(calls=calls, stop="tool")
    text = _text(ask) if ask.schema is None else json.dumps(fill(ask.schema), ensure_ascii=False)
    return limited(_continued(text, ask.prefix), ask)


def _called(ask: Ask) -> Sequence[Tool]:
    if ask.choice == "none" or ask.results is not None or ask.prefix:
        return ()
    if ask.choice == "named":
        return [tool for tool in ask.tools if tool.name == ask.named]
    mentioned = [tool for tool in ask.tools if _mentions(ask.text, tool.name)]
    if ask.choice == "any" and not mentioned:
        return ask.tools[:1]
    return mentioned if ask.parallel else mentioned[:1]


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _label(ask: Ask) -> str:
    return f"[simulated {ask.wire} provider, model {ask.model}]"


def _text(ask: Ask) -> str:
    if ask.results is not None:
        return f"{_label(ask)} The tool answered: {'; '.join(ask.results)}"
    if recited := _numbers("recite", ask.text):
        # Without wire and model, so that what one began and another continued can be compared with the whole.
        return f"[simulated]{recited}"
    text = f"{_label(ask)} You said: {ask.text}"
    if ask.images:
        text += f" (with {ask.images} image{'s' if ask.images > 1 else ''})"
    return text + _numbers("count", ask.text)


def _numbers(verb: str, text: str) -> str:
    """` 1 2 3` where the text asks to count or recite to 3, else nothing."""
    wanted = re.search(rf"\b{verb} to (\d{{1,9}})", text, re.IGNORECASE)
    highest = min(int(wanted[1]), HIGHEST_COUNT) if wanted else 0
    return "".join(f" {number}" for number in range(1, highest + 1))


def _continued(text: str, prefix: str) -> str:
    """What follows the prefix; a prefix that another simulated model began is continued as well.

    A prefix that this answer does not begin with is not understood: the answer starts anew, as a real
    model may.
    """
    if text.startswith(prefix):
        return text[len(prefix) :]
    began, said = _unlabelled(prefix), _unlabelled(text)
    return said[len(began) :] if began and said.startswith(began) else text


def _unlabelled(text: str) -> str:
    return text.partition("] ")[2] if text.startswith("[simulated ") else text


def limited(text: str, ask: Ask) -> Answer:
    """Cut at the first stop sequence and after `limit` words, whichever comes first."""
    found = [(text.index(stop), stop) for stop in ask.stops if stop and stop in text]
    cut, sequence = min(found, default=(len(text), None))
    kept = split_words(text[:cut])
    if ask.limit is not None and len(kept) > ask.limit:
        return Answer("".join(kept[: ask.limit]), stop="length")
    return Answer(text[:cut], stop="stop_sequence" if sequence else "end", stop_sequence=sequence)
