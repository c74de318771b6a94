"""A provider's invoice as CSV: read by the names of its columns, or refused with line and reason.

Nothing is guessed: where two columns may be meant, or a number can be read in two ways, it is said and nothing is
compared.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from understudy.errors import UnderstudyError

Column = Literal["day", "model", "input", "uncached", "output", "cached", "cache_write", "usd"]
COLUMNS: tuple[Column, ...] = ("day", "model", "input", "uncached", "output", "cached", "cache_write", "usd")
"""`input` are all tokens of the prompt; `uncached` those that were neither read from a cache nor written to one."""
TOKENS: tuple[Column, ...] = ("input", "uncached", "output", "cached", "cache_write")
NAMES: Mapping[Column, tuple[str, ...]] = {
    "day": ("day", "date", "usagedate", "usagedateutc", "starttime", "starttimeiso", "timestamp", "usagestartdate"),
    "model": ("model", "modelid", "modelname", "modelversion", "modelused", "snapshotid"),
    "input": ("input", "inputtokens", "prompttokens", "ncontexttokenstotal", "tokensprompt", "totalinputtokens"),
    "uncached": ("uncachedinputtokens", "usageinputtokensnocache", "inputuncachedtokens"),
    "output": ("output", "outputtokens", "completiontokens", "ngeneratedtokenstotal", "tokenscompletion",
               "usageoutputtokens"),
    "cached": ("cachedtokens", "cachedinputtokens", "inputcachedtokens", "cachereadinputtokens", "cachereadtokens",
               "usageinputtokenscacheread"),
    "cache_write": ("cachewritetokens", "cachecreationinputtokens", "cachewriteinputtokens",
                    "usageinputtokenscachewrite5m"),
    "usd": ("usd", "amount", "amountusd", "amountvalue", "cost", "costusd", "totalcost", "costinusd", "unblendedcost"),
}  # fmt: skip
"""Headers by which columns are known, in lower case and without anything but letters and digits."""
CURRENCY = ("currency", "amountcurrency", "currencycode")
MAX_BYTES = 20_000_000
MAX_LINES = 200_000
_PLAIN = re.compile(r"-?\d+(\.\d+)?([eE]-?\d{1,3})?")
_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


class InvoiceError(UnderstudyError):
    """The file is not understood; says where and why."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line; None where the invoice has no such column.  `day` is empty where it has none."""

    number: int
    day: str
    model: str
    usd: Decimal | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


def columns_from(text: str) -> dict[Column, str]:
    """`day=Date,usd=Amount` as a mapping.  Raises InvoiceError."""
    found: dict[Column, str] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, sign, header = part.partition("=")
        known = next((column for column in COLUMNS if column == name.strip()), None)
        if not sign or known is None or not header.strip():
            raise InvoiceError(f"--columns {part}: write COLUMN=HEADER, with a COLUMN of {', '.join(COLUMNS)}")
        found[known] = header.strip()
    return found


def invoice_from(content: bytes, named: Mapping[Column, str] | None = None) -> list[InvoiceLine]:
    """Read an invoice; `named` says which header a column has where it cannot be told.  Raises InvoiceError."""
    if len(content) > MAX_BYTES:
        raise InvoiceError(f"the file has {len(content):,} bytes; {MAX_BYTES:,} are allowed")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvoiceError(f"byte {error.start} is no UTF-8; export the file as UTF-8") from None
    first = text.split("\n", 1)[0]
    separator = max((",", ";", "\t"), key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next(rows, None)
        if not header:
            raise InvoiceError("the file is empty; its first line must name the columns")
        places, currency = _places(header, named or {})
        return list(_lines(rows, len(header), places, currency))
    except csv.Error as error:
        raise InvoiceError(f"line {rows.line_num}: {error}") from None


def _places(header: Sequence[str], named: Mapping[Column, str]) -> tuple[dict[Column, int], int | None]:
    """Where each column is, and where the currency is."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    found: dict[Column, int] = {}
    for column in COLUMNS:
        if column in named:
            at = [place for place, name in enumerate(header) if name.strip() == named[column]]
            if len(at) != 1:
                raise InvoiceError(f"line 1: {len(at)} columns are called {named[column]!r}; there are {_list(header)}")
        else:
            at = [place for place, name in enumerate(plain) if name in NAMES[column]]
        if len(at) > 1:
            doubtful = " and ".join(repr(header[place]) for place in at)
            raise InvoiceError(f"line 1: {doubtful} may both be the {column}; say which with --columns {column}=HEADER")
        if at:
            found[column] = at[0]
    if "usd" not in found and not found.keys() & set(TOKENS):
        raise InvoiceError(
            f"line 1: no column is known as an amount or as tokens; say with --columns usd=HEADER. There are "
            f"{_list(header)}"
        )
    if "input" in found and "uncached" in found:
        raise InvoiceError(
            "line 1: there are columns of all input tokens and of uncached ones; name one with --columns"
        )
    return found, next((place for place, name in enumerate(plain) if name in CURRENCY), None)


def _lines(rows: Any, width: int, places: Mapping[Column, int], currency: int | None) -> Iterator[InvoiceLine]:
    for count, row in enumerate(rows, start=2):
        number = rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        if count > MAX_LINES:
            raise InvoiceError(f"there are more than {MAX_LINES:,} lines; split the file")
        if len(row) != width:
            raise InvoiceError(f"line {number}: has {len(row)} fields, and the first line names {width}")
        if currency is not None and row[currency].strip().upper() not in ("USD", "$", ""):
            raise InvoiceError(f"line {number}: is in {row[currency].strip()[:20]}; only US dollars can be compared")
        cells = {column: row[place].strip() for column, place in places.items()}
        yield _line(number, cells)


def _line(number: int, cells: Mapping[Column, str]) -> InvoiceLine:
    counts = {column: _tokens(number, column, cells[column]) for column in TOKENS if column in cells}
    prompt = counts.get("input")
    if "uncached" in counts:
        prompt = sum(counts.get(column, 0) for column in ("uncached", "cached", "cache_write"))
    return InvoiceLine(
        number,
        _day(number, cells["day"]) if "day" in cells else "",
        cells.get("model", ""),
        _number(number, "usd", cells["usd"]) if "usd" in cells else None,
        prompt,
        counts.get("output"),
        counts.get("cached"),
        counts.get("cache_write"),
    )


def _day(number: int, text: str) -> str:
    """A day, a moment, or seconds since the epoch, as a day (UTC)."""
    try:
        if re.fullmatch(r"\d{9,11}", text):
            return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%d")
        if len(text) == 10:
            return date.fromisoformat(text).isoformat()
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is None else moment.astimezone(UTC)).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        raise InvoiceError(f"line {number}: {text[:40]!r} is no day; days are written as 2026-11-28") from None


def _tokens(number: int, column: Column, text: str) -> int:
    value = _number(number, column, text)
    if value < 0 or value != value.to_integral_value():
        raise InvoiceError(f"line {number}: {text[:40]!r} is no number of tokens ({column})")
    return int(value)


def _number(number: int, column: Column, text: str) -> Decimal:
    plain = text.replace("$", "", 1).strip()
    if not plain:
        return Decimal(0)
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if len(plain) > 40 or not _PLAIN.fullmatch(plain):
        raise InvoiceError(f"line {number}: {text[:40]!r} is no number ({column}); numbers are written as 1234.56")
    return Decimal(plain)


def _list(header: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in header)[:500]
