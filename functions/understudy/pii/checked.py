"""Personal data that can be checked: python-stdnum for what has check digits, phonenumbers for what is dialled.

Nothing here knows names, addresses or dates of birth, and nothing guesses: a number counts where its check digits are
right and its length and first digits are those of its kind, a phone number where its numbering plan has it, an address
of the internet where it is one.  Of e-mail addresses only the usual form is known (RFC 5321's dot-string, with letters
of any script).  Pure and thread-safe; without both libraries `load` raises ImportError.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Set
from importlib import import_module
from types import ModuleType
from typing import Any

from understudy.pii.national import ANYWHERE, IDS, NationalId
from understudy.ports import PiiFinding

_DIGITS = re.compile(r"\d(?:\D{0,2}\d){5}")
"""Six digits near one another: without them there is no number that counts."""
_EMAIL = re.compile(
    r"(?<![\w+%~])[\w+%~](?:[\w.+%~'-]{0,62}[\w+%~-])?@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,63})(?![^\W_])",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.-])(?<![^/\s]/)(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f]{0,4}:[0-9a-f:]{0,35}:)[0-9a-f:]{3,39}(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?", re.I
)
_CARD = re.compile(r"(?<![A-Za-z0-9_])(?<!\d\.)\d(?:[ \u00a0-]?\d){12,30}(?![A-Za-z0-9_]|\.\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?:[ \u00a0-]?[A-Z0-9]){11,40}(?!\w)", re.IGNORECASE | re.ASCII)
_GROUP = re.compile(r"\w+")
_CARD_LENGTHS = range(13, 20)

Check = Callable[[str], bool]


def load() -> CheckedGuard:
    """The guard.  Raises ImportError where a library, or what is used of it, is not there."""
    ids = [(one, import_module(f"stdnum.{one.module}")) for one in IDS]
    return CheckedGuard(import_module("phonenumbers"), import_module("stdnum.luhn"), import_module("stdnum.iban"), ids)


class CheckedGuard:
    """Satisfies `understudy.ports.PiiGuard`.  The modules are those of the libraries."""

    def __init__(
        self, phones: Any, luhn: ModuleType, iban: ModuleType, ids: list[tuple[NationalId, ModuleType]]
    ) -> None:
        self._phones = phones
        self._is_luhn = _never_raising(luhn)
        self._is_iban = _never_raising(iban)
        self._ids = [(one, _never_raising(module)) for one, module in ids]

    def find(self, text: str, kinds: Set[str], countries: Set[str]) -> list[PiiFinding]:
        found: list[PiiFinding] = []
        if "email" in kinds and "@" in text:
            found += (PiiFinding("email", *one.span()) for one in _EMAIL.finditer(text))
        if "ip" in kinds and (":" in text or "." in text):
            found += (PiiFinding("ip", *span) for span in _addresses(text))
        if _DIGITS.search(text) is None:
            return found
        if "credit_card" in kinds:
            found += (PiiFinding("credit_card", *span) for span in _runs(text, _CARD, self._is_card, _CARD_LENGTHS))
        if "iban" in kinds:
            found += (PiiFinding("iban", *span) for span in _runs(text, _IBAN, self._is_iban, range(15, 35)))
        if "national_id" in kinds:
            found += (PiiFinding("national_id", *span) for span in self._national(text, countries))
        if "phone" in kinds:
            found += (PiiFinding("phone", *span) for span in self._dialled(text, countries))
        return found

    def _is_card(self, digits: str) -> bool:
        return _is_issued(digits) and self._is_luhn(digits)

    def _national(self, text: str, countries: Set[str]) -> Iterator[tuple[int, int]]:
        wanted = [(one.shape, checks) for one, checks in self._ids if not one.asked or one.country in countries]
        for place in ANYWHERE.finditer(text):
            for shape, checks in wanted:
                if (match := shape.match(text, place.start())) is not None and checks(_ascii(match[0])):
                    yield match.span()

    def _dialled(self, text: str, countries: Set[str]) -> Iterator[tuple[int, int]]:
        # Without a country only numbers that begin with a plus are found.
        regions: list[str | None] = [country.upper() for country in sorted(countries)]
        if not regions and ("+" in text or "\uff0b" in text):
            regions = [None]
        for region in regions:
            for match in self._phones.PhoneNumberMatcher(text, region):
                yield match.start, match.end


def _never_raising(module: ModuleType) -> Check:
    """A module's own check; some trip over what they do not know."""

    def checks(number: str) -> bool:
        try:
            return bool(module.is_valid(number))
        except Exception:  # noqa: BLE001 - what cannot be checked is not one
            return False

    return checks


def _runs(text: str, pattern: re.Pattern[str], checks: Check, lengths: range) -> Iterator[tuple[int, int]]:
    """Numbers that may be written in groups, with others right before or after them: the longest groups that hold."""
    at = 0
    while (run := pattern.search(text, at)) is not None:
        groups = [(group.start() + run.start(), group.end() + run.start()) for group in _GROUP.finditer(run[0])]
        span = _held(text, groups, checks, lengths)
        if span is None:
            # What begins with a later group is looked at by itself.
            at = groups[0][1] if len(groups) > 1 or pattern is _CARD else run.start() + 4
            continue
        yield span
        at = span[1]


def _held(text: str, groups: list[tuple[int, int]], checks: Check, lengths: range) -> tuple[int, int] | None:
    """The span from the first group on that holds."""
    number, held = "", None
    for start, end in groups:
        number += text[start:end]
        if len(number) >= lengths.stop:
            break
        if len(number) >= lengths.start and checks(_ascii(number)):
            held = groups[0][0], end
    return held


def _is_issued(digits: str) -> bool:
    """Whether cards of this length begin like that (ISO/IEC 7812 ranges of the large networks)."""
    first, two, four = digits[0], digits[:2], int(digits[:4])
    match len(digits):
        case 13 | 19:
            return first == "4" or (len(digits) == 19 and first == "6")
        case 14:
            return two in ("36", "38", "39") or "300" <= digits[:3] <= "305"
        case 15:
            return two in ("34", "37")
        case 16:
            return first in "456" or 2221 <= four <= 2720 or 3528 <= four <= 3589
        case _:
            return first in "56"


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        if _is_somebodys(match[0]):
            yield match.span()
    if "::" not in text and text.count(":") < 7:
        return
    for match in _IPV6.finditer(text):
        said = match[0] if match[0].endswith("::") else match[0].rstrip(":")
        if any(map(str.isdigit, said)) and _is_somebodys(said):
            yield match.start(), match.start() + len(said)


def _is_somebodys(said: str) -> bool:
    """Whether it is an address that a device may have: not the own one, none of a group, none that nobody has."""
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or address.is_reserved)


def _ascii(number: str) -> str:
    """Digits of any script as those of ASCII."""
    return number if number.isascii() else "".join(str(int(c)) if c.isdecimal() else c for c in number)
