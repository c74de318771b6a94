"""The commands of the control document: check, show, compare, publish, roll back."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from understudy.commands.router import CommandError, operator, print_columns, store_of, warn


def add_parsers(commands: Any, where: argparse.ArgumentParser) -> None:
    validate = commands.add_parser("validate", help="check a control document")
    validate.set_defaults(run=_validate)
    diff = commands.add_parser("diff", parents=[where], help="compare a control document with the one in force")
    diff.set_defaults(run=_diff)
    publish = commands.add_parser("publish", parents=[where], help="put a control document in force")
    publish.set_defaults(run=_publish)
    publish.add_argument("--note", default="", help="why")
    for parser in (validate, diff, publish):
        parser.add_argument("file", type=Path, metavar="FILE", help="control document (YAML)")
    show = commands.add_parser("show", parents=[where], help="a control document with defaults and presets written out")
    show.set_defaults(run=_show)
    show.add_argument("file", type=Path, nargs="?", metavar="FILE", help="control document (default: the one in force)")
    show.add_argument("--version", type=int, help="an earlier version (default: the one in force)")
    presets = commands.add_parser("presets", help="the providers that a control document can name")
    presets.set_defaults(run=_presets)
    rollback = commands.add_parser("rollback", parents=[where], help="put an earlier version in force again")
    rollback.set_defaults(run=_rollback)
    rollback.add_argument("version", type=int, nargs="?", help="version number (default: the one before)")


def _validate(options: argparse.Namespace) -> int:
    from understudy.control.document import parse, warnings

    document = parse(options.file.read_text(), filename=str(options.file), now=time.time())
    warn(warnings(document, time.time()))
    print(f"{options.file} is valid: {len(document['targets'])} targets, {len(document['routes'])} routes")
    return 0


def _show(options: argparse.Namespace) -> int:
    """A document with every default and preset written out: a valid document again."""
    import yaml

    from understudy.control.document import parse, warnings

    if options.file is not None:
        document: Any = parse(options.file.read_text(), filename=str(options.file))
        warn(warnings(document, time.time()))
    else:
        store = store_of(options)
        pointer = store.pointer()
        if pointer is None:
            raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
        document = store.version(options.version or pointer.version).document
    print(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120), end="")
    return 0


def _presets(options: argparse.Namespace) -> int:  # noqa: ARG001 - every command is given its options
    from understudy.control.presets import presets

    head = ("PRESET", "WIRE", "ADDRESS", "CREDENTIAL", "READ", "SOURCE")
    rows = [(row.name, row.wire, row.base_url, row.credential, row.date, row.source[0]) for row in presets().values()]
    print_columns([head, *rows])
    return 0


def _diff(options: argparse.Namespace) -> int:
    from understudy.control.price_book import GenaiPrices
    from understudy.services.publish_control import diff_against_current

    text, store = options.file.read_text(), store_of(options)
    found = diff_against_current(store, text, now=time.time(), filename=str(options.file), book=GenaiPrices())
    warn([*found.warnings, *_left_behind(store, text)])
    for change in found.changes:
        print(change)
    if not found.changes:
        print(f"no difference to version {found.current}")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from understudy.control.price_book import GenaiPrices
    from understudy.services.publish_control import publish

    text, store = options.file.read_text(), store_of(options)
    done = publish(
        store,
        text,
        now=time.time(),
        by=operator(),
        note=options.note,
        filename=str(options.file),
        book=GenaiPrices(),
    )
    warn([*done.warnings, *_left_behind(store, text)])
    print(done)
    return 0


def _left_behind(store: Any, text: str) -> list[str]:
    """What keys name that the document does not have."""
    from understudy.control.document import parse
    from understudy.services.client_keys import left_behind

    return left_behind(store, parse(text), time.time())


def _rollback(options: argparse.Namespace) -> int:
    from understudy.services.publish_control import rollback

    options.file = f"version {options.version}" if options.version else "rollback"
    print(rollback(store_of(options), options.version, now=time.time(), by=operator()))
    return 0
