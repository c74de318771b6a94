"""`understudy keys`: create, list, show, change, rotate and revoke client keys."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from understudy.commands.router import operator, print_columns, store_of
from understudy.explain import when
from understudy.facts import PII_MODES
from understudy.keys import ClientKey, KeyLimits

ONCE = "This is the only time the key is shown; the router keeps its SHA-256."
NONE, ALL, NEVER = "none", "all", "never"
LIMITS = {one.name: one.name.replace("_", "-") for one in fields(KeyLimits)}
LISTS = ("jurisdictions", "certifications", "providers", "models", "denied_providers", "denied_models", "data_classes")
ONLY = ("jurisdictions", "providers", "models")
"""Lists of the only ones that are allowed; the others are demands of their own."""
SPAN = re.compile(r"([1-9][0-9]{0,5})([hd])")
MONEY = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    keys = added.add_parser("keys", help="create, list, show, change, rotate or revoke client keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, run: Callable[[Any, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, parents=[where], help=text)
        parser.set_defaults(run=lambda options: run(store_of(options), options))
        return parser

    create = add("create", _create, "make a key, which is shown once")
    create.add_argument("name", metavar="NAME", help="who the key is for; no other active key may have it")
    _add_fields(create)
    listed = add("list", _list, "all keys with their limits and state")
    listed.add_argument("--json", action="store_true", help="the same for machines")
    shown = add("show", _show, "everything about a key, and what it has spent")
    shown.add_argument("--json", action="store_true", help="the same for machines")
    changed = add("set", _set, "change a key; what is not named stays")
    _add_fields(changed)
    rotated = add("rotate", _rotate, "a new key with everything of an old one, which ends a little later")
    rotated.add_argument(
        "--overlap", type=float, default=24.0, metavar="HOURS", help="hours that the old key stays good for (24)"
    )
    for parser in (shown, changed, rotated, add("revoke", _revoke, "end a key at once")):
        parser.add_argument("key", metavar="KEY", help="its name, or the first characters of its hash")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    """Every value comes in as text and is read together with the others, so that all mistakes are told at once."""
    parser.add_argument("--owner", metavar="TEXT", help="who answers for it")
    parser.add_argument(
        "--expires", metavar="WHEN", help="last day (2027-12-31), moment (2027-12-31T18:00Z), span (90d, 12h), or never"
    )
    parser.add_argument("--routes", nargs="+", metavar="ROUTE", help="the only routes it may ask, or all")
    for name, option in LIMITS.items():
        of = "US dollars" if name.startswith("usd") else "requests at a time" if name == "concurrent" else "so many"
        parser.add_argument(f"--{option}", metavar="N", help=f"{of} at most, or none")
    for name in LISTS:
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", metavar="X", help="constraint, or none")
    parser.add_argument("--max-retention-days", metavar="N", help="constraint, or none")
    parser.add_argument("--no-training", metavar="YES", nargs="?", const="yes", help="constraint: yes (or no)")
    parser.add_argument("--pii", metavar="MODE", help=f"constraint: {', '.join(PII_MODES)}")


def _create(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import create

    secret, _ = create(store, options.name, _changes(options), by=operator(), now=time.time())
    print(f"{secret}\n{ONCE}")
    return 0


def _set(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import change

    key = change(store, options.key, _changes(options), by=operator(), now=time.time())
    print(f"changed {key.hash[:12]} ({key.name}): {_limits(key)}; routers follow within seconds")
    return 0


def _rotate(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import rotate

    secret, new, old = rotate(store, options.key, options.overlap, by=operator(), now=time.time())
    print(f"{secret}\n{ONCE}")
    print(f"{new.hash[:12]} ({new.name}) replaces {old.hash[:12]}, which ends {when(old.expires_at or 0)}")
    return 0


def _revoke(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import revoke

    old = revoke(store, options.key, by=operator(), now=time.time())
    print(f"revoked {old.hash[:12]} ({old.name}); routers refuse it within 5 seconds")
    return 0


def _list(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import state_of

    now, known = time.time(), sorted(store.client_keys(), key=lambda key: key.created_at)
    if options.json:
        print(json.dumps([one.plain() | {"state": state_of(one, now)} for one in known], indent=2))
        return 0
    rows = [("HASH", "NAME", "OWNER", "STATE", "EXPIRES", "ROUTES", "LIMITS")]
    for one in known:
        expires, routes = _expires(one), " ".join(sorted(one.routes)) or ALL
        rows.append((one.hash[:12], one.name, one.owner or "-", state_of(one, now), expires, routes, _limits(one)))
    print_columns(rows)
    return 0


def _show(store: Any, options: argparse.Namespace) -> int:
    from understudy.services.client_keys import find, state_of

    now = time.time()
    key = find(store, options.key, now, ended=True)
    spent, use = store.spent(key.account, now), store.use(key.account, now)
    taken = {"usd_today": _usd(spent.day), "usd_this_month": _usd(spent.month)} | asdict(use)
    if options.json:
        print(json.dumps(key.plain() | {"state": state_of(key, now), "account": key.account, "taken": taken}, indent=2))
        return 0
    demands = key.plain()["constraints"]
    rows = [
        ("name", key.name),
        ("hash", key.hash),
        ("owner", key.owner or "-"),
        ("state", state_of(key, now)),
        ("created", when(key.created_at)),
        ("expires", _expires(key)),
        ("replaces", key.replaces[:12] or "-"),
        ("routes", " ".join(sorted(key.routes)) or ALL),
        ("limits", _limits(key)),
        ("constraints", json.dumps(demands) if demands else NONE),
        ("spent", f"${_usd(spent.day)} today, ${_usd(spent.month)} this month (UTC)"),
        ("this minute", f"{use.requests} requests, {use.tokens} tokens; {use.concurrent} under way"),
    ]
    print_columns(rows)
    return 0


def _expires(key: ClientKey) -> str:
    ends = min((at for at in (key.revoked_at, key.expires_at) if at is not None), default=None)
    return NEVER if ends is None else when(ends)


def _limits(key: ClientKey) -> str:
    told = key.plain()["limits"]
    return ", ".join(f"{LIMITS[name]} {value}" for name, value in told.items()) or "no limits"


def _usd(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _changes(options: argparse.Namespace) -> Any:
    """What the options say, all of them read.  Raises KeyRefused with every mistake."""
    from understudy.services.client_keys import Changes, KeyRefused

    parts: dict[str, dict[str, Any]] = {"key": {}, "limits": {}, "constraints": {}}
    problems = []
    for part, name, read in _given(options):
        try:
            parts[part][name] = read()
        except ValueError as error:
            option = "expires" if name == "expires_at" else name.replace("_", "-")
            problems.append(f"  {option}: {error}")
    if problems:
        raise KeyRefused("\n".join(["nothing was changed:", *problems]))
    return Changes(**parts)


def _given(options: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(part, field, how to read its value) of every option that was given."""
    if options.owner is not None:
        yield "key", "owner", partial(str, options.owner)
    if options.expires is not None:
        yield "key", "expires_at", partial(_moment, options.expires, time.time())
    if options.routes is not None:
        yield "key", "routes", partial(_names, [] if options.routes == [ALL] else options.routes, may_be_empty=True)
    for name in LIMITS:
        if (text := getattr(options, name)) is not None:
            yield "limits", name, partial(_unless_none, text, _money if name.startswith("usd") else _whole)
    for name in LISTS:
        if (words := getattr(options, name)) is not None:
            yield "constraints", "classes" if name == "data_classes" else name, partial(_demand, name, words)
    if (days := options.max_retention_days) is not None:
        yield "constraints", "max_retention_days", partial(_unless_none, days, _whole)
    if (word := options.no_training) is not None:
        yield "constraints", "no_training", partial(_yes, word)
    if (mode := options.pii) is not None:
        yield "constraints", "pii", partial(_mode, mode)


def _moment(text: str, now: float) -> float | None:
    """The first moment at which the key is no longer good."""
    if text == NEVER:
        return None
    if span := SPAN.fullmatch(text):
        return now + int(span[1]) * (3600 if span[2] == "h" else 86400)
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2027-12-31"):
            moment += timedelta(days=1)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!r} is no date; write such as 2027-12-31, 2027-12-31T18:00Z, 90d or never"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,12}", text, re.ASCII):
        raise ValueError(f"{text[:40]!r} is no whole number")
    if int(text) < 0:
        raise ValueError(f"{text} is less than nothing")
    return int(text)


def _money(text: str) -> Decimal:
    if not MONEY.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no amount; write US dollars such as 12.50")
    return Decimal(text)


def _yes(word: str) -> bool:
    if word not in ("yes", "no"):
        raise ValueError(f"{word[:40]!r} is neither yes nor no")
    return word == "yes"


def _mode(word: str) -> str:
    if word not in PII_MODES:
        raise ValueError(f"{word[:40]!r} is none of {', '.join(PII_MODES)}")
    return word


def _unless_none(text: str, read: Callable[[str], Any]) -> Any:
    return None if text == NONE else read(text)


def _names(words: list[str], *, may_be_empty: bool = False) -> frozenset[str]:
    names = frozenset(name for word in words for name in word.split(",") if name)
    if not names and not (may_be_empty and not words):
        raise ValueError("an empty list would allow nobody")
    return names


def _demand(name: str, words: list[str]) -> frozenset[str] | None:
    from understudy.control import checks

    if words == [NONE]:
        return None if name in ONLY else frozenset()
    names = _names(words)
    if name == "jurisdictions":
        return frozenset(checks.jurisdiction(one.lower()) for one in names)
    if name == "certifications":
        return frozenset(one.upper() for one in names)
    return names
