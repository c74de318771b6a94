"""Checkers: how right an answer is.  Deterministic, total (any message has a verdict) and bounded in time and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from understudy.golden.answer import Answer, Verdict, read

if TYPE_CHECKING:
    from understudy.golden.item import Item

__all__ = ["Checker", "Verdict", "judged", "needs_judge"]


class Checker(Protocol):
    """What tells a right answer from a wrong one."""

    kind: ClassVar[str]

    def judge(self, answer: Answer, tools: tuple[Mapping[str, Any], ...]) -> Verdict:
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
    return item.checker.kind == "judge"
