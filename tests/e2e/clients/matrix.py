"""What matrix.yaml says: every client's every front on every wire, what is checked, and why something is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """One front of a client on one wire.  `checks` run; `absent` gives the reason of every other check."""

    client: str
    front: str
    wire: str
    checks: tuple[str, ...]
    absent: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.client}.{self.front}.{self.wire}"


@dataclass(frozen=True)
class Client:
    """`environment` is what its script runs in, one of environments.py."""

    name: str
    environment: str
    script: Path
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """`paths` are those of the fronts, below the base URL; `wires` what matrix.yaml says of them."""

    checks: Mapping[str, str]
    paths: Mapping[str, str]
    wires: Mapping[str, Mapping[str, Any]]
    clients: tuple[Client, ...]

    @property
    def cells(self) -> Iterator[Cell]:
        for client in self.clients:
            yield from client.cells


def load(path: Path = HERE / "matrix.yaml") -> Matrix:
    """Raises KeyError where a reason is given for something that does not exist."""
    told = yaml.safe_load(path.read_text())
    for place in _reasons(told):
        for name in place:
            told["checks"][name]
    clients = tuple(_client(name, each, told) for name, each in told["clients"].items())
    paths = {name: front["path"] for name, front in told["fronts"].items()}
    return Matrix(told["checks"], paths, told["wires"], clients)


def _reasons(told: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    yield from told["wires_lack"].values()
    yield from told["fronts_lack"].values()
    for client in told["clients"].values():
        yield client.get("lacks", {})
        for front in client["fronts"].values():
            yield front.get("lacks", {})
            yield from front.get("wires_lack", {}).values()


def _client(name: str, given: Mapping[str, Any], told: Mapping[str, Any]) -> Client:
    cells = tuple(_cell(name, front, wire, given, told) for front in given["fronts"] for wire in told["wires"])
    return Client(name, given["environment"], HERE / given["script"], cells)


def _cell(name: str, front: str, wire: str, given: Mapping[str, Any], told: Mapping[str, Any]) -> Cell:
    own = given["fronts"][front]
    absent: dict[str, str] = {}
    if not given.get("raw"):
        absent |= dict.fromkeys(told["only_raw"], "only a raw HTTP client can send or see it")
    absent |= told["wires_lack"].get(wire, {}) | told["fronts_lack"].get(front, {}) | given.get("lacks", {})
    absent |= own.get("lacks", {}) | own.get("wires_lack", {}).get(wire, {})
    return Cell(name, front, wire, tuple(check for check in told["checks"] if check not in absent), absent)
