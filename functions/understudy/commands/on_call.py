"""The commands of whoever is on call: hold a target back, let it go, accept a change, take an incident."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from understudy.explain import when
from understudy.health.item import Health
from understudy.incidents.evidence import Found, summary

Open = Callable[[argparse.Namespace], Any]
"""The store that the options name."""


def add_parsers(added: Any, where: argparse.ArgumentParser, store: Open, operator: Callable[[], str]) -> None:
    """Add the commands; `where` has the options that name a router."""

    def add(name: str, run: Callable[[Any, argparse.Namespace, str], str], text: str) -> argparse.ArgumentParser:
        def carried_out(options: argparse.Namespace) -> int:
            sys.stdout.write(run(store(options), options, options.by or operator()) + "\n")
            return 0

        parser: argparse.ArgumentParser = added.add_parser(name, parents=[where], help=text)
        parser.set_defaults(run=carried_out)
        parser.add_argument("--by", metavar="NAME", help="who does it (default: your user name)")
        return parser

    for name, text in {
        "quarantine": "keep a target from callers because it answers worse",
        "drain": "keep a target from callers, for maintenance or a doubt",
    }.items():
        parser = add(name, _hold, text)
        parser.set_defaults(state="quarantined" if name == "quarantine" else "drained")
        parser.add_argument("target", metavar="TARGET")
        parser.add_argument("--because", metavar="TEXT", required=True, help="why, for whoever is on call next")
    parser = add("release", _release, "give a target its traffic back")
    parser.add_argument("target", metavar="TARGET")
    parser = add("accept", _accept, "take what a target is like now for normal")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("--stream", metavar="S", help='only what was found in this stream; "" for callers\' requests')
    parser = add("ack", _acknowledge, "take an incident: it is not told again before its end")
    parser.add_argument("subject", metavar="SUBJECT", help="a target, or provider:NAME")
    parser.add_argument("kind", metavar="KIND", help="as `understudy status` and the alert's attributes have it")


def standing(health: Mapping[str, Health]) -> list[str]:
    """Who holds a target back and what was found, a line each; nothing where there is nothing."""
    lines = []
    for name, one in sorted(health.items()):
        if one.hold is not None:
            lines.append(f"  {name} {one.hold.state} since {when(one.hold.since)} by {one.hold.by}: {one.hold.cause}")
        for finding in one.findings:
            found = Found(name, finding.stream, True, finding.alarm)
            lines.append(f"  {name} {finding.state}, {finding.alarm.verdict}: {summary([found])}")
    return ["", "findings and holds:", *lines] if lines else []


def _hold(store: Any, options: argparse.Namespace, by: str) -> str:
    from understudy.services.operate import hold

    deaf = hold(store, options.target, options.state, by=by, because=options.because, now=time.time())
    follow = "routers follow within seconds"
    if deaf:
        follow += f", but not for {', '.join(deaf)} (`quarantine: off`; `understudy drain` counts for all)"
    return f"{options.target} is {options.state}; {follow}. Undo: understudy release {options.target}"


def _release(store: Any, options: argparse.Namespace, by: str) -> str:
    from understudy.services.operate import release

    lifted = release(store, options.target, by=by, now=time.time())
    return f"{options.target} takes traffic again (it was {lifted.state} by {lifted.by}: {lifted.cause})"


def _accept(store: Any, options: argparse.Namespace, by: str) -> str:
    from understudy.services.operate import accept

    over = accept(store, options.target, options.stream, by=by, now=time.time())
    if not over:
        return f"{options.target}: nothing was found that stands; the incidents that were left of it are ended"
    told = "; ".join(summary([Found(options.target, one.stream, True, one.alarm)]) for one in over)
    return f"{options.target}: accepted, and learned anew from now on: {told}"


def _acknowledge(store: Any, options: argparse.Namespace, by: str) -> str:
    from understudy.services.operate import acknowledge

    acknowledge(store, options.subject, options.kind, by=by, now=time.time())
    return f"{options.subject} {options.kind}: taken by {by}; it is not told again before its end"
