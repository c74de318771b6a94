"""`understudy compliance`: for each route who may be asked, who may not, and by which rule."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.commands.router import CommandError, print_columns, store_of

if TYPE_CHECKING:
    from understudy.catalog import Catalog, Route, Target
    from understudy.facts import Constraints

HEAD = ("ROUTE", "TARGET", "AS", "VERDICT")
FACTS = ("TARGET", "PROVIDER", "ENTITY", "JURISDICTIONS", "RETENTION", "TRAINING", "CERTIFICATIONS", "CONTRACT", "ENDS")


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    command = added.add_parser(
        "compliance", parents=[where], help="who may see the requests of each route, and why not"
    )
    command.set_defaults(run=_compliance)
    command.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="control document (default: the one in force)"
    )
    command.add_argument("--constraints", metavar="TEXT", help="as a request demands them in x-understudy-constraints")
    command.add_argument("--json", action="store_true", help="for machines")


def _compliance(options: argparse.Namespace) -> int:
    from understudy.facts import NO_CONSTRAINTS
    from understudy.services.demands import asked

    current, now = _catalog(options), time.time()
    extra = NO_CONSTRAINTS if options.constraints is None else asked(options.constraints, current)
    routes = [_told(route, extra, now) for _, route in sorted(current.routes.items())]
    if options.json:
        facts = {name: asdict(target.data) for name, target in sorted(current.targets.items())}
        told = {"document_version": current.version, "at": now, "routes": routes, "targets": facts}
        print(json.dumps(told, indent=2, default=sorted))
        return 0
    for route in routes:
        demands = "; ".join(f"{name} {_text(value)}" for name, value in route["constraints"].items())
        print(f"{route['route']}: {demands or 'demands nothing'}")
    print()
    rows = [(r["route"], t["target"], t["as"], t["verdict"]) for r in routes for t in r["targets"]]
    print_columns([HEAD, *rows])
    print()
    print_columns([FACTS, *((name, *_facts(target)) for name, target in sorted(current.targets.items()))])
    return 0


def _catalog(options: argparse.Namespace) -> Catalog:
    from understudy.control.load import catalog

    if options.file is not None:
        from understudy.control.document import parse

        return catalog(parse(options.file.read_text(), filename=str(options.file)), 0)
    store = store_of(options)
    pointer = store.pointer()
    if pointer is None:
        raise CommandError("no control document is in force; publish one with `understudy publish FILE`")
    return catalog(store.version(pointer.version).document, pointer.version)


def _told(route: Route, extra: Constraints, now: float) -> dict[str, Any]:
    from understudy.facts import plain_constraints

    demanded = route.constraints.and_(extra)
    targets = [
        {"target": target.name, "as": role, "verdict": _verdict(target, demanded, now)}
        for role, target in _asked(route)
    ]
    return {"route": route.name, "constraints": plain_constraints(demanded), "targets": targets}


def _asked(route: Route) -> Iterator[tuple[str, Target]]:
    for candidate in route.candidates:
        yield "candidate", candidate.target
    for role, share in (("canary", route.canary), ("shadow", route.shadow)):
        if share is not None:
            yield role, share.target


def _verdict(target: Target, demanded: Constraints, now: float) -> str:
    """`allowed`, or every rule against it."""
    from understudy.compliance import denials

    broken = denials(target.data, demanded, now, provider=target.provider.name, model=target.model)
    reasons = "; ".join(map(str, broken))
    return f"denied by {reasons}" if reasons else "allowed"


def _facts(target: Target) -> tuple[str, ...]:
    data = target.data
    ends = data.contract.expires_at
    days = None if data.retention_days is None else f"{data.retention_days} d"
    trains = {None: "-", True: "yes", False: "no"}[data.trains_on_data]
    # The last day, which ends with the moment from which on nobody may be asked.
    last = "-" if ends is None else time.strftime("%Y-%m-%d", time.gmtime(ends - 1))
    names = (",".join(sorted(group)) or "-" for group in (data.jurisdictions, data.certifications))
    places, papers = names
    entity, contract = data.entity or "-", data.contract.id or "-"
    return (target.provider.name, entity, places, days or "-", trains, papers, contract, last)


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value).lower()
