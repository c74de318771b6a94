"""A provider's invoice beside the ledger: read as it is meant or refused with its line; differences are explained."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import target
from understudy.catalog import Price
from understudy.ports import Charge, LedgerLine
from understudy.prices import LongPrompt
from understudy.services.invoice import MAX_BYTES, InvoiceError, InvoiceLine, columns_from, invoice_from
from understudy.services.reconcile import reconcile

DAY, NEXT = "2026-11-27", "2026-11-28"
NOON = 1_795_780_800.0

ASKED: dict[str, tuple[str, list[InvoiceLine]]] = {
    "plain": (
        f"date,model,input_tokens,output_tokens,cost_usd\n{DAY},gpt,10,2,0.5\n",
        [InvoiceLine(2, DAY, "gpt", Decimal("0.5"), 10, 2)],
    ),
    "amount alone, in a spreadsheet's way": (
        f'\ufeffUsage Date;Model;Amount (USD)\r\n{DAY};gpt;"$1,234.50"\r\n\r\n',
        [InvoiceLine(2, DAY, "gpt", Decimal("1234.5"))],
    ),
    "uncached input": (
        "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_read,usage_output_tokens\n"
        f"{DAY},claude,7,3,2\n",
        [InvoiceLine(2, DAY, "claude", None, 10, 2, 3)],
    ),
    "seconds and moments": (
        "start_time,amount_value\n1795824000,1\n2026-11-27T23:30:00-02:00,2\n",
        [InvoiceLine(2, NEXT, "", Decimal(1)), InvoiceLine(3, NEXT, "", Decimal(2))],
    ),
    "a quoted line break, an empty number, a credit": (
        f'date,note,cost\n{DAY},"two\nlines",\n{DAY},x,-1e-2\n',
        [InvoiceLine(3, DAY, "", Decimal(0)), InvoiceLine(4, DAY, "", Decimal("-0.01"))],
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_columns_are_known_by_their_names(name: str) -> None:
    """Whatever order, separator and spelling; what an invoice does not have is none."""
    text, expected = ASKED[name]
    assert expected == invoice_from(text.encode())


def test_columns_can_be_named() -> None:
    """A header that nobody knows, or two of which one is meant."""
    text = f"When,What,Cost,Amount\n{DAY},gpt,1,2\n".encode()
    named = columns_from("day=When, model=What,usd=Amount")
    assert [InvoiceLine(2, DAY, "gpt", Decimal(2))] == invoice_from(text, named)


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the file is empty"),
    "no UTF-8": (b"date,cost\n\xff,1\n", "byte 10 is no UTF-8"),
    "no columns": (b"a,b\n1,2\n", "line 1: no column is known as an amount or as tokens"),
    "two amounts": (b"date,cost,amount\n", "line 1: 'cost' and 'amount' may both be the usd"),
    "two inputs": (
        b"input_tokens,uncached_input_tokens,cost\n",
        "line 1: there are columns of all input tokens and of",
    ),
    "a field too few": (f"date,cost\n{DAY},1\n{DAY}\n".encode(), "line 3: has 1 fields, and the first line names 2"),
    "an open quote": (f'date,cost\n{DAY},"1\n'.encode(), "line 2: unexpected end of data"),
    "no number": (f"date,cost\n{DAY},free\n".encode(), "line 2: 'free' is no number (usd)"),
    "a decimal comma": (f'date,cost\n{DAY},"1,5"\n'.encode(), "line 2: '1,5' is no number (usd)"),
    "infinity": (f"date,cost\n{DAY},Infinity\n".encode(), "line 2: 'Infinity' is no number (usd)"),
    "half a token": (f"date,output_tokens\n{DAY},1.5\n".encode(), "line 2: '1.5' is no number of tokens (output)"),
    "fewer than no tokens": (f"date,output_tokens\n{DAY},-1\n".encode(), "line 2: '-1' is no number of tokens"),
    "no day": (b"date,cost\n11/28/2026,1\n", "line 2: '11/28/2026' is no day"),
    "no such day": (b"date,cost\n2026-02-30,1\n", "line 2: '2026-02-30' is no day"),
    "another currency": (f"date,cost,currency\n{DAY},1,EUR\n".encode(), "line 2: is in EUR; only US dollars"),
    "too large": (b"x" * (MAX_BYTES + 1), "the file has 20,000,001 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_with_its_place(name: str) -> None:
    """Nothing is guessed and nothing is left out in silence."""
    content, expected = REFUSED[name]
    with pytest.raises(InvoiceError) as refused:
        invoice_from(content)
    assert expected in str(refused.value)


@pytest.mark.parametrize("text", ["usd", "usd=", "dollars=Amount", "=x"])
def test_a_wrong_column_is_refused(text: str) -> None:
    """With what may be written."""
    with pytest.raises(InvoiceError, match="write COLUMN=HEADER"):
        columns_from(text)
    with pytest.raises(InvoiceError, match="0 columns are called 'Sum'; there are 'date', 'cost'"):
        invoice_from(b"date,cost\n", columns_from("usd=Sum"))


@given(st.binary(max_size=300) | st.text(alphabet='date,cost;\n"01.-eE$\t', max_size=200).map(str.encode))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    """No file breaks the reader."""
    try:
        invoice_from(b"date,cost\n" + content)
    except InvoiceError as refused:
        assert str(refused)


PRICE = Price(Decimal(1000), Decimal(10_000), kinds={"cached": Decimal(100)})
LEAD = target("lead", price=PRICE)
OURS = Charge("traffic", "chat", "lead", usd=Decimal("0.2"), requests=1, attempts=1, prompt_tokens=100,
              completion_tokens=10)  # fmt: skip


def compared(invoice: list[InvoiceLine], *charges: Charge, **fields: Any) -> list[Any]:
    lines = [LedgerLine("k", DAY, charge) for charge in charges]
    targets = fields.get("targets", {"lead": LEAD})
    return reconcile(invoice, lines, targets, NOON)


def line(usd: str | None, prompt: int | None = None, completion: int | None = None, **more: Any) -> InvoiceLine:
    fields = {"number": 2, "day": DAY, "model": "big"} | more
    return InvoiceLine(**fields, usd=None if usd is None else Decimal(usd), prompt_tokens=prompt,
                       completion_tokens=completion)  # fmt: skip


def parts(one: Any) -> tuple[Decimal | None, ...]:
    return one.difference_usd, one.tokens_usd, one.price_usd, one.other_usd


@pytest.mark.parametrize(("theirs", "ours", "expected", "why"), [
    (line("0.2", 100, 10), OURS, ("0", "0", "0", "0"), "agrees (line 2)"),
    (line("0.4", 200, 20), OURS, ("0.2", "0.2", "0", "0"),
     "tokens +$0.2000: prompt tokens 200 there, 100 here; answer tokens 20 there, 10 here"),
    (line("0.3", 100, 10), OURS, ("0.1", "0", "0.1", "0"),
     "price +$0.1000: its tokens cost $0.2000 at the document's price"),
    (line("0.1", 100, 10), OURS, ("-0.1", "0", "-0.1", "0"), "price -$0.1000"),
    (line("0.2", 100, 10), replace(OURS, usd=Decimal("0.5")), ("-0.3", "0", "0", "-0.3"), "other -$0.3000"),
    (line("0.3"), OURS, ("0.1", None, None, None), "the invoice counts no tokens"),
    (line(None, 200, 10), OURS, ("0.1", "0.1", None, "0"), "tokens +$0.1000: prompt tokens 200 there, 100 here"),
    (line("0.11", 100, 10, cached_tokens=100), OURS, ("-0.09", "-0.09", "0", "0"), "cached tokens differ"),
    (line("0.4", 200, 20), replace(OURS, usd_estimated=Decimal("0.15")), ("0.2", "0.2", "0", "0"),
     "$0.1500 of the ledger's $0.2000 are estimated"),
], ids=["agrees", "tokens", "dearer", "cheaper", "other", "no tokens", "no amount", "cached", "estimated"])  # fmt: skip
def test_a_difference_is_explained(
    theirs: InvoiceLine, ours: Charge, expected: tuple[str | None, ...], why: str
) -> None:
    """By tokens, by price, by the rest; the parts are the whole, and what is estimated is said."""
    (one,) = compared([theirs], ours)
    assert tuple(None if text is None else Decimal(text) for text in expected) == parts(one)
    assert why in one.why
    if one.price_usd is not None:
        assert one.difference_usd == one.tokens_usd + one.price_usd + one.other_usd


def test_what_one_side_alone_has_is_told() -> None:
    """A model that the ledger does not know, a day that the invoice leaves out."""
    found = compared([line("5", 1, 1, model="unheard", number=7), line("1", day=NEXT, number=9)], OURS)
    told = {(one.day, one.model): (one.difference_usd, one.why) for one in found}
    assert {
        (DAY, "big"): (Decimal("-0.2"), "only in the ledger"),
        (DAY, "unheard"): (Decimal(5), "only on the invoice (line 7)"),
        (NEXT, "big"): (Decimal(1), "only on the invoice (line 9)"),
    } == told


def test_lines_of_one_day_and_model_are_taken_together() -> None:
    """Also under the longer name of a snapshot, and over several targets of one model; other targets are left out."""
    two = {"lead": LEAD, "second": target("second", price=PRICE)}
    invoice = [line("0.2", 100, 10), line("0.2", 100, 10, model="big-2026-08-06", number=3)]
    others = (replace(OURS, target="second"), replace(OURS, target="unasked"))
    (one,) = compared(invoice, OURS, *others, targets=two)
    assert ("agrees (lines 2, 3)", ("lead", "second")) == (one.why, one.targets)


def test_an_invoice_without_days_is_compared_as_a_whole() -> None:
    """All days of the ledger together, at the price of now."""
    (one,) = compared([line("0.4", 200, 20, day="")], OURS, replace(OURS, purpose="probe"))
    assert ("", "agrees (line 2)") == (one.day, one.why)


def test_prices_are_those_of_the_day() -> None:
    """A change of price counts from its day on; long prompts are those of single calls and not of their sum."""
    later = replace(PRICE, input_per_million=Decimal(2000), starts_at=NOON + 86_400)
    long = replace(PRICE, long_prompts=(LongPrompt(10, {"input": Decimal(9000)}),))
    for priced in (replace(LEAD, price_changes=(later,)), replace(LEAD, price=long)):
        (one,) = compared([line("0.2", 100, 10)], OURS, targets={"lead": priced})
        assert "agrees (line 2)" == one.why
