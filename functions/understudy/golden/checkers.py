"""Checkers: how right an answer is.  Deterministic, total (any message has a verdict) and bounded in time and size.

`golden/forms.py` reads them from plain data and says what is wrong with it; here they are taken as right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from understudy.chat.schema import Unjudgeable, violation
from understudy.golden.agreement import agreement, share
from understudy.golden.answer import Answer, Call, Verdict, read
from understudy.golden.pattern import matches
from understudy.golden.refusals import refuses
from understudy.golden.text import bare, chosen, final_number, holds, json_in, loose, normalised

if TYPE_CHECKING:
    from understudy.golden.item import Item

Tools = Sequence[Mapping[str, Any]]

__all__ = ["KINDS", "Checker", "Verdict", "judged", "needs_judge"]


class Checker(Protocol):
    """What tells a right answer from a wrong one."""

    kind: ClassVar[str]

    def judge(self, answer: Answer, tools: Tools) -> Verdict:
        """`answer` is not empty; `tools` are those that were offered."""

    def plain(self) -> dict[str, Any]:
        """JSON-able form, as a control document has it, with every default written out."""


def judged(item: Item, message: Mapping[str, Any]) -> Verdict:
    """How right the assistant message of a chat completion (content, tool_calls, refusal) is as an answer to `item`.

    An empty answer has no value.
    """
    answer = read(message)
    return Verdict(None, "the answer is empty") if answer.empty else item.checker.judge(answer, item.tools)


def needs_judge(item: Item) -> bool:
    """Whether only another model can say how right an answer is: `judged` says of every answer that it cannot."""
    return item.checker.kind == Judge.kind


@dataclass(frozen=True, slots=True)
class _Plain:
    kind: ClassVar[str] = ""

    def plain(self) -> dict[str, Any]:
        return {"kind": self.kind} | {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class _OfText(_Plain):
    """A checker of what was said: a refusal or a tool call in its place is wrong."""

    def judge(self, answer: Answer, tools: Tools) -> Verdict:  # noqa: ARG002 - what a checker is given
        if answer.calls:
            return Verdict(0.0, f"called the tool {answer.calls[0].name!r:.60} instead of answering")
        if not answer.text:
            return Verdict(0.0, "refused")
        return self.of(answer.text)

    def of(self, text: str) -> Verdict:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Exact(_OfText):
    """One of `answer`, character by character; white space, a code fence and backticks around it do not count."""

    kind: ClassVar[str] = "exact"
    answer: tuple[str, ...]

    def of(self, text: str) -> Verdict:
        return _whether(bare(text) in {bare(one) for one in self.answer}, text, self.answer)


@dataclass(frozen=True, slots=True)
class Normalised(_OfText):
    """One of `answer`; case, width, punctuation, symbols and runs of white space do not count."""

    kind: ClassVar[str] = "normalised"
    answer: tuple[str, ...]

    def of(self, text: str) -> Verdict:
        return _whether(normalised(text) in {normalised(one) for one in self.answer}, text, self.answer)


@dataclass(frozen=True, slots=True)
class Number(_OfText):
    """The number in which the answer ends is `value`, give or take `tolerance` or that part (`relative`) of it."""

    kind: ClassVar[str] = "number"
    value: float
    tolerance: float = 0.0
    relative: float = 0.0

    def of(self, text: str) -> Verdict:
        found, value = final_number(text), Decimal(str(self.value))
        if found is None:
            return Verdict(0.0, f"holds no number; expected {self.value}")
        allowed = max(Decimal(str(self.tolerance)), abs(value) * Decimal(str(self.relative)))
        return _whether(abs(found - value) <= allowed, f"{found}"[:40], (str(self.value),))


@dataclass(frozen=True, slots=True)
class Regex(_OfText):
    """`pattern` is somewhere in the answer; `^` and `$` bind it to the ends."""

    kind: ClassVar[str] = "regex"
    pattern: str

    def of(self, text: str) -> Verdict:
        return _whether(matches(self.pattern, text), text, (self.pattern,))


@dataclass(frozen=True, slots=True)
class ContainsAll(_OfText):
    """Every one of `words` is in the answer and none of `without`; case and width do not count.

    The value is the share of the words that are there; one that is forbidden makes it 0.
    """

    kind: ClassVar[str] = "contains_all"
    words: tuple[str, ...]
    without: tuple[str, ...] = ()

    def of(self, text: str) -> Verdict:
        plain = loose(text)
        for word in self.without:
            if holds(plain, loose(word)):
                return Verdict(0.0, f"holds {word!r:.60}, which it must not")
        missing = [word for word in self.words if not holds(plain, loose(word))]
        if missing:
            return Verdict(share(len(missing), len(self.words)), f"lacks {missing[0]!r:.60}")
        return Verdict(1.0, "holds all that it must")


@dataclass(frozen=True, slots=True)
class Choice(_OfText):
    """The answer chooses `answer` out of `options`: letters such as A to D, or words such as the names of classes."""

    kind: ClassVar[str] = "choice"
    answer: str
    options: tuple[str, ...] = ("A", "B", "C", "D")

    def of(self, text: str) -> Verdict:
        found = chosen(text, self.options)
        if found is None:
            return Verdict(0.0, f"chooses none of the options, or several; expected {self.answer!r:.60}")
        return _whether(found == self.answer, found, (self.answer,))


@dataclass(frozen=True, slots=True)
class Lines(_OfText):
    """`min` to `max` lines that are not empty, each of which has `each` in it.

    A wrong number of lines is worth nothing; else the value is the share of lines that have the pattern.
    """

    kind: ClassVar[str] = "lines"
    min: int = 0
    max: int | None = None
    each: str = ""

    def of(self, text: str) -> Verdict:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(lines) < self.min or (self.max is not None and len(lines) > self.max):
            return Verdict(0.0, f"has {len(lines)} lines; expected {_range(self.min, self.max)}")
        wrong = [line for line in lines if self.each and not matches(self.each, line)]
        if wrong:
            return Verdict(share(len(wrong), len(lines)), f"a line is not as it must be: {wrong[0]!r:.80}")
        return Verdict(1.0, f"has {len(lines)} lines as they must be")


@dataclass(frozen=True, slots=True)
class Words(_OfText):
    """`min` to `max` words, parted by white space."""

    kind: ClassVar[str] = "words"
    min: int = 0
    max: int | None = None

    def of(self, text: str) -> Verdict:
        count = len(text.split())
        fits = count >= self.min and (self.max is None or count <= self.max)
        return Verdict(float(fits), f"has {count} words; expected {_range(self.min, self.max)}")


@dataclass(frozen=True, slots=True)
class Letters(_OfText):
    """Every letter is of `case` (`lower`, `upper` or `any`), and no character of `without` occurs."""

    kind: ClassVar[str] = "letters"
    case: str = "any"
    without: str = ""

    def of(self, text: str) -> Verdict:
        wanted = {"lower": text.lower(), "upper": text.upper()}.get(self.case, text)
        if text != wanted:
            return Verdict(0.0, f"has letters that are not {self.case} case")
        found = next((c for c in self.without if c in text), None)
        return Verdict(1.0, "is written as it must be") if found is None else Verdict(0.0, f"holds {found!r}")


@dataclass(frozen=True, slots=True)
class JsonSchema(_OfText):
    """The JSON of the answer is what `schema` asks for and holds `expected`; prose and code fences do not count.

    JSON that breaks the schema is worth nothing; else the value is the share of the values in `expected` that are
    there, where case, width and runs of white space do not count.
    """

    kind: ClassVar[str] = "json_schema"
    schema: Mapping[str, Any]
    expected: Any = None

    def of(self, text: str) -> Verdict:
        found = json_in(text)
        if found is None:
            return Verdict(0.0, "holds no JSON")
        try:
            wrong = violation(self.schema, found)
        except Unjudgeable as reason:
            # What is as large as this is no answer to a question of a golden set.
            return Verdict(0.0, f"breaks the schema: {reason}")
        if wrong is not None:
            return Verdict(0.0, f"breaks the schema: {wrong}")
        return agreement(self.expected, found)


@dataclass(frozen=True, slots=True)
class ToolCall(_Plain):
    """Exactly one tool call: of `name`, with arguments that its schema allows and that hold `arguments`.

    The right tool alone is worth a quarter, valid arguments another one, the rest is the share of `arguments` that are
    as expected; a second call halves it.
    """

    kind: ClassVar[str] = "tool_call"
    name: str
    arguments: Mapping[str, Any]

    def judge(self, answer: Answer, tools: Tools) -> Verdict:
        if not answer.calls:
            return Verdict(0.0, f"calls no tool; expected {self.name!r:.60}")
        named = [call for call in answer.calls if call.name == self.name]
        if not named:
            return Verdict(0.0, f"calls {answer.calls[0].name!r:.60}; expected {self.name!r:.60}")
        verdict = self._of(named[0], tools)
        if len(answer.calls) > 1:
            return Verdict((verdict.value or 0.0) / 2, f"makes {len(answer.calls)} calls; expected one")
        return verdict

    def _of(self, call: Call, tools: Tools) -> Verdict:
        if call.arguments is None:
            return Verdict(0.25, "the arguments are not a JSON object")
        offered = next((one for one in map(_function, tools) if one.get("name") == self.name), {})
        try:
            wrong = violation(offered.get("parameters", True), call.arguments)
        except Unjudgeable as reason:
            wrong = str(reason)
        if wrong is not None:
            return Verdict(0.25, f"the arguments break the schema: {wrong}")
        agreed = agreement(self.arguments, call.arguments)
        return Verdict(0.5 + (agreed.value or 0.0) / 2, agreed.why)


@dataclass(frozen=True, slots=True)
class Refusal(_Plain):
    """The question only looks harmful: a refusal is wrong, and so is half of an answer with none of `any_of` in it."""

    kind: ClassVar[str] = "refusal"
    any_of: tuple[str, ...] = ()

    def judge(self, answer: Answer, tools: Tools) -> Verdict:  # noqa: ARG002 - what a checker is given
        if not answer.text or refuses(answer.text):
            return Verdict(0.0, "refuses a harmless question")
        plain = loose(answer.text)
        if self.any_of and not any(holds(plain, loose(word)) for word in self.any_of):
            return Verdict(0.5, f"answers without {' or '.join(self.any_of)!r:.100}")
        return Verdict(1.0, "answers")


@dataclass(frozen=True, slots=True)
class AllOf(_Plain):
    """Several checkers at once; the value is the mean of theirs."""

    kind: ClassVar[str] = "all_of"
    checkers: tuple[Checker, ...]

    def judge(self, answer: Answer, tools: Tools) -> Verdict:
        verdicts = [checker.judge(answer, tools) for checker in self.checkers]
        values = [verdict.value for verdict in verdicts if verdict.value is not None]
        worst = min(verdicts, key=lambda verdict: verdict.value or 0.0)
        return Verdict(round(sum(values) / len(verdicts), 4), worst.why)

    def plain(self) -> dict[str, Any]:
        return {"kind": self.kind, "checkers": [checker.plain() for checker in self.checkers]}


@dataclass(frozen=True, slots=True)
class Judge(_Plain):
    """No checker but another model, which is given `rubric`; see `golden/judge.py`."""

    kind: ClassVar[str] = "judge"
    rubric: str

    def judge(self, answer: Answer, tools: Tools) -> Verdict:  # noqa: ARG002 - what a checker is given
        return Verdict(None, "only a judge can say")


KINDS: Mapping[str, type[Any]] = {
    form.kind: form
    for form in (Exact, Normalised, Number, Regex, JsonSchema, ContainsAll, Choice, Lines, Words, Letters, ToolCall)
} | {form.kind: form for form in (Refusal, AllOf, Judge)}
"""Every checker by its name in a control document."""


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _whether(right: bool, found: str, wanted: Sequence[str]) -> Verdict:
    if right:
        return Verdict(1.0, "right")
    return Verdict(0.0, f"is {found!r:.80}; expected {' or '.join(wanted)!r:.80}")


def _range(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least}"
    return str(most) if least == most else f"{least} to {most}"


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    found = tool.get("function")
    return found if isinstance(found, Mapping) else {}
