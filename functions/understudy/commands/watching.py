"""The commands that show how targets do: `understudy status`, and `understudy replay` for recorded observations."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from understudy.commands import on_call
from understudy.commands.router import CommandError, print_columns, store_of
from understudy.explain import when


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    status = added.add_parser("status", parents=[where], help="health of every target, and open incidents")
    status.set_defaults(run=_status)
    status.add_argument("--json", action="store_true", help="for machines")

    replay = added.add_parser("replay", help="run the detectors over observations on standard input, JSON lines")
    replay.set_defaults(run=_replay)
    replay.add_argument(
        "--in-control-length",
        type=_length,
        default=100_000,
        metavar="N",
        help="observations between two false alarms of a stream, on average (100000)",
    )


def _status(options: argparse.Namespace) -> int:
    from understudy.control.load import catalog
    from understudy.status import STATUS, incident_lines, spent, status, status_row

    store = store_of(options)
    pointer = store.pointer()
    if pointer is None:
        raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
    current, now = catalog(store.version(pointer.version).document, pointer.version), time.time()
    targets = sorted(current.targets)
    probing = store.probing(targets, now)
    health = store.health(targets)
    incidents = [i for i in store.incidents() if i.status == "open"]
    if options.json:
        plain = {
            "document_version": pointer.version,
            "targets": {name: health[name].plain() if name in health else None for name in targets},
            "states": {name: status(health.get(name), current.health, now) for name in targets},
            "probes_usd": {name: {k: str(usd) for k, usd in probing[name].spent.items()} for name in targets},
            "incidents": [i.plain() for i in incidents],
        }
        print(json.dumps(plain, indent=2))
        return 0
    print(f"control document: version {pointer.version}, since {when(pointer.moved_at)}, by {pointer.moved_by}\n")
    rows = [STATUS, *(status_row(name, health.get(name), current.health, now) for name in targets)]
    print_columns(rows)
    for line in on_call.standing(health):
        print(line)
    print(f"\nprobes of this day (UTC): {spent(probing)}")
    print(f"\nopen incidents: {len(incidents) or 'none'}")
    for incident in incidents:
        print("\n".join(incident_lines(incident)))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from understudy.services.replay import Replay, replay_lines

    replay = Replay(time.time(), options.in_control_length)
    return 2 if replay_lines(sys.stdin.buffer, sys.stdout, sys.stderr, replay) else 0


def _length(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 100 <= number <= 1e9:
        raise argparse.ArgumentTypeError(f"expected a number from 100 to 1e9, not {text!r}")
    return number
