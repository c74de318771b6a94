"""`understudy cost`, `understudy cost reconcile` and `understudy prices`."""

from __future__ import annotations

import csv
import io
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from understudy import bootstrap
from understudy.cli import main
from understudy.keys import ClientKey
from understudy.ports import Charge, Token
from understudy.pricing.ledger import day_of
from understudy.services.publish_control import publish
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

DOCUMENT = """
schema: 1
providers: {acme: {wire: openai, base_url: "https://acme.example/v1"}}
targets:
  lead: {provider: acme, model: large, price: {input_per_million: "1000", output_per_million: "10000",
    kinds: {cached: "100"}, source: "acme.example, 2026-11-01"},
    price_changes: [{from: "2099-01-01", input_per_million: "900", output_per_million: "9000"}]}
  spare: {provider: acme, model: small}
routes: {chat: {targets: [lead, spare]}}
"""
KEY, OTHER = "c" * 64, "d" * 64
WHERE = ["--table", "t"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A router that has served two keys and probed a target."""
    made, now = Store(MemoryTable()), time.time()
    monkeypatch.setattr(bootstrap, "operator_store", lambda table, **options: made)
    publish(made, DOCUMENT, now=now, by="test")
    for number, (key, name) in enumerate({KEY: "billing", OTHER: "search"}.items()):
        made.put_key(ClientKey(key, name, now))
        usd = Decimal("0.2") + number
        one = Charge("traffic", "chat", "lead", usd, Decimal("0.1"), 1, 2, 100, 10, 5)
        made.charge(key, [one], Token("w", 1), now)
    made.charge("", [Charge("probe", "", "spare", Decimal("0.003"), attempts=1)], Token("w", 1), now)
    return made


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


def test_what_was_spent_is_shown_by_target(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """This month so far, with what is estimated, and a total."""
    assert 0 == main(["cost", *WHERE])
    head, *rows = table(capsys.readouterr().out)
    assert ["TARGET", "REQUESTS", "CALLS", "PROMPT", "CACHED", "ANSWER", "USD", "ESTIMATED"] == head
    assert [
        ["lead", "2", "4", "200", "10", "20", "1.4000", "0.2000"],
        ["spare", "0", "1", "0", "0", "0", "0.0030", "0.0000"],
        ["total", "2", "5", "200", "10", "20", "1.4030", "0.2000"],
    ] == rows[:3]


@pytest.mark.parametrize(("options", "expected"), [
    (["--by", "purpose"], [("probe", "0.003"), ("traffic", "1.4")]),
    (["--by", "key"], [(f"billing {KEY[:12]}", "0.2"), ("router", "0.003"), (f"search {OTHER[:12]}", "1.2")]),
    (["--by", "route", "--key", "billing"], [("chat", "0.2")]),
    (["--by", "route", "--key", "ddd"], [("chat", "1.2")]),
    (["--by", "target", "--key", "router"], [("spare", "0.003")]),
    (["--by", "target", "--target", "spare"], [("spare", "0.003")]),
    (["--by", "target", "--route", "chat"], [("lead", "1.4")]),
    (["--by", "target", "--purpose", "traffic"], [("lead", "1.4")]),
    (["--by", "target", "--from", "2026-01-01", "--to", "2026-01-02"], []),
])  # fmt: skip
def test_lines_are_chosen_and_grouped(
    store: Store, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[tuple[str, str]]
) -> None:
    """By day, key, route, target and purpose; of one key, route, target, purpose or period."""
    assert 0 == main(["cost", *WHERE, *options, "--json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    shown = [(row[options[1]], row["usd"].rstrip("0")) for row in told["rows"]]
    assert expected == shown
    assert sum((Decimal(usd) for _, usd in expected), Decimal(0)) == Decimal(told["total"]["usd"])


def test_a_rotated_key_goes_on_with_its_account(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Its money is found by the old key and the new one, once, under the name that it has now."""
    store.put_key(ClientKey("f" * 64, "billing-2", time.time() + 1, replaces=KEY, line=KEY))
    for asked in ("ccc", "fff", "billing-2"):
        assert 0 == main(["cost", *WHERE, "--by", "key", "--key", asked, "--json"])
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert [(f"billing-2 {KEY[:12]}", "0.200000000")] == [(row["key"], row["usd"]) for row in rows]
    assert 0 == main(["cost", *WHERE, "--by", "target", "--json"])
    assert Decimal("1.403") == Decimal(json.loads(capsys.readouterr().out)["total"]["usd"])


def test_costs_are_exported(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """As CSV with a column for each group and measure; a name that a spreadsheet would calculate is text."""
    store.put_key(ClientKey("e" * 64, "=1+1", 0.0))
    store.charge("e" * 64, [Charge("traffic", "chat", "lead", Decimal(1))], Token("w", 1), time.time())
    assert 0 == main(["cost", *WHERE, "--by", "day", "--by", "key", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {day_of(time.time())} == {row["day"] for row in rows}
    assert ["'=1+1", "billing", "router", "search"] == [row["key"].split()[0] for row in rows]
    assert "100" == rows[1]["prompt_tokens"]


@pytest.mark.parametrize(("options", "expected"), [
    (["--from", "yesterday"], "--from yesterday: this is no day"),
    (["--from", "2026-02-02", "--to", "2026-02-01"], "--from 2026-02-02 is after --to 2026-02-01"),
    (["--from", "2020-01-01", "--to", "2026-02-01"], "the ledger is kept for 400 days"),
    (["--key", "nobody"], "there is no key 'nobody'"),
])  # fmt: skip
def test_a_wrong_question_is_refused(
    store: Store, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    """With what to do instead."""
    assert 1 == main(["cost", *WHERE, *options])
    assert expected in capsys.readouterr().err


@pytest.fixture
def invoice(tmp_path: Path) -> Path:
    path = tmp_path / "invoice.csv"
    path.write_text(f"date,model,input_tokens,output_tokens,cost\n{day_of(time.time())},large,200,20,0.7\n")
    return path


def test_an_invoice_is_reconciled(store: Store, invoice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line and in all, with the reasons; also as JSON and CSV."""
    assert 0 == main(["cost", "reconcile", str(invoice), *WHERE, "--provider", "acme"])
    out = capsys.readouterr().out
    assert "price +$0.3090: its tokens cost $0.3910 at the document's price" in out
    assert ["total", "1.4030", "0.7000", "-0.7030"] == table(out)[-1]
    assert 0 == main(["cost", "reconcile", str(invoice), *WHERE, "--target", "lead", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ["-0.700000000"] == [one["difference_usd"] for one in told["lines"]]
    assert 0 == main(["cost", "reconcile", str(invoice), *WHERE, "--target", "lead", "--csv"])
    assert ["lead"] == [row["targets"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert 0 == main(["cost", *WHERE, "--json", "reconcile", str(invoice), "--target", "lead"])
    assert told == json.loads(capsys.readouterr().out)


def test_a_malformed_invoice_is_refused(store: Store, invoice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line and reason; a file that is not there too."""
    invoice.write_text(invoice.read_text() + "2026-11-27,large,1\n")
    assert 1 == main(["cost", "reconcile", str(invoice), *WHERE, "--provider", "acme"])
    expected = f"{invoice}: line 3: has 3 fields, and the first line names 5; nothing was compared"
    assert expected in capsys.readouterr().err
    assert 1 == main(["cost", "reconcile", str(invoice) + "x", *WHERE, "--provider", "acme"])
    assert "No such file" in capsys.readouterr().err


def test_whose_invoice_it_is_must_be_said(store: Store, invoice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And for which days, where it does not say them itself."""
    assert 1 == main(["cost", "reconcile", str(invoice), *WHERE])
    assert "say whose invoice it is: --provider acme" in capsys.readouterr().err
    invoice.write_text("model,cost\nlarge,1\n")
    assert 1 == main(["cost", "reconcile", str(invoice), *WHERE, "--provider", "acme"])
    assert "has no column of days" in capsys.readouterr().err


def test_prices_are_listed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Those in force, where they are from, what is coming, and what is assumed."""
    assert 0 == main(["prices", *WHERE])
    out = capsys.readouterr().out
    rows = table(out)
    assert ["lead", "large", "1000", "10000", "cached", "100", "-", "acme.example,", "2026-11-01"] == rows[1]
    assert ["spare", "small", "1000", "10000"] == rows[2][:4]
    assert "lead: from 2099-01-01 on 900 and 9000" in out
    assert "spare: no price is known: this one is assumed" in out
