"""The commands of the local stack: start it, break and heal its simulated targets, explain a request."""

from __future__ import annotations

import argparse
import signal
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from understudy.commands.router import local_call, local_package
from understudy.explain import explain


def add_parsers(added: Any, local: argparse.ArgumentParser) -> None:
    _add_up(added)
    _add_faults(added, local)
    told = added.add_parser("explain", parents=[local], help="what happened to a request of the local stack, and why")
    told.set_defaults(run=_explain)
    told.add_argument("request_id", metavar="REQUEST_ID", help="what the answer's header x-understudy-request-id says")


def _add_up(commands: Any) -> None:
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
    up.add_argument(
        "--audit-file", type=Path, metavar="FILE", help="add audit records to this file (default: one that goes again)"
    )
    up.add_argument("--verbose", action="store_true", help="show the log, one JSON line an event")


def _add_faults(commands: Any, local: argparse.ArgumentParser) -> None:
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


def _up(options: argparse.Namespace) -> int:
    stack_module = local_package("stack")
    local = stack_module.Options(
        host=options.host,
        port=options.port,
        api_key=options.api_key,
        config=options.config,
        simulators=not options.no_simulators,
        verbose=options.verbose,
        alert_url=options.alert_url,
        audit_file=options.audit_file,
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
    local_call(options.local_url, "faults", asked)
    limit = "" if options.times is None else f", for {options.times} request{'' if options.times == 1 else 's'}"
    print(f"{options.target}: {'healthy again' if options.fault is None else options.fault + limit}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    found = local_call(options.local_url, f"decisions/{urllib.parse.quote(options.request_id, safe='')}")
    print(explain(found["records"], found.get("targets") or {}))
    return 0
