"""Drift prompts: short questions whose first word lies on a border, so that another model says another one.

Asked at temperature 0 for one to four tokens: a changed model behind the same name shows in the words with which it
begins, and in their probabilities where they are given, long before its quality does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DRIFT = "drift"
"""The stream of the samples of drift probes; no golden set may have this name."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question; `number` is never given to another one."""

    number: int
    text: str
    max_tokens: int = 1


@dataclass(frozen=True, slots=True)
class First:
    """How an answer began: its first token (or, where tokens are not told apart, its first word), and the natural
    logarithm of that token's probability where the provider gives it."""

    text: str
    logprob: float | None = None


PROMPTS: tuple[Prompt, ...] = ()


def drift_body(prompt: Prompt, model: str, *, reasoning_tokens: int = 0, logprobs: bool = False) -> dict[str, Any]:
    """The question as a chat request of the OpenAI wire."""
    raise NotImplementedError


def first_token(answer: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> First | None:
    """How an answer began: of a chat completion, a choice, an assistant message, or the chunks of a stream.

    None where nothing was said.
    """
    raise NotImplementedError
