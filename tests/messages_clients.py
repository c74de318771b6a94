"""Clients of the Messages API, the routers that they call, and simulated providers of two protocols behind those."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from anthropic import Anthropic

from infra.local.simulators import SimulatedProvider
from tests.one_router import KEY, SECRET, Router, document

PATIENT = {"first_token_s": 5, "stall_s": 2}
"""A busy machine is no fault of a simulated provider."""


def says(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@dataclass(slots=True)
class Place:
    """A router with a lead and a spare, its client and its providers by wire."""

    url: str
    router: Router
    providers: dict[str, SimulatedProvider]

    @property
    def client(self) -> Anthropic:
        return Anthropic(base_url=self.url, api_key=KEY, max_retries=0)

    @property
    def sent(self) -> list[Any]:
        """Bodies that the anthropic provider got, oldest first."""
        return [seen.body for seen in self.providers["anthropic"].requests]


def configured(providers: dict[str, SimulatedProvider], *wires: str, **fields: Any) -> str:
    """A control document of the route `chat` with a target for each protocol; see `tests.one_router.document`."""
    addresses = [(wire, providers[wire].base_url) for wire in wires]
    made = json.loads(document(addresses, limits=PATIENT, **fields))
    for provider in made["providers"].values():
        if provider["wire"] == "openai":
            provider["auth"] = {"header": "Authorization", "scheme": "Bearer", "secret": "env:KEY"}
    return json.dumps(made)


@contextmanager
def simulated() -> Iterator[dict[str, SimulatedProvider]]:
    """One provider for each protocol, by its name."""
    with ExitStack() as started:
        found: dict[str, SimulatedProvider] = {}
        for wire in ("anthropic", "openai"):
            found[wire] = SimulatedProvider(wire, token_delay=0, api_key=SECRET)  # type: ignore[arg-type]
            found[wire].start()
            started.callback(found[wire].stop)
        yield found
