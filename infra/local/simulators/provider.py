"""The simulated provider: decides what a request is answered; starts and stops the server that says it."""

import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.local.simulators import anthropic, openai
from infra.local.simulators.answers import Ask, answer
from infra.local.simulators.faults import FAULTS, Case, broken
from infra.local.simulators.replies import RejectedError, Reply
from infra.local.simulators.seen import RequestLog, SeenRequest, without_credentials
from infra.local.simulators.server import SimulatorServer

WIRES = {"openai": openai.WIRE, "anthropic": anthropic.WIRE}
EVERY_MODEL = "*"
# What reading a body of the wrong shape may raise where the rules do not look; the real APIs refuse it too.
MALFORMED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


@dataclass
class _InForce:
    """A fault that was set, how many requests are to meet it (None: all), and how many have."""

    fault: str
    times: int | None
    struck: int = 0


class SimulatedProvider:
    """A provider on loopback that speaks a real wire format and can be broken on purpose.

    Any model name is served. `token_delay` (seconds between tokens), `first_token_delay` (seconds, of the
    fault slow_first_token), `drip_delay` (seconds, of the fault slow_drip) and `models` (what the model list
    names) may be changed while it runs. After `stop` it may be started again, on the same port.
    """

    def __init__(
        self,
        wire: Literal["openai", "anthropic"],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "simulated",
        token_delay: float = 0.01,
    ) -> None:
        if wire not in WIRES:
            raise ValueError(f"unknown wire {wire!r}; known: {', '.join(WIRES)}")
        if host != "localhost" and not ipaddress.IPv4Address(host).is_loopback:
            raise ValueError(f"a simulated provider listens on loopback only, not on {host!r}")
        self.wire = WIRES[wire]
        self.host = host
        self.port = port
        self.api_key = api_key
        self.token_delay = token_delay
        self.first_token_delay = 20.0
        self.drip_delay = 2.0
        self.models: tuple[str, ...] = ("simulated-large", "simulated-small")
        self.log = RequestLog()
        self._faults: dict[str, _InForce] = {}
        self._lock = threading.Lock()
        self._server: SimulatorServer | None = None

    def start(self) -> None:
        """Binds the port (OSError when it is taken) and serves in daemon threads."""
        if self._server is not None:
            return
        self._server = SimulatorServer((self.host, self.port), self)
        self.port = self._server.server_address[1]
        self._server.start()

    def stop(self) -> None:
        """Closes the listener and every connection, hanging ones too, and waits for the threads to end."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def base_url(self) -> str:
        """What a client is given as base URL; RuntimeError before the port is known."""
        if not self.port:
            raise RuntimeError("the port is chosen at start: call start() first")
        return f"http://{self.host}:{self.port}{self.wire.base_path}"

    @property
    def faults(self) -> dict[str, str]:
        with self._lock:
            return {model: one.fault for model, one in self._faults.items()}

    @property
    def requests(self) -> list[SeenRequest]:
        """The last 10 000 requests, oldest first."""
        return self.log.snapshot()

    def set_fault(self, model: str, fault: str | None, times: int | None = None) -> None:
        """Breaks a model, or heals it with None; a model's own fault goes before that of `*`, every model.

        With `times` only that many of the requests for an answer meet the fault; then the model is healthy again.
        Healing `*` heals everything. The model list is never struck: listing models proves no model's health.
        Raises ValueError, naming the known faults, for an unknown one, and for `times` below 1.
        """
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}; known: {', '.join(FAULTS)}")
        with self._lock:
            if fault is not None:
                self._faults[model] = _InForce(fault, times)
            elif model == EVERY_MODEL:
                self._faults.clear()
            else:
                self._faults.pop(model, None)

    def respond(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, Reply]:
        """The number of the request in the log, and the reply; `headers` have lower-case names."""
        body = _parsed(raw)
        fields = body if isinstance(body, dict) else {}
        model = fields["model"] if isinstance(fields.get("model"), str) else ""
        asks = method == "POST" and path.partition("?")[0] in (self.wire.answer_path, *self.wire.also)
        fault, struck = self._meet(model) if asks else (None, 0)
        seen = SeenRequest(
            at=time.time(),
            path=path,
            model=model,
            stream=fields.get("stream") is True,
            fault=fault,
            status=None,
            headers=without_credentials(headers),
            body=body,
        )
        number = self.log.enter(seen)
        ask, reply = self._healthy(method, path, headers, body)
        if fault is not None:
            delays = (self.first_token_delay, self.drip_delay)
            reply = broken(Case(fault, self.wire, model, reply, ask, struck, *delays))
        return number, reply

    def _meet(self, model: str) -> tuple[str | None, int]:
        """The fault that a request for this model meets, and how many have met it before."""
        with self._lock:
            key = model if model in self._faults else EVERY_MODEL
            met = self._faults.get(key)
            if met is None:
                return None, 0
            met.struck += 1
            if met.struck == met.times:
                del self._faults[key]
            return met.fault, met.struck - 1

    def _healthy(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> tuple[Ask | None, Reply]:
        wire = self.wire
        asked = path.partition("?")[0]
        expected = {**dict.fromkeys((wire.answer_path, *wire.also), "POST"), wire.models_path: "GET"}.get(asked)
        if expected is None:
            return None, wire.refuse(404, f"Invalid URL ({method} {path})")
        if method != expected:
            return None, wire.refuse(405, f"Not allowed to {method} on {path}.")
        try:
            wire.authorise(headers, self.api_key)
            if method == "GET":
                return None, wire.list_models(self.models)
            if asked in wire.also:
                return None, wire.also[asked](body)
            ask = wire.read(body)
            return ask, wire.render(ask, answer(ask))
        except RejectedError as rejected:
            return None, rejected.reply
        except MALFORMED as error:
            return None, wire.refuse(400, f"Invalid request body: {error!r}")


def _parsed(raw: bytes) -> Any:
    """The JSON value, None for what is none (the wires refuse both alike)."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
