"""How the text of an answer is read: what does not count, the number it ends in, the option it chooses, its JSON."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from understudy.golden.answer import parsed

_FENCE = re.compile(r"```[^\n`]{0,40}\n(.*?)\n?[ \t]*```", re.DOTALL)
_GROUP = r"[,'’ \u00a0\u2009\u202f]"
# Either groups of three digits, or digits in a row; then decimals, an exponent, the lower part of a fraction.
_NUMBER = re.compile(
    rf"(?<![\w.])[-+]?\$?(?:\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+|(?<=\d))"
    r"(?:[eE][-+]?\d{1,3}(?!\d))?(?:[ ]?/[ ]?\d{1,18}(?![\d/]))?"
)
_MIXED = re.compile(r"(?<![\w.])([-+]?)(\d{1,18})[ ](\d{1,9})/(\d{1,9})(?![\d/])")
_DASHES = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{FRACTION SLASH}": "/"})
_MARKER = re.compile(r"\b(?:final answer|answer|result)\b\W{0,10}(?:is\b|:|=)?", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,100})\}")
_SPACES = re.compile(r"\s+")


def bare(text: str) -> str:
    """`text` without white space around it, and without the code fence or the backticks around all of it."""
    text = text.strip()
    fence = _FENCE.fullmatch(text)
    if fence:
        return fence[1].strip()
    if len(text) > 2 and text[0] == text[-1] == "`" and "`" not in text[1:-1]:
        return text[1:-1].strip()
    return text


def normalised(text: str) -> str:
    """`text` without what does not change a short answer: case, width, punctuation, symbols, runs of white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in folded)
    return _SPACES.sub(" ", kept).strip()


def loose(text: str) -> str:
    """`text` without what does not change a value in a record: case, width, runs of white space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def holds(text: str, word: str) -> bool:
    """Whether `word` is in `text`, both as `loose` leaves them, and not merely as a part of a longer word.

    Scripts that put no space between words are searched for the characters alone.
    """
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not (_joined(text[at - 1 : at], word[:1]) or _joined(word[-1:], text[end : end + 1])):
            return True
        at = text.find(word, at + 1)
    return False


def _joined(left: str, right: str) -> bool:
    return bool(left and right) and all(c.isalnum() and c < "\u2e80" for c in (left, right))


def final_number(text: str) -> Decimal | None:
    """The number that an answer gives: in a box, else after its last `answer is` or `=`, else the last one.

    Thousands may be parted by commas, apostrophes or spaces; units and currencies around it do not count; `3/4` and
    `1 1/2` are numbers, `75 %` is 75.
    """
    text = unicodedata.normalize("NFKC", text.translate(_DASHES)).translate(_DASHES)
    for part in reversed(_BOXED.findall(text)):
        if (boxed := _numbers(part)) is not None:
            return boxed[-1]
    marked = [match.end() for match in _MARKER.finditer(text)]
    if marked and (after := _numbers(text[marked[-1] :])) is not None:
        return after[0] if "=" not in text[marked[-1] :] else after[-1]
    found = _numbers(text)
    return None if found is None else found[-1]


def _numbers(text: str) -> list[Decimal] | None:
    text = _MIXED.sub(lambda m: f" {m[1]}{int(m[2]) * int(m[4]) + int(m[3])}/{m[4]} ", text)
    found = [value for match in _NUMBER.finditer(text) if (value := _value(match[0])) is not None]
    return found or None


def _value(text: str) -> Decimal | None:
    plain = re.sub(rf"{_GROUP}|\$", "", text)
    above, _, below = plain.partition("/")
    try:
        return Decimal(above) / Decimal(below) if below else Decimal(above)
    except (InvalidOperation, ArithmeticError):
        return None


def chosen(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer chooses; None where it names none, or several without saying which it means.

    First where the whole answer is one, then what follows its last `answer is`, then what it begins with as a label
    (`B)`), then the only one that it names anywhere.
    """
    known = {normalised(option): option for option in options}
    whole = normalised(text)
    if whole in known:
        return known[whole]
    for match in reversed(list(_MARKER.finditer(text))[-8:]):
        if (named := _leading(text[match.end() : match.end() + 200], options)) is not None:
            return named
    labelled = _leading(text[:200], [option for option in options if re.match(_label(option), text, re.IGNORECASE)])
    return labelled or _only(text, options)


def _label(option: str) -> str:
    return rf"[\s*_(\[\"'`]*{re.escape(option)}[*_\"'`]*\s*(?:[).:\]\n]|\Z)"


def _leading(text: str, options: Iterable[str]) -> str | None:
    """The longest option that `text` begins with, as a word of its own."""
    text = re.sub(r"^(?:(?:is|option|choice)\b|[\W_])+", "", text, flags=re.IGNORECASE)
    for option in sorted(options, key=len, reverse=True):
        if re.match(rf"{re.escape(option)}(?![^\W_])", text, re.IGNORECASE):
            return option
    return None


def _only(text: str, options: Iterable[str]) -> str | None:
    found: set[str] = set()
    for option in sorted(options, key=len, reverse=True):
        plain = re.escape(option)
        # A single letter is a label only where it is written as one: "a" is also an article, and so is "A cat".
        word = rf"{plain}(?! (?!(?:and|is|nor|or)\b)[a-z])" if len(option) == 1 else rf"(?i:{plain})"
        pattern = rf"(?<![^\W_]){word}(?![^\W_])"
        if re.search(pattern, text):
            found.add(option)
            text = re.sub(pattern, " ", text)
    return found.pop() if len(found) == 1 else None


def json_in(text: str) -> Any:
    """The JSON object or list of an answer: all of it, or in a code fence, or between the first and the last brace."""
    whole = parsed(text)
    if isinstance(whole, dict | list):
        return whole
    for inside in _FENCE.findall(text)[-3:][::-1]:
        if isinstance(found := parsed(inside), dict | list):
            return found
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    end = max(text.rfind("}"), text.rfind("]"))
    found = parsed(text[min(starts) : end + 1]) if starts else None
    return found if isinstance(found, dict | list) else None
