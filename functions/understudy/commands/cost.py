"""`understudy cost` and `understudy prices`: what was spent, whether an invoice says the same, and what tokens cost."""

from __future__ import annotations

import argparse
import copy
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from understudy.commands.router import CommandError, print_columns, store_of
from understudy.pricing.ledger import MEASURES, PURPOSES, Charge, day_of, plain_measures

BY = ("day", "key", "route", "target", "purpose")


def add_parsers(commands: Any, where: argparse.ArgumentParser) -> None:
    cost = commands.add_parser("cost", parents=[where], help="what was spent, and whether an invoice agrees")
    cost.set_defaults(run=_cost)
    _period(cost)
    cost.add_argument(
        "--by", action="append", choices=BY, help="group by; may be given more than once (default: target)"
    )
    cost.add_argument("--key", default="", help="a key's name, the beginning of its hash, or `router`")
    for name, text in {"route": "route", "target": "target"}.items():
        cost.add_argument(f"--{name}", action="append", default=[], help=f"only this {text}; may be repeated")
    cost.add_argument("--purpose", action="append", default=[], choices=PURPOSES, help="only this; may be repeated")
    _forms(cost)
    actions = cost.add_subparsers(metavar="ACTION")
    compare = actions.add_parser(
        "reconcile", parents=[copy.deepcopy(where)], help="compare the ledger with a provider's invoice"
    )
    compare.set_defaults(run=_reconcile)
    compare.add_argument("invoice", type=Path, metavar="INVOICE.csv")
    compare.add_argument("--provider", action="append", default=[], help="whose invoice it is; may be repeated")
    compare.add_argument("--target", action="append", default=[], help="only this target; may be repeated")
    compare.add_argument(
        "--columns", default="", metavar="COLUMN=HEADER,…", help="which header means what, where it cannot be told"
    )
    _period(compare)
    _forms(compare)
    for option in compare._actions:
        if option.dest in ("local", "local_url", "table", "first", "last", "csv", "json"):
            # What was said before the action holds where it is not said again.
            option.default = argparse.SUPPRESS
    prices = commands.add_parser("prices", parents=[where], help="what tokens cost, by the document and the price book")
    prices.set_defaults(run=_prices)
    prices.add_argument("--json", action="store_true", help="as JSON")


def _period(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", metavar="DAY", help="first day, UTC (default: of this month)")
    parser.add_argument("--to", dest="last", metavar="DAY", help="last day, UTC (default: today)")


def _forms(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="as CSV")
    form.add_argument("--json", action="store_true", help="as JSON")


def _cost(options: argparse.Namespace) -> int:
    from understudy.services.costs import Wanted, days, report

    first, last = days(options.first, options.last, day_of(time.time()))
    wanted = Wanted(
        first, last, options.key, frozenset(options.route), frozenset(options.target), frozenset(options.purpose)
    )
    by = tuple(dict.fromkeys(options.by or ["target"]))
    found = report(store_of(options), wanted, by)
    if options.json:
        print(
            json.dumps(
                {"from": first, "to": last, "rows": found.plain(), "total": plain_measures(found.total)}, indent=2
            )
        )
    elif options.csv:
        _csv([*by, *MEASURES], found.plain())
    else:
        head = (*(name.upper() for name in by), "REQUESTS", "CALLS", "PROMPT", "CACHED", "ANSWER", "USD", "ESTIMATED")
        rows = [(*(value or "-" for value in row.group), *_cells(row.sum)) for row in found.rows]
        print_columns([head, *rows, ("total", *[""] * (len(by) - 1), *_cells(found.total))])
        print(f"\n{first} to {last} (UTC). ESTIMATED: the part of USD by estimated tokens or an unknown price.")
    return 0


def _reconcile(options: argparse.Namespace) -> int:
    from understudy.services.costs import Wanted, days, matching
    from understudy.services.current_catalog import CurrentCatalog
    from understudy.services.invoice import columns_from, invoice_from
    from understudy.services.reconcile import reconcile

    try:
        invoice = invoice_from(options.invoice.read_bytes(), columns_from(options.columns))
    except Exception as error:
        if isinstance(error, OSError):
            raise
        raise CommandError(f"{options.invoice}: {error}; nothing was compared") from error
    store, now = store_of(options), time.time()
    current = CurrentCatalog(store).read()
    if current is None:
        raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
    targets = {
        name: target
        for name, target in current.targets.items()
        if name in options.target or target.provider.name in options.provider
    }
    if not targets:
        known = sorted({target.provider.name for target in current.targets.values()})
        raise CommandError(f"say whose invoice it is: --provider {'|'.join(known)}, or --target NAME")
    dated = sorted(line.day for line in invoice if line.day)
    if not dated and not (options.first and options.last):
        raise CommandError(f"{options.invoice} has no column of days; say which it is for with --from DAY --to DAY")
    first, last = days(options.first or dated[0], options.last or dated[-1], day_of(now))
    inside = [line for line in invoice if not line.day or first <= line.day <= last]
    accounts = ["", *sorted({key.account for key in store.client_keys()})]
    lines = matching(store.ledger(accounts, first, last), Wanted(first, last, targets=frozenset(targets)))
    _print_compared(options, reconcile(inside, lines, targets, now))
    return 0


def _print_compared(options: argparse.Namespace, found: Sequence[Any]) -> None:
    plain = [one.plain() for one in found]
    total = {
        "ledger_usd": format(sum((one.ledger_usd or Decimal(0) for one in found), Decimal(0)), "f"),
        "invoice_usd": format(sum((one.invoice_usd or Decimal(0) for one in found), Decimal(0)), "f"),
        "estimated_usd": format(sum((one.estimated_usd for one in found), Decimal(0)), "f"),
    }
    if options.json:
        print(json.dumps({"lines": plain, "total": total}, indent=2))
    elif options.csv:
        _csv(list(plain[0]) if plain else [], [one | {"targets": " ".join(one["targets"])} for one in plain])
    else:
        head = ("DAY", "MODEL", "LEDGER", "INVOICE", "DIFFERENCE", "WHY")
        rows = [
            (
                one.day or "-",
                one.model or "-",
                _usd(one.ledger_usd),
                _usd(one.invoice_usd),
                _usd(one.difference_usd),
                one.why,
            )
            for one in found
        ]
        ledger, invoice = Decimal(total["ledger_usd"]), Decimal(total["invoice_usd"])
        print_columns([head, *rows, ("total", "", _usd(ledger), _usd(invoice), _usd(invoice - ledger), "")])


def _prices(options: argparse.Namespace) -> int:
    """Each target's price in force and the next change, and where the price book says otherwise now."""
    from understudy.control.price_book import GenaiPrices
    from understudy.control.price_fill import NO_BOOK
    from understudy.services.price_list import price_list

    store = store_of(options)
    pointer = store.pointer()
    if pointer is None:
        raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
    rows, has_book = price_list(store.version(pointer.version).document, GenaiPrices(), time.time())
    if options.json:
        print(json.dumps([row.plain() for row in rows], indent=2))
        return 0
    head = ("TARGET", "MODEL", "INPUT", "OUTPUT", "OTHER", "SINCE", "SOURCE")
    print_columns([head, *(row.cells() for row in rows)])
    notes = [f"  {row.target}: {note}" for row in rows for note in row.notes]
    if notes:
        print("\nUS dollars for one million tokens.")
        print("\n".join(notes))
    if not has_book:
        print(f"\n{NO_BOOK}", file=sys.stderr)
    return 0


def _cells(charge: Charge) -> tuple[str, ...]:
    counts = (charge.requests, charge.attempts, charge.prompt_tokens, charge.cached_tokens, charge.completion_tokens)
    return (*(f"{count:,}" for count in counts), _usd(charge.usd), _usd(charge.usd_estimated))


def _usd(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:,.4f}"


def _csv(header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, header, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    """A name that a spreadsheet would take for a formula is text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@") else value
