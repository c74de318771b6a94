"""Drift prompts: short questions whose first word lies on a border, so that another model says another one.

Asked at temperature 0 for a token or a few: a changed model behind the same name shows in the words with which it
begins, and in their probabilities where they are given, long before its quality does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DRIFT = "drift"
"""The stream of the samples of drift probes; no golden set may have this name."""
MAX_FIRST = 64
_UNKNOWN = -1000.0
"""Stands for a logarithm that is not given; providers write -9999."""
_ROUNDING = 1e-3
_ENOUGH = 400
# What is one token for many models: a word with the space before it, digits, or one other character.
_WORD = re.compile(r"\s*(?:[^\W\d_]+|\d+|\S)")


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


# No right answer, many that are about as likely: which one comes first is a model's own.  Not to be reworded: a
# question that is changed gets a new number, at the end.
_TEXTS = (
    "Pick one colour. One word:",
    "Name a random animal. One word only.",
    "Say a whole number between 1 and 100. Digits only.",
    "Choose heads or tails. One word:",
    "Tea or coffee? One word:",
    "Complete with one word: The old lighthouse keeper never",
    "Complete with one word: On the table there was a",
    "Name any city. One word:",
    "Invent a first name for a cat. One word:",
    "Name a fruit that nobody would think of first. One word:",
    "Give one synonym for 'bright'. One word:",
    "What rhymes with 'light'? One word:",
    "Is a tomato rather a fruit or a vegetable? One word:",
    "Is Monday closer to 'grey' or to 'blue'? One word:",
    "Which is sadder, rain or fog? One word:",
    "Write the first word of a poem about iron.",
    "Write the first word of a letter to a neighbour.",
    "Say something surprising.",
    "Begin a story in which nothing happens.",
    "What would you ask a whale?",
    "Translate into French, one word: 'snug'",
    "Translate into German, one word: 'eerie'",
    "Finish the row with one letter: Q, C, V, R,",
    "Continue: 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9,",
    "Quickly, without computing: about how much is 387 times 46? Digits only.",
    "A or B?",
    "Yes or no?",
    "True or false: a hot dog is a sandwich.",
    "Rate the word 'moist' from 1 to 9. One digit:",
    "How many grains of sand are in a spoonful? Digits only.",
    "...",
    "Hello",
)
PROMPTS: tuple[Prompt, ...] = tuple(Prompt(number, text, 1) for number, text in enumerate(_TEXTS))


def drift_body(prompt: Prompt, model: str, *, reasoning_tokens: int = 0, logprobs: bool = False) -> dict[str, Any]:
    """The question as a chat request of the OpenAI wire, at temperature 0.

    `reasoning_tokens` is added for a model that thinks before it speaks; `logprobs` asks for the probabilities, which
    not every provider knows.
    """
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt.text}],
        "temperature": 0,
        "max_tokens": prompt.max_tokens + reasoning_tokens,
    }
    return asked | {"logprobs": True} if logprobs else asked


def first_token(answer: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> First | None:
    """How an answer began: of a chat completion, an assistant message, or the chunks of a stream in their order.

    Neither case nor white space is changed.  None where nothing was said.
    """
    text = ""
    for part in [answer] if isinstance(answer, Mapping) else answer:
        choice = _choice(part)
        if not text and (token := _token(choice.get("logprobs"))) is not None:
            return token
        said = _said(choice)
        text += said[:_ENOUGH]
        # The chunk after a word shows that the word is whole.
        if len(text) >= _ENOUGH or len(_WORD.findall(text[:_ENOUGH])) > 1:
            break
    word = _WORD.match(text)
    return First(word[0][:MAX_FIRST]) if word else None


def _choice(part: Any) -> Mapping[str, Any]:
    """The first choice of a completion or a chunk; a message stands for itself."""
    if not isinstance(part, Mapping):
        return {}
    choices = part.get("choices")
    if not isinstance(choices, list | tuple):
        return {"message": part}
    return choices[0] if choices and isinstance(choices[0], Mapping) else {}


def _said(choice: Mapping[str, Any]) -> str:
    message = choice.get("delta") or choice.get("message")
    said = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(said, list | tuple):
        texts = [part.get("text") for part in said[:8] if isinstance(part, Mapping)]
        return "".join(text[:_ENOUGH] for text in texts if isinstance(text, str))
    return said if isinstance(said, str) else ""


def _token(logprobs: Any) -> First | None:
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = content[0] if isinstance(content, list | tuple) and content else None
    if not isinstance(first, Mapping) or not isinstance(first.get("token"), str) or not first["token"]:
        return None
    given = first.get("logprob")
    known = isinstance(given, int | float) and not isinstance(given, bool) and _UNKNOWN < given <= _ROUNDING
    return First(first["token"][:MAX_FIRST], min(0.0, float(given)) if known else None)  # type: ignore[arg-type]
