"""The client matrix: real client packages over real HTTP against `understudy up`, each on every wire.

    python -m tests.e2e.clients                                             # everything
    python -m tests.e2e.clients --client langchain --wire anthropic         # one row, one column
    python -m tests.e2e.clients --client curl --front chat --check cut -v   # one check, with its time

matrix.yaml says what is tried, and why something is not.  Clients run in environments of their own, made at the first
run and kept below --cache.  A script reads its cells from standard input and prints one JSON line for each check; what
it does not print counts as failed.  Exit code 0: every check of every cell passed, and no wire or front is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.e2e.clients import document, environments
from tests.e2e.clients.matrix import Client, Matrix, load
from tests.e2e.clients.report import Report
from tests.e2e.clients.router import KEY, NotUp, Router

SECONDS = 240.0
"""How long one client may take on all its cells."""
FOREIGN = ("OPENAI_", "ANTHROPIC_", "AWS_", "LANGCHAIN_", "LANGSMITH_", "LLAMA_")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    matrix = _chosen(load(), options)
    if not matrix.clients:
        print("nothing is called that; the names stand in tests/e2e/clients/matrix.yaml", file=sys.stderr)
        return 2
    report = Report(matrix, verbose=options.verbose)
    absent = document.missing(matrix)
    work = Path(tempfile.mkdtemp(prefix="understudy-clients-"))
    try:
        commands = {
            each.name: environments.command(each.environment, each.script, options.cache) for each in matrix.clients
        }
        plan = document.Document(matrix, [name for name in matrix.wires if name not in absent])
        (work / "router.yaml").write_text(plan.text())
        router = Router(work / "router.yaml", work / "log")
        router.start()
        try:
            for target, fault in plan.faults.items():
                router.break_target(target, fault)
            fronts = {name for name, path in matrix.paths.items() if router.knows(path)}
            report.missing(absent, fronts)
            longest_first = sorted(matrix.clients, key=lambda each: -len(each.cells))
            lanes = SimpleQueue[int]()
            for lane in range(document.LANES):
                lanes.put(lane)
            with ThreadPoolExecutor(document.LANES) as pool:
                runs = [
                    pool.submit(_run, each, commands[each.name], router.url, report, lanes) for each in longest_first
                ]
            for run in runs:
                run.result()
        finally:
            router.stop()
        if report.failed and (said := router.said()):
            print(f"\nend of the router's log:\n{said[-4000:]}")
    except (environments.NotMade, NotUp) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(report.table())
    return 1 if report.failed or (report.missed and not options.allow_missing) else 0


def _run(client: Client, command: Sequence[str], url: str, report: Report, lanes: SimpleQueue[int]) -> None:
    """One client on all its cells, in one process of its own and a lane that is free."""
    cells = [cell for cell in client.cells if report.runs(cell)]
    if not cells:
        return
    lane = lanes.get()
    try:
        asked = {"url": url, "key": KEY, "cells": [document.given(cell, report.matrix, lane) for cell in cells]}
        _asked(client, command, asked, report)
    finally:
        lanes.put(lane)


def _asked(client: Client, command: Sequence[str], asked: Mapping[str, Any], report: Report) -> None:
    began = time.monotonic()
    process = subprocess.Popen(
        [*command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(client),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(json.dumps(asked).encode(), SECONDS)
        trouble = "" if process.returncode == 0 else f"exit code {process.returncode}\n{errors.decode()[-2000:]}"
    except subprocess.TimeoutExpired:
        trouble = f"not finished after {SECONDS:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    report.add(client, [json.loads(line) for line in output.splitlines() if line.startswith(b'{"')], trouble)
    report.took(client, time.monotonic() - began)


def _environment(client: Client) -> Mapping[str, str]:
    """Nothing of this machine's that a client would take for its own settings, and no proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and not name.lower().endswith("_proxy") and name != "PYTHONPATH"
    }
    return kept | {"UNDERSTUDY_CLIENT": client.name, "PYTHONDONTWRITEBYTECODE": "1"}


def _chosen(matrix: Matrix, options: argparse.Namespace) -> Matrix:
    """The part of the matrix that was asked for."""

    def part(client: Client) -> Client:
        cells = [
            dataclasses.replace(cell, checks=_kept(cell.checks, options.check))
            for cell in client.cells
            if cell.wire in _kept(matrix.wires, options.wire) and cell.front in _kept(matrix.paths, options.front)
        ]
        return dataclasses.replace(client, cells=tuple(cell for cell in cells if cell.checks))

    parts = [part(client) for client in matrix.clients if not options.client or client.name in options.client]
    wires = {name: wire for name, wire in matrix.wires.items() if name in _kept(matrix.wires, options.wire)}
    return dataclasses.replace(matrix, wires=wires, clients=tuple(each for each in parts if each.cells))


def _kept(names: Any, wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not wanted or name in wanted)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.clients", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("client", "front", "wire", "check"):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help="only these; repeatable")
    parser.add_argument(
        "--cache", type=Path, default=environments.cache(), help="directory of the clients' environments (%(default)s)"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="wires and fronts that do not exist are no failure"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="every check with its time, and why others are not tried"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
