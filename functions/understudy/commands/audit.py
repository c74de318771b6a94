"""`understudy audit`: verify records and their seals, show some, seal what is due."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from understudy.commands.router import CommandError, local_call, store_of

SHOWN = 20
"""Flaws of one sort that are listed; the others are counted."""
MISSING = 3
"""Exit code where nothing was changed but something is not there."""


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    audit = added.add_parser("audit", help="verify, show and seal audit records")
    actions = audit.add_subparsers(dest="action", required=True, metavar="ACTION")
    read = argparse.ArgumentParser(add_help=False, parents=[where])
    read.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="local audit file, log export or objects of the S3 bucket, compressed or not (--local: its own)",
    )
    read.add_argument("--log-group", metavar="NAME", help="also what this log group of a deployed router has")
    verify = actions.add_parser("verify", parents=[read], help="whether records are all there and unchanged")
    verify.set_defaults(run=_verify)
    verify.add_argument(
        "--day", type=_day, action="append", default=[], metavar="YYYY-MM-DD", help="this day (UTC) must be whole"
    )
    show = actions.add_parser("show", parents=[read], help="records by request, key, target, time")
    show.set_defaults(run=_show)
    show.add_argument("--request-id", default="", metavar="ID")
    show.add_argument("--key", default="", metavar="NAME", help="a client's name, or first characters of its hash")
    show.add_argument("--target", default="", metavar="TARGET", help="whoever answered, was asked, or was denied")
    show.add_argument("--since", default="", metavar="TIME", help="2026-12-31 or 2026-12-31T10:00 (UTC)")
    show.add_argument("--until", default="", metavar="TIME")
    show.add_argument("--json", action="store_true", help="whole records, one JSON object a line")
    show.add_argument("--query", action="store_true", help="print the query for Logs Insights, and ask nobody")
    seal = actions.add_parser("seal", parents=[where], help="seal the days that are due, and show the latest seals")
    seal.set_defaults(run=_seal)


def _verify(options: argparse.Namespace) -> int:
    from understudy.audit.verify import Verification, check_seals

    verification = Verification()
    days: set[str] = set(options.day)
    for found in _found(options, min(days, default=""), max(days, default="")):
        verification.take(found)
    # Where days are named, their neighbours come along in part, and nobody asks whether those are whole.
    days |= set() if options.day else verification.days
    if (options.files or options.log_group) and not verification.days:
        named = ", ".join(map(str, options.files)) or options.log_group
        raise CommandError(
            f"there is no audit record in {named}; give the lines as the log group or its copies have them"
        )
    seals, heads = [], []
    if options.table or options.local:
        store = store_of(options)
        for found in _changes(store):
            verification.take(found)
        seals = list(store.seals())
        heads = _heads(store, seals, days)
    elif options.day:
        raise CommandError("--day needs --table or --local: only the table knows what a day must have")
    else:
        days = set()
    report = verification.report(heads, days, {seal.day for seal in seals})
    flaws = [*check_seals(seals, verification.noted), *(flaw for flaw in report.flaws if _asked(flaw, options.day))]
    repeated = f" ({report.repeated} more came twice)" if report.repeated else ""
    print(f"{report.records} records in {report.segments} segments{repeated}, {len(seals)} seals")
    return _judged(flaws)


def _asked(flaw: Any, days: list[str]) -> bool:
    """Whether a flaw is one of the days that were asked for; one of tampering is told in any case."""
    day, _, nonce = flaw.segment.partition("/")
    return not days or not nonce or day in days or flaw.sort == "tampered"


def _judged(flaws: list[Any]) -> int:
    counts = Counter(flaw.sort for flaw in flaws)
    for sort in ("tampered", "missing", "open"):
        for flaw in [flaw for flaw in flaws if flaw.sort == sort][:SHOWN]:
            print(flaw)
        if counts[sort] > SHOWN:
            print(f"{sort}: and {counts[sort] - SHOWN} more")
    if counts["tampered"]:
        print("NOT AS WRITTEN: at least one record or seal was changed, put in or moved")
        return 1
    if counts["missing"]:
        print("NOT COMPLETE: what is there is as written; what is missing was lost or taken out")
        return MISSING
    print("as written" + (", as far as the heads that are known reach" if counts["open"] else " and complete"))
    return 0


def _heads(store: Any, seals: list[Any], days: Iterable[str]) -> list[Any]:
    """How far segments must reach: by the seal of each day, else by what environments have noted so far."""
    from understudy.audit.chain import head_from

    by_day = {seal.day: seal for seal in seals}
    heads = [head for day in days for head in (by_day[day].heads if day in by_day else store.heads(day))]
    changes = head_from(str(seals[-1].plain.get("changes"))) if seals else None
    return [*heads, changes] if changes else heads


def _changes(store: Any) -> Iterator[Any]:
    from understudy.audit.chain import link_from
    from understudy.audit.reading import Unread, checked

    for number, kept in enumerate(store.changes(), start=1):
        link = link_from(kept.get("audit"))
        place = f"table, change {number}"
        yield Unread(place, "it is no record of this version") if link is None else checked(link, kept["record"], place)


def _found(options: argparse.Namespace, since: str, until: str) -> Iterator[Any]:
    """The records of the files, and of the log group where one is named."""
    from understudy.audit.reading import entries, entry_from

    files = options.files
    if options.local and not files:
        files = [Path(local_call(options.local_url, "info")["audit_file"])]
    for path in files:
        with path.open("rb") as file:
            yield from entries(file, str(path))
    if options.log_group:
        start, end = _span(since, until)
        for number, line in enumerate(_logs().lines(options.log_group, start, end), start=1):
            yield from entry_from(line, f"{options.log_group}, line {number}")


def _show(options: argparse.Namespace) -> int:
    from understudy.audit.query import Query, shown
    from understudy.audit.reading import Entry, entry_from

    asked = Query(options.request_id, options.key, options.target, options.since, options.until)
    if options.query:
        print(asked.insights())
        return 0
    group, options.log_group = options.log_group, None
    found = list(_found(options, "", ""))
    if options.table or options.local:
        found += _changes(store_of(options))
    if group:
        start, end = _span(options.since, options.until)
        for line in _logs().query(group, asked.insights(), start, end):
            found += entry_from(line, group)
    elif not found and not options.files and not (options.table or options.local):
        raise CommandError("say where to look: FILE, --local, --table NAME (control changes), or --log-group NAME")
    records = {one.link: one.record for one in found if isinstance(one, Entry) and asked.takes(one.record)}
    for record in sorted(records.values(), key=lambda record: str(record.get("at"))):
        print(json.dumps(record, ensure_ascii=False) if options.json else shown(record))
    return 0


def _seal(options: argparse.Namespace) -> int:
    from understudy.services.seal_audit import SealAudit

    store = store_of(options)
    made = SealAudit(store, clock=time.time, logger=_Quiet()).seal()
    print(f"{len(made)} days sealed now")
    for seal in store.seals()[-SHOWN:]:
        plain = seal.plain
        print(f"{seal.day}  {plain['segments']} segments  {plain['records']} records  {plain['hash']}")
    return 0


class _Quiet:
    """Logs nothing: what was done is printed."""

    def info(self, message: str, /, **_: Any) -> None: ...

    warning = exception = info


def _logs() -> Any:
    from understudy.bootstrap import operator_logs

    return operator_logs()


def _span(since: str, until: str) -> tuple[float, float]:
    """Epoch seconds from the beginning of what `since` names to the end of what `until` does; the last day where
    nothing is named."""
    now = time.time()
    start = _moment(since) if since else now - 86400
    if not until:
        return start, now
    end = _moment(until)
    return start, end + (86400 if len(until) == len("2026-12-31") else 60)


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise CommandError(f"{text!r} is no time; write 2026-12-31 or 2026-12-31T10:00 (UTC)") from None


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day such as 2026-12-31, not {text!r}") from None
