"""The ledger beside an invoice: every difference, line by line, with what explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from understudy.catalog import Target
from understudy.chat.usage import Usage
from understudy.ports import Charge, LedgerLine
from understudy.pricing.cost import cost, counted_at
from understudy.services.invoice import InvoiceLine

CENT = Decimal("0.01")
SHARE = Decimal("0.005")
"""A difference below a cent, or below this part of the invoice, is none."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One day and model on both sides.  Money in US dollars, None where that side says nothing.

    `tokens_usd` is what the invoice's tokens cost more than ours at our price, `price_usd` what the invoice charges for
    its tokens beyond our price; together with `other_usd` they are the difference.  `estimated_usd` is the part of ours
    that rests on estimates.
    """

    day: str
    model: str
    targets: tuple[str, ...]
    ledger_usd: Decimal | None
    invoice_usd: Decimal | None
    difference_usd: Decimal
    tokens_usd: Decimal | None = None
    price_usd: Decimal | None = None
    other_usd: Decimal | None = None
    estimated_usd: Decimal = Decimal(0)
    why: str = ""

    def plain(self) -> dict[str, Any]:
        """JSON-able form; money as text."""
        names = self.__slots__
        plain = {name: getattr(self, name) for name in names} | {"targets": list(self.targets)}
        return {n: format(v, "f") if isinstance(v, Decimal) else v for n, v in plain.items()}


@dataclass(slots=True)
class _Theirs:
    usd: Decimal | None = None
    counts: dict[str, int] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def add(self, line: InvoiceLine) -> None:
        self.lines.append(line.number)
        if line.usd is not None:
            self.usd = (self.usd or Decimal(0)) + line.usd
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens"):
            value = getattr(line, name)
            if value is not None:
                self.counts[name] = self.counts.get(name, 0) + value


def reconcile(
    invoice: Sequence[InvoiceLine], ledger: Iterable[LedgerLine], targets: Mapping[str, Target], now: float
) -> list[Compared]:
    """Compare by day and model, as far as the invoice tells them apart.  `targets` are those that it is about; where it
    has no days, prices are those of `now`."""
    daily, modelled = any(line.day for line in invoice), any(line.model for line in invoice)
    names = {target.model for target in targets.values()}
    theirs: dict[tuple[str, str], _Theirs] = {}
    for line in invoice:
        theirs.setdefault((line.day, _named(line.model, names)), _Theirs()).add(line)
    ours: dict[tuple[str, str], dict[str, Charge]] = {}
    for one in ledger:
        target = targets.get(one.charge.target)
        if target is not None:
            key = (one.day if daily else "", target.model if modelled else "")
            of = ours.setdefault(key, {})
            before = of.get(target.name)
            of[target.name] = one.charge if before is None else before.plus(one.charge)
    return [
        _compared(day, model, theirs.get((day, model)), ours.get((day, model), {}), targets, now)
        for day, model in sorted({*theirs, *ours})
    ]


def _named(model: str, names: Iterable[str]) -> str:
    """The model of ours that an invoice means: its own name, or the longest that one of the two begins with."""
    asked = model.strip()
    if not asked or asked in names:
        return asked
    near = [name for name in names if asked.startswith(name) or name.startswith(asked)]
    return max(near, key=len) if near else asked


def _compared(
    day: str,
    model: str,
    theirs: _Theirs | None,
    ours: Mapping[str, Charge],
    targets: Mapping[str, Target],
    now: float,
) -> Compared:
    mine = sum((charge.usd for charge in ours.values()), Decimal(0))
    estimated = sum((charge.usd_estimated for charge in ours.values()), Decimal(0))
    names = tuple(sorted(ours))
    if theirs is None:
        why = f"only in the ledger{_doubt(mine, estimated)}"
        return Compared(day, model, names, mine, None, -mine, estimated_usd=estimated, why=why)
    where = _where(theirs.lines)
    if not ours:
        usd = theirs.usd or Decimal(0)
        return Compared(day, model, names, None, theirs.usd, usd, why=f"only on the invoice ({where})")
    parts = _parts(day, theirs, ours, targets, now)
    invoiced = theirs.usd if theirs.usd is not None else parts.get("theirs")
    if invoiced is None:
        return Compared(day, model, names, mine, None, Decimal(0), estimated_usd=estimated, why=f"no amount ({where})")
    gap = invoiced - mine
    why = _why(gap, invoiced, mine, estimated, theirs, ours, parts)
    given = {f"{name}_usd": parts.get(name) for name in ("tokens", "price", "other")}
    return Compared(day, model, names, mine, theirs.usd, gap, estimated_usd=estimated, why=f"{why} ({where})", **given)


def _parts(
    day: str, theirs: _Theirs, ours: Mapping[str, Charge], targets: Mapping[str, Target], now: float
) -> dict[str, Decimal]:
    """What tokens, price and the rest have to do with the difference, where the invoice counts tokens.

    Several targets of one model share the invoice's tokens; the price is that of the one with the most of them.
    """
    if not {"prompt_tokens", "completion_tokens"} <= theirs.counts.keys():
        return {}
    biggest = max(ours, key=lambda name: ours[name].prompt_tokens + ours[name].completion_tokens)
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp() if day else now
    price = counted_at(targets[biggest], noon)
    # Long prompts and tiers of service are those of single calls, of which sums know nothing.
    flat = replace(price, long_prompts=(), service_tiers={})
    total = _total(ours.values())
    mine = _usage(total)
    # Kinds that the invoice does not count are taken as we know them.
    counted: dict[str, Any] = theirs.counts
    of_theirs, of_ours = cost(replace(mine, **counted), flat) or Decimal(0), cost(mine, flat) or Decimal(0)
    parts = {"theirs": of_theirs, "tokens": of_theirs - of_ours, "other": of_ours - total.usd}
    return parts | ({} if theirs.usd is None else {"price": theirs.usd - of_theirs})


def _total(charges: Iterable[Charge]) -> Charge:
    total = Charge("traffic", "", "")
    for charge in charges:
        total = total.plus(charge)
    return total


def _usage(charge: Charge) -> Usage:
    return Usage(
        charge.prompt_tokens,
        charge.completion_tokens,
        charge.cached_tokens,
        charge.reasoning_tokens,
        charge.cache_write_tokens,
    )


def _why(
    gap: Decimal,
    invoiced: Decimal,
    mine: Decimal,
    estimated: Decimal,
    theirs: _Theirs,
    ours: Mapping[str, Charge],
    parts: Mapping[str, Decimal],
) -> str:
    if small(gap, invoiced):
        return "agrees" + _doubt(mine, estimated)
    said = []
    total = _total(ours.values())
    if not small(parts.get("tokens", Decimal(0)), invoiced):
        told = [
            f"{label} {theirs.counts[name]:,} there, {getattr(total, name):,} here"
            for name, label in (("prompt_tokens", "prompt tokens"), ("completion_tokens", "answer tokens"))
            if theirs.counts[name] != getattr(total, name)
        ]
        said.append(f"tokens {_signed(parts['tokens'])}: {'; '.join(told) or 'cached tokens differ'}")
    if not small(parts.get("price", Decimal(0)), invoiced):
        said.append(f"price {_signed(parts['price'])}: its tokens cost ${parts['theirs']:.4f} at the document's price")
    if not small(parts.get("other", Decimal(0)), invoiced):
        said.append(f"other {_signed(parts['other'])}: long prompts, tiers of service or another price in the ledger")
    if not said and parts:
        said.append("small differences together")
    elif not said:
        said.append("the invoice counts no tokens, so that price and tokens cannot be told apart")
    return "; ".join(said) + _doubt(mine, estimated)


def _doubt(mine: Decimal, estimated: Decimal) -> str:
    return f"; ${estimated:.4f} of the ledger's ${mine:.4f} are estimated" if estimated else ""


def _where(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:5]))
    return f"line {shown}" if len(lines) == 1 else f"lines {shown}" + (" …" if len(lines) > 5 else "")


def small(gap: Decimal, of: Decimal) -> bool:
    """Whether a difference is none."""
    return abs(gap) < CENT or abs(gap) <= SHARE * abs(of)


def _signed(usd: Decimal) -> str:
    return f"{'-' if usd < 0 else '+'}${abs(usd):.4f}"
