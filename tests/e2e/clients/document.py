"""The control document that the matrix runs with: for each wire a route that answers, one that breaks off and is gone
on with, and for each front and lane one that can be broken without disturbing another's."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from infra.local.aws import REGION
from infra.local.simulators.provider import WIRES as SIMULATED
from tests.e2e.clients.matrix import Cell, Matrix
from understudy.wire import WIRES

LANES = 2
"""Clients that run at once.  Those that run one after the other share what can be broken: every target that was ever
asked is read again every two seconds."""
STEADY = {
    # Every request must meet what its route has in store: no breaker may open, and no probe may use up a fault.
    "breaker": {"consecutive_failures": 100, "quiet_failures": 100, "minimum_calls": 10_000, "failure_ratio": 1},
    "probe": {"period_s": 86400},
}
SECRET = "env:UNDERSTUDY_SIMULATED_KEY"
ACCESS: Mapping[str, Mapping[str, Any]] = {
    "openai": {"auth": {"header": "Authorization", "scheme": "Bearer", "secret": SECRET}},
    "anthropic": {"auth": {"header": "x-api-key", "scheme": "", "secret": SECRET}},
    "gemini": {"auth": {"header": "x-goog-api-key", "scheme": "", "secret": SECRET}},
    "bedrock": {"sigv4": {"service": "bedrock", "region": REGION}},
}


def missing(matrix: Matrix) -> dict[str, str]:
    """The wires of the matrix that this checkout cannot run, and why."""
    found = {}
    for name, wire in matrix.wires.items():
        for target in wire["targets"]:
            if target["speaks"] not in WIRES:
                found[name] = f"the router does not speak {target['speaks']}"
            elif target["provider"] not in SIMULATED:
                found[name] = f"there is no simulated {target['provider']} provider"
    return found


class Document:
    """The document, and the faults that hold in it from the start."""

    def __init__(self, matrix: Matrix, wires: list[str]) -> None:
        self._targets: dict[str, Any] = {}
        self._routes: dict[str, Any] = {}
        self.faults: dict[str, str] = {}
        embedding = {cell.wire for cell in matrix.cells if "embeddings" in cell.checks}
        for wire in wires:
            self._wire(wire, matrix.wires[wire], embedding)
            for lane, front in itertools.product(range(LANES), matrix.paths):
                name = faulty(lane, front, wire)
                self._route(name, list(self._chain(name, matrix.wires[wire]["targets"])))

    def text(self) -> str:
        """JSON, which is YAML; the local stack fills in the addresses."""
        providers = {one["provider"]: _provider(one["provider"]) for one in self._targets.values()}
        defaults = {"limits": {"retries_per_target": 0}}
        document = {"schema": 1, "defaults": defaults, "providers": providers, "health": STEADY}
        return json.dumps(document | {"targets": self._targets, "routes": self._routes}, indent=1)

    def _wire(self, name: str, wire: Mapping[str, Any], embedding: Set[str]) -> None:
        self._route(name, list(self._chain(name, wire["targets"])))
        *_, last = wire["targets"]
        chain = [last | {"fault": "cut_midstream"}, {"provider": "openai", "speaks": "openai"}]
        self._route(resumed(name), list(self._chain(resumed(name), chain)))
        if name not in embedding:
            return
        can = {"capabilities": {"chat": False, "embeddings": True}}
        embedders = [one | can for one in wire.get("embeddings", wire["targets"])]
        self._route(embeddings(name), list(self._chain(embeddings(name), embedders)))

    def _route(self, name: str, targets: list[str]) -> None:
        self._routes[name] = {"targets": targets}

    def _chain(self, name: str, targets: list[Mapping[str, Any]]) -> Iterator[str]:
        """Targets named after the route; the one that answers bears its very name."""
        final = next(index for index, one in enumerate(targets) if "fault" not in one)
        for index, one in enumerate(targets):
            target = name if index == final else f"{name}.{index}"
            self._targets[target] = {
                "provider": one["provider"],
                "model": f"simulated-{target}",
                "capabilities": one.get("capabilities", {}),
            }
            if "fault" in one:
                self.faults[target] = one["fault"]
            yield target


def _provider(name: str) -> dict[str, Any]:
    return {"wire": name, "base_url": f"${{{name}_url}}", "simulated": True, **ACCESS[name]}


def embeddings(wire: str) -> str:
    return f"{wire}-embeddings"


def faulty(lane: int, front: str, wire: str) -> str:
    return f"faulty.{lane}.{front}.{wire}"


def resumed(wire: str) -> str:
    return f"resumed.{wire}"


def given(cell: Cell, matrix: Matrix, lane: int) -> dict[str, Any]:
    """What a script that runs in this lane is told of a cell."""
    answers = next(one for one in matrix.wires[cell.wire]["targets"] if "fault" not in one)
    return {
        "front": cell.front,
        "wire": cell.wire,
        "answers": answers["provider"],
        "model": cell.wire,
        "faulty": faulty(lane, cell.front, cell.wire),
        "resumed": resumed(cell.wire),
        "embeddings": embeddings(cell.wire),
        "checks": list(cell.checks),
    }
