"""The simulated provider: decides what a request is answered; starts and stops the server that says it."""

import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from infra.local.simulators import anthropic, bedrock, gemini, openai, openai_responses, status_page
from infra.local.simulators.answers import Ask
from infra.local.simulators.faults import FAULTS, Case, broken
from infra.local.simulators.golden import answered, examples
from infra.local.simulators.replies import RejectedError, Reply
from infra.local.simulators.seen import RequestLog, SeenRequest, without_credentials
from infra.local.simulators.server import SimulatorServer
from infra.local.simulators.wire import Arrived, Wire

WIRES = {"openai": openai.WIRE, "anthropic": anthropic.WIRE, "gemini": gemini.WIRE, "bedrock": bedrock.WIRE}
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
    fault slow_first_token), `drip_delay` (seconds, of the fault slow_drip), `quality` (the share of golden
    questions that are answered right), `models` (what the model list names) and `aws_keys` (the secrets of AWS
    access keys, by their ids) may be changed while it runs. After `stop` it may be started again, on the same
    port. Its `status_page` follows the faults; `page_reads` counts how often that was read, which is no request of the
    API and not among the `requests`.
    """

    def __init__(
        self,
        wire: Literal["openai", "anthropic", "gemini", "bedrock"],
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
        also = (openai_responses.Memory().wire(),) if wire == "openai" else ()
        self._wires = (self.wire, *also)
        self.host = host
        self.port = port
        self.api_key = api_key
        self.token_delay = token_delay
        self.first_token_delay = 20.0
        self.drip_delay = 2.0
        self.quality = 1.0
        self.models: tuple[str, ...] = ("simulated-large", "simulated-small")
        self.aws_keys: dict[str, str] = {api_key: api_key}
        self.log = RequestLog()
        self.page_reads = 0
        self._changed_at = time.time()
        self._faults: dict[str, _InForce] = {}
        self._lock = threading.Lock()
        self._server: SimulatorServer | None = None

    def start(self) -> None:
        """Binds the port (OSError when it is taken) and serves in daemon threads."""
        if self._server is not None:
            return
        # Read now, so that no answer waits for it.
        examples()
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
    def status_page(self) -> str:
        """The address of its status page, as `base_url`."""
        return self.base_url.removesuffix(self.wire.base_path) + status_page.PATH

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
            self._changed_at = time.time()
            if fault is not None:
                self._faults[model] = _InForce(fault, times)
            elif model == EVERY_MODEL:
                self._faults.clear()
            else:
                self._faults.pop(model, None)

    def respond(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, Reply]:
        """The number of the request in the log (0: it is not there), and the reply; `headers` have lower-case names."""
        if (method, path) == ("GET", status_page.PATH):
            with self._lock:
                self.page_reads += 1
                return 0, status_page.page([one.fault for one in self._faults.values()], self._changed_at)
        body = _parsed(raw)
        fields = body if isinstance(body, dict) else {}
        wire = self._spoken(path)
        place = wire.place(path)
        model = fields["model"] if isinstance(fields.get("model"), str) else ""
        stream = fields.get("stream") is True
        if place is not None and place.model is not None:
            model, stream = place.model, place.stream
        asks = method == "POST" and place is not None and place.method == "POST"
        fault, struck = self._meet(model) if asks else (None, 0)
        seen = SeenRequest(
            at=time.time(),
            path=path,
            model=model,
            stream=stream,
            fault=fault,
            status=None,
            headers=without_credentials(headers),
            body=body,
        )
        number = self.log.enter(seen)
        ask, reply = self._healthy(Arrived(method, path, headers, raw), body)
        if fault is not None:
            delays = (self.first_token_delay, self.drip_delay)
            reply = broken(Case(fault, wire, model, reply, ask, struck, *delays))
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

    def _spoken(self, path: str) -> Wire:
        """The wire that knows the path."""
        return next((one for one in self._wires if one.place(path) is not None), self.wire)

    def _healthy(self, arrived: Arrived, body: Any) -> tuple[Ask | None, Reply]:
        wire, method, path = self._spoken(arrived.path), arrived.method, arrived.path
        place = wire.place(path)
        if place is None:
            return None, wire.refuse(404, f"Invalid URL ({method} {path})")
        if method != place.method:
            return None, wire.refuse(405, f"Not allowed to {method} on {path}.")
        try:
            if wire.verify is not None:
                wire.verify(arrived, self.api_key, self.aws_keys)
            else:
                wire.authorise(arrived.headers, self.api_key)
            if method == "GET":
                return None, wire.list_models(self.models)
            if place.operation == "embeddings" and wire.embed is not None:
                return None, wire.embed(place, body)
            if place.operation == "also":
                return None, wire.also[path.partition("?")[0]](body)
            ask = wire.read(body if place.model is None else (place, body))
            return ask, wire.render(ask, answered(ask, self.quality))
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
