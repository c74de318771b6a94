"""Checkers and messages for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.golden.checkers import Verdict, judged
from understudy.golden.forms import Fault, checker
from understudy.golden.item import Item


def item(plain: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] = (), **more: Any) -> Item:
    """A question with this checker; fails where the checker is wrong."""
    faults: list[Fault] = []
    found = checker(plain, tools, (), faults)
    assert found is not None, faults
    return Item(0, "it", "task", ({"role": "user", "content": "?"},), found, tools=tuple(tools), **more)


def said(text: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    """A message that calls tools: names with their arguments as text."""
    made = [{"type": "function", "function": {"name": name, "arguments": text}} for name, text in calls]
    return {"role": "assistant", "content": None, "tool_calls": made}


def verdict(plain: Mapping[str, Any], text: str) -> Verdict:
    return judged(item(plain), said(text))
