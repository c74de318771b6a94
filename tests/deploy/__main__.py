"""Deploys the real template into an AWS emulator on this machine, without Docker, and drives it through its API.

    python -m tests.deploy

Everything stays on loopback: the emulator, its functions, the simulated providers.  The emulator and the SAM CLI have
venvs of their own below the temporary directory, made at the first run and kept.  Exit code 0: every step passed.
Against AWS the same is `sam build && sam deploy --guided`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.deploy import environments
from tests.deploy.checks import run_all
from tests.deploy.emulator import Emulator
from tests.deploy.providers import Providers
from tests.deploy.refusals import refused_deployments, take_away
from tests.deploy.report import Report, Stop
from tests.deploy.stack import Stack
from tests.deploy.world import World


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    user_env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]  # nothing here may meet a real account
    report = Report()
    work = Path(tempfile.mkdtemp(prefix="understudy-deploy-"))
    code = 1
    try:
        _run(options, report, work, user_env)
        code = 1 if report.failed else 0
    except Stop:
        pass
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(report.table())
    return code


def _run(options: argparse.Namespace, report: Report, work: Path, user_env: dict[str, str]) -> None:
    with report.step("environments", vital=True):
        python = environments.python313(options.python)
        sam = environments.sam(options.cache, user_env)
        command = environments.emulator(options.cache, python, user_env)
    emulator = Emulator(command, work, options.port)
    try:
        with report.step("the emulator starts", vital=True) as row:
            emulator.start()
            row.note = emulator.endpoint
        report.check("it is on loopback only", emulator.on_loopback, vital=True)
        stack = Stack(sam, python, emulator, work, user_env)
        before = stack.inventory()
        providers = Providers()
        try:
            _deploy(stack, providers, report, dict(pair.split("=", 1) for pair in options.parameter))
            _drive(options, report, World(stack, providers, emulator, work), emulator)
        finally:
            providers.stop()
        if not options.keep:
            with report.step("sam delete") as row:
                stack.delete()
                row.note = "(the SAM CLI looks every 30 s)"
            report.check("nothing is left", lambda: stack.nothing_beside(before))
        report.check("everything stayed on loopback", emulator.on_loopback)
        if report.failed:
            print(f"\nend of the emulator's log:\n{emulator.tail()}")
    finally:
        emulator.stop()


def _deploy(stack: Stack, providers: Providers, report: Report, given: dict[str, str]) -> None:
    with report.step("providers, and their keys as secrets", vital=True):
        providers.start()
        providers.store_keys(stack.client("secretsmanager"))
    with report.step("sam build", vital=True) as row:
        row.note = stack.build(given)
    with report.step("sam package", vital=True):
        stack.package()
    first = refused_deployments(stack, providers, report)
    with report.step("sam deploy", vital=True) as row:
        row.note = stack.deploy(**first)


def _drive(options: argparse.Namespace, report: Report, world: World, emulator: Emulator) -> None:
    with report.step("subscribers to its alerts and events", vital=True):
        world.open()
    run_all(world, report, lambda: emulator.log.read_text(errors="replace"))
    if options.keep:
        print(report.table())
        print(f"\nkept until Ctrl-C: base_url={world.client().base_url} api_key={world.key} CA={emulator.ca}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        return
    with report.step("what the check added is taken away"):
        world.close()
        world.providers.delete_keys(world.stack.client("secretsmanager"))
        take_away(world.stack)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the router running until Ctrl-C, and do not delete it"
    )
    parser.add_argument("--port", type=int, default=0, help="of the emulator; 0 (the default) chooses a free one")
    parser.add_argument("--python", help="a Python 3.13 (default: pyenv's, or the one on the PATH)")
    parser.add_argument(
        "--cache", type=Path, default=environments.cache(), help="directory of the two venvs (%(default)s)"
    )
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of the template")
    return parser.parse_args(arguments)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
