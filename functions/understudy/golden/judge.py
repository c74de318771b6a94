"""The judge: another model says how right an answer is, where no checker can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.golden.answer import Verdict
from understudy.golden.item import Item


def judge_body(item: Item, answer: Mapping[str, Any], model: str, *, reasoning_tokens: int = 0) -> dict[str, Any]:
    """The chat request that asks `model` how right `answer` (an assistant message) is as an answer to `item`."""
    raise NotImplementedError


def judge_value(message: Mapping[str, Any]) -> Verdict:
    """What the judge said (its assistant message); without a value where it did not keep to the form."""
    raise NotImplementedError
