"""`understudy versions`: which versions of its model a target's provider has reported, and how each did."""

from __future__ import annotations

import argparse
import json
from typing import Any

from understudy.commands.router import CommandError, print_columns, store_of
from understudy.explain import when

HEAD = ("VERSION", "FIRST SEEN", "LAST SEEN", "CALLS", "FAILED", "FIRST TOKEN", "QUALITY", "TOKENS", "USD A CALL")


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    versions = added.add_parser("versions", parents=[where], help="the versions of a target's model, and how each did")
    versions.set_defaults(run=_versions)
    versions.add_argument("target", metavar="TARGET")
    versions.add_argument("--json", action="store_true", help="for machines")


def _versions(options: argparse.Namespace) -> int:
    from understudy.health.versions import another, history_from

    store = store_of(options)
    target = _target(store, options.target)
    kept = store.version_history(options.target)
    history = history_from(kept.plain if kept else {})
    if options.json:
        print(json.dumps({"target": options.target, "model": target.model, **history.plain()}, indent=2))
        return 0
    print(f"{options.target}: {target.model} of {target.provider.name} is asked{_ends(target)}")
    if not history.versions:
        print("no version was reported yet")
        return 0
    rows = [HEAD]
    for one in history.versions:
        mark = "*" if one.name == history.current else ""
        failed = f"{one.failures / one.calls:.1%}" if one.calls else "-"
        seen = (when(one.first_seen), when(one.last_seen), str(one.calls), failed)
        means = (_mean(one.first_token.mean, " s"), _mean(one.quality.mean), _mean(one.tokens.mean))
        rows.append((one.name + mark, *seen, *means, _mean(one.cost.mean)))
    print_columns(rows)
    print("* reported last" + (f"; {history.dropped} older ones are no longer kept" if history.dropped else ""))
    if another(target.model, history.current):
        print(f"{history.current} is quite another name than {target.model}, which is asked: look whether it is meant")
    return 0


def _target(store: Any, name: str) -> Any:
    from understudy.control.load import catalog

    pointer = store.pointer()
    if pointer is None:
        raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
    current = catalog(store.version(pointer.version).document, pointer.version)
    if name not in current.targets:
        raise CommandError(f"there is no target {name!r}; `understudy status` shows all of them")
    return current.targets[name]


def _ends(target: Any) -> str:
    """What is known of its end."""
    from understudy.incidents.endings import day

    life = target.lifecycle
    words = [
        *([f"deprecated on {day(life.deprecated_at)}"] if life.deprecated_at is not None else []),
        *([f"retired on {day(life.retires_at)}"] if life.retires_at is not None else []),
        *([f"replacement {life.replacement}"] if life.replacement else []),
    ]
    return "; " + ", ".join(words) if words else ""


def _mean(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g}{unit}"
