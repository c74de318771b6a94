"""The operator's command line: run the router locally, and manage control documents, keys and health anywhere."""

from __future__ import annotations

import argparse
import getpass
import importlib
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from understudy import __version__, commands
from understudy.errors import DocumentError, UnderstudyError
from understudy.explain import explain, when
from understudy.golden_command import add_parsers
from understudy.keys import ClientKey, hash_key, new_key

LOCAL_URL = "http://127.0.0.1:8080"


class CommandError(UnderstudyError):
    """The command cannot be carried out; says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: refused or failed, with the reason on stderr; 2: wrong usage, or (replay) wrong lines."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except DocumentError as error:
        print(f"{options.file}: {len(error.problems)} mistake(s), nothing was changed", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    except (UnderstudyError, OSError) as error:
        print(f"understudy: {error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> int:
    stack_module = _local_package("stack")
    local = stack_module.Options(
        host=options.host,
        port=options.port,
        api_key=options.api_key,
        config=options.config,
        simulators=not options.no_simulators,
        verbose=options.verbose,
        alert_url=options.alert_url,
    )
    options.file = options.config
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    stack = stack_module.LocalStack(local, _show_alert)
    stack.start()
    try:
        print(f"Understudy is up: base_url={stack.base_url} api_key={stack.api_key}", flush=True)
        stopping.wait()
    finally:
        stack.stop()
    return 0


def _show_alert(alert: dict[str, Any]) -> None:
    body = "\n".join(f"  {line}" for line in str(alert["text"]).splitlines())
    print(f"\nALERT {alert['title']}\n{body}\n", flush=True)


def _fault(options: argparse.Namespace) -> int:
    asked = {"target": options.target, "fault": options.fault, "times": options.times}
    _local_call(options.local_url, "faults", asked)
    limit = "" if options.times is None else f", for {options.times} request{'' if options.times == 1 else 's'}"
    print(f"{options.target}: {'healthy again' if options.fault is None else options.fault + limit}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    found = _local_call(options.local_url, f"decisions/{urllib.parse.quote(options.request_id, safe='')}")
    print(explain(found["records"], found.get("targets") or {}))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from understudy.services.replay import Replay, replay_lines

    replay = Replay(time.time(), options.in_control_length)
    return 2 if replay_lines(sys.stdin.buffer, sys.stdout, sys.stderr, replay) else 0


def _validate(options: argparse.Namespace) -> int:
    from understudy.control.document import parse, warnings

    document = parse(options.file.read_text(), filename=str(options.file))
    _warn(warnings(document))
    print(f"{options.file} is valid: {len(document['targets'])} targets, {len(document['routes'])} routes")
    return 0


def _show(options: argparse.Namespace) -> int:
    """A document with every default and preset written out: a valid document again."""
    import yaml

    from understudy.control.document import parse, warnings

    if options.file is not None:
        document: Any = parse(options.file.read_text(), filename=str(options.file))
        _warn(warnings(document))
    else:
        store = _store(options)
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
    _print_columns([head, *rows])
    return 0


def _diff(options: argparse.Namespace) -> int:
    from understudy.services.publish_control import diff_against_current

    found = diff_against_current(_store(options), options.file.read_text(), filename=str(options.file))
    _warn(found.warnings)
    for change in found.changes:
        print(change)
    if not found.changes:
        print(f"no difference to version {found.current}")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from understudy.services.publish_control import publish

    text = options.file.read_text()
    done = publish(
        _store(options), text, now=time.time(), by=_operator(), note=options.note, filename=str(options.file)
    )
    _warn(done.warnings)
    print(done)
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from understudy.services.publish_control import rollback

    options.file = f"version {options.version}" if options.version else "rollback"
    print(rollback(_store(options), options.version, now=time.time(), by=_operator()))
    return 0


def _status(options: argparse.Namespace) -> int:
    from understudy.control.load import catalog
    from understudy.status import STATUS, incident_lines, spent, status, status_row

    store = _store(options)
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
    _print_columns(rows)
    for line in commands.standing(health):
        print(line)
    print(f"\nprobes of this day (UTC): {spent(probing)}")
    print(f"\nopen incidents: {len(incidents) or 'none'}")
    for incident in incidents:
        print("\n".join(incident_lines(incident)))
    return 0


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _keys(options: argparse.Namespace) -> int:
    store = _store(options)
    if options.action == "create":
        key = new_key()
        store.put_key(ClientKey(hash_key(key), options.name, time.time()))
        print(f"{key}\nThis is the only time the key is shown; the router keeps its SHA-256.")
        return 0
    if options.action == "list":
        for known in sorted(store.client_keys(), key=lambda k: k.created_at):
            state = "active" if known.active else f"revoked {when(known.revoked_at or 0)}"
            print(f"{known.hash[:12]}  {known.name}  created {when(known.created_at)}  {state}")
        return 0
    matching = [known for known in store.client_keys() if known.hash.startswith(options.hash) and known.active]
    if len(matching) != 1:
        raise CommandError(
            f"{len(matching)} active keys begin with {options.hash!r}; `understudy keys list` shows them"
        )
    old = matching[0]
    store.put_key(ClientKey(old.hash, old.name, old.created_at, time.time()))
    print(f"revoked {old.hash[:12]} ({old.name}); routers refuse it within seconds")
    return 0


def _store(options: argparse.Namespace) -> Any:
    from understudy.bootstrap import operator_store

    if options.local:
        info = _local_call(options.local_url, "info")
        os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_SESSION_TOKEN="local")  # noqa: S106  # nosec B106
        return operator_store(info["table"], endpoint=info["aws_endpoint"], region=info["region"])
    if not options.table:
        raise CommandError(
            "say which router: --local, or --table NAME (the stack's output TableName) with AWS credentials"
        )
    return operator_store(options.table)


def _local_call(url: str, path: str, body: object = None) -> Any:
    """One call to the running local stack."""
    if not url.startswith("http://"):
        raise CommandError(f"--local-url {url}: expected http://HOST:PORT")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/_local/{path}", data)  # noqa: S310 - http only, see above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise CommandError(json.load(error)["error"]) from error
    except urllib.error.URLError as error:
        raise CommandError(
            f"no local stack answers at {url} ({error.reason}); start one with `understudy up`"
        ) from error


def _local_package(name: str) -> Any:
    """A module of infra/local, which is part of a source checkout and not of an installation."""
    try:
        return importlib.import_module(f"infra.local.{name}")
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the local stack needs a source checkout installed with `pip install -e '.[local]'` ({error})"
        ) from error


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _length(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 100 <= number <= 1e9:
        raise argparse.ArgumentTypeError(f"expected a number from 100 to 1e9, not {text!r}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="understudy", description="A serverless LLM router.")
    parser.add_argument("--version", action="version", version=__version__)
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    local = argparse.ArgumentParser(add_help=False)
    local.add_argument(
        "--local-url", default=os.environ.get("UNDERSTUDY_LOCAL_URL", LOCAL_URL), help=f"local stack ({LOCAL_URL})"
    )
    where = argparse.ArgumentParser(add_help=False, parents=[local])
    where.add_argument("--local", action="store_true", help="the running local stack")
    where.add_argument("--table", default=os.environ.get("UNDERSTUDY_TABLE"), help="table of a deployed router")

    _up_parser(added)
    _fault_parsers(added, local)
    _document_parsers(added, where)
    commands.add_parsers(added, where, _store, _operator)

    status = added.add_parser("status", parents=[where], help="health of every target, and open incidents")
    status.set_defaults(run=_status)
    status.add_argument("--json", action="store_true", help="for machines")

    told = added.add_parser("explain", parents=[local], help="what happened to a request of the local stack, and why")
    told.set_defaults(run=_explain)
    told.add_argument("request_id", metavar="REQUEST_ID", help="what the answer's header x-understudy-request-id says")

    replay = added.add_parser("replay", help="run the detectors over observations on standard input, JSON lines")
    replay.set_defaults(run=_replay)
    replay.add_argument(
        "--in-control-length",
        type=_length,
        default=100_000,
        metavar="N",
        help="observations between two false alarms of a stream, on average (100000)",
    )

    keys = added.add_parser("keys", help="create, list or revoke client keys")
    keys.set_defaults(run=_keys)
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("create", parents=[where]).add_argument("name", help="who the key is for")
    actions.add_parser("list", parents=[where])
    actions.add_parser("revoke", parents=[where]).add_argument("hash", help="first characters of the key's hash")
    return parser


def _up_parser(commands: Any) -> None:
    up = commands.add_parser("up", help="run the whole router on this machine")
    up.set_defaults(run=_up)
    up.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="control document (default: two simulated providers); ${openai_url}, ${anthropic_url}, ${gemini_url} and "
        "${bedrock_url} in it are the addresses of the simulated ones",
    )
    up.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (127.0.0.1)")
    up.add_argument(
        "--port", type=int, default=8080, help="port; some of the next five are used too; 0: any free ones (8080)"
    )
    up.add_argument("--api-key", metavar="KEY", help="accept this client key (default: a new one)")
    up.add_argument("--no-simulators", action="store_true", help="start no simulated providers")
    up.add_argument("--alert-url", metavar="URL", help="HTTP endpoint that receives the alerts too")
    up.add_argument("--verbose", action="store_true", help="show the log, one JSON line an event")


def _fault_parsers(commands: Any, local: argparse.ArgumentParser) -> None:
    broken = commands.add_parser("break", parents=[local], help="break a simulated target on purpose")
    broken.set_defaults(run=_fault)
    broken.add_argument("target", help="name of a target")
    broken.add_argument("fault", help="http_500, http_429, hang, reset, cut_midstream, slow_first_token, garbage, …")
    broken.add_argument(
        "--times", type=int, metavar="N", help="strike only the next N requests (default: until healed)"
    )
    heal = commands.add_parser("heal", parents=[local], help="heal a simulated target")
    heal.set_defaults(run=_fault, fault=None, times=None)
    heal.add_argument("target", help="name of a target")


def _document_parsers(commands: Any, where: argparse.ArgumentParser) -> None:
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
    add_parsers(commands, print, _print_columns)


if __name__ == "__main__":
    sys.exit(main())
