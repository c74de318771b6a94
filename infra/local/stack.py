"""The whole router on one machine: moto as AWS, simulated providers, the real rooms behind a real HTTP front."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from infra.local.aws import BUS, CREDENTIALS, REGION, TABLE, LocalAws, start_aws
from infra.local.front import Front
from infra.local.simulators import FAULTS, SimulatedProvider
from infra.local.sources import Sources
from infra.local.template import Room, wiring
from understudy.control.checks import is_loopback
from understudy.control.price_book import GenaiPrices
from understudy.errors import UnderstudyError
from understudy.keys import ClientKey, hash_key, new_key
from understudy.services.publish_control import publish
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store
from understudy.telemetry import KEPT, kept_records

DOCUMENT = Path(__file__).with_name("router.local.yaml")
SIMULATED_KEY = "simulated"
PORTS = {"openai": 1, "anthropic": 2, "gemini": 4, "bedrock": 5}
"""Of the simulators, counted from the front's."""
AWS_PORT = 3
QUEUES = ("ProbeQueue", "DueQueue", "DeadLetterQueue")


class LocalError(UnderstudyError):
    """The local stack could not be started; says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """`port` is the front's; the simulators and the AWS endpoint take some of the next ones (0: any free ones).
    `audit_file` is added to and stays; without one the audit goes with the stack."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_key: str | None = None
    config: Path | None = None
    simulators: bool = True
    verbose: bool = False
    alert_url: str | None = None
    audit_file: Path | None = None


class LocalStack:
    """Start it, use `base_url` with `api_key`, stop it.  One at a time in a process: moto and the rooms are global."""

    def __init__(self, options: Options, on_alert: Callable[[dict[str, Any]], None]) -> None:
        if not is_loopback(options.host):
            raise LocalError(f"--host {options.host}: the local stack listens on loopback only, e.g. 127.0.0.1")
        self._options = options
        self._on_alert = on_alert
        self._alerts: list[dict[str, Any]] = []
        self._started: list[Callable[[], object]] = []
        self.api_key = options.api_key or new_key()
        self.simulators: dict[str, SimulatedProvider] = {}
        self._documents: dict[int, Any] = {}

    def start(self) -> None:
        """Raises LocalError or DocumentError; what was started until then is stopped again."""
        try:
            self._start()
        except OSError as error:
            self.stop()
            port, last = self._options.port, self._options.port + max(PORTS.values())
            raise LocalError(
                f"a port of {port} to {last} on {self._options.host} cannot be used ({error.strerror}); "
                "choose another with --port, or 0 for any free ones"
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        while self._started:
            self._started.pop()()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def _start(self) -> None:
        template = wiring()
        if self._options.simulators:
            for wire, offset in PORTS.items():
                self.simulators[wire] = self._simulator(wire, offset)
        folder = Path(tempfile.mkdtemp(prefix="understudy-"))
        self._started.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        self._decisions = folder / "decisions.jsonl"
        self._audit = (self._options.audit_file or folder / "audit.jsonl").absolute()
        self._audit.touch()
        self._aws = start_aws(template.table, QUEUES, self._options.host, self._port(AWS_PORT))
        self._started.append(self._aws.stop)
        self._settings(self._aws)
        self.store = Store(DynamoTable(TABLE))
        self._publish()
        handlers = {room.name: self._room(room) for room in template.rooms}
        front = Front(
            (self._options.host, self._options.port),
            handlers[template.api_room],
            template.api,
            template.gateway_responses,
            self._local,
        )
        front.start()
        self._started.append(front.shutdown)
        self._started.append(front.server_close)
        self.url = front.url
        self._subscribe(f"{front.url}/_local/sns")
        if self._options.alert_url:
            self._subscribe(self._options.alert_url)
        sources = Sources(self._aws)
        self._started.append(sources.stop)
        for room in template.rooms:
            sources.start(room, handlers[room.name])

    def _port(self, offset: int) -> int:
        return self._options.port + offset if self._options.port else 0

    def _simulator(self, wire: Any, offset: int) -> SimulatedProvider:
        simulator = SimulatedProvider(wire, host=self._options.host, port=self._port(offset), api_key=SIMULATED_KEY)
        # Calls are signed with the credentials that the rooms run under.
        simulator.aws_keys = {CREDENTIALS["AWS_ACCESS_KEY_ID"]: CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
        simulator.start()
        self._started.append(simulator.stop)
        return simulator

    def _settings(self, aws: LocalAws) -> None:
        given = {
            "UNDERSTUDY_TABLE": TABLE,
            "UNDERSTUDY_ALERT_TOPIC_ARN": aws.topic_arn,
            "UNDERSTUDY_EVENT_BUS": BUS,
            "UNDERSTUDY_PROBE_QUEUE_URL": aws.queues["ProbeQueue"],
            "UNDERSTUDY_DUE_QUEUE_URL": aws.queues["DueQueue"],
            "UNDERSTUDY_LOG_LEVEL": "INFO" if self._options.verbose else "ERROR",
            "UNDERSTUDY_DECISION_LOG": str(self._decisions),
            "UNDERSTUDY_AUDIT_FILE": str(self._audit),
            "UNDERSTUDY_SIMULATED_KEY": SIMULATED_KEY,
        }
        os.environ.update(given)
        # They name what goes with this stack.
        self._started.append(lambda: [os.environ.pop(name, None) for name in given])

    def _publish(self) -> None:
        text = (self._options.config or DOCUMENT).read_text()
        name = str(self._options.config or DOCUMENT.name)
        if self._options.config is None and not self.simulators:
            raise LocalError("without simulators there is nobody to route to: give a control document with --config")
        for wire, simulator in self.simulators.items():
            text = text.replace(f"${{{wire}_url}}", simulator.base_url)
            text = text.replace(f"${{{wire}_status_page}}", simulator.status_page)
        publish(self.store, text, now=time.time(), by="understudy up", filename=name, book=GenaiPrices())
        self.store.put_key(ClientKey(hash_key(self.api_key), "local", time.time()))

    def _room(self, room: Room) -> Callable[[Any, Any], Any]:
        module = importlib.import_module(room.module)
        self._started.append(lambda: _close_room(module))
        # Here many threads share what in Lambda one environment has for itself, so it is built before the first event.
        module.service()
        handler: Callable[[Any, Any], Any] = module.handler
        return handler

    def _subscribe(self, url: str) -> None:
        protocol = url.partition(":")[0]
        self._aws.client("sns").subscribe(TopicArn=self._aws.topic_arn, Protocol=protocol, Endpoint=url)

    def _local(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What /_local/ answers."""
        if (method, path) == ("GET", "info"):
            simulators = {wire: simulator.base_url for wire, simulator in self.simulators.items()}
            aws = {"aws_endpoint": self._aws.endpoint, "region": REGION, "table": TABLE}
            return 200, aws | {"simulators": simulators, "audit_file": str(self._audit)}
        if (method, path) == ("GET", "document"):
            pointer = self.store.pointer()
            return 200, {"source": self.store.version(pointer.version).source if pointer else ""}
        if (method, path) == ("GET", "alerts"):
            return 200, {"alerts": self._alerts}
        if method == "GET" and path.startswith("decisions/"):
            return self._decision(unquote(path.removeprefix("decisions/")))
        if (method, path) == ("POST", "sns") and isinstance(body, dict):
            if body.get("Type") == "Notification":
                alert = json.loads(body["Message"])
                self._alerts.append(alert)
                self._on_alert(alert)
            return 200, {}
        if (method, path) == ("POST", "faults") and isinstance(body, dict):
            return self._set_fault(str(body.get("target")), body.get("fault"), body.get("times"))
        return 404, {"error": f"no {method} /_local/{path}"}

    def _decision(self, request_id: str) -> tuple[int, Any]:
        records = kept_records(self._decisions, request_id)
        if not records:
            return 404, {"error": f"there is no request {request_id!r} among the last {KEPT} that came to their end"}
        # A request that nobody could carry was never decided on: then it is the version that is in force.
        pointer = self.store.pointer()
        known = [record["document_version"] for record in records if "document_version" in record]
        version = known[0] if known else pointer.version if pointer else None
        targets = self.store.version(version).document["targets"] if version else {}
        return 200, {"records": records, "targets": targets}

    def _set_fault(self, name: str, fault: str | None, times: Any) -> tuple[int, Any]:
        pointer = self.store.pointer()
        if pointer and pointer.version not in self._documents:
            # A version never changes.
            self._documents[pointer.version] = self.store.version(pointer.version).document
        document = self._documents[pointer.version] if pointer else {"targets": {}, "providers": {}}
        targets, providers = document["targets"], document["providers"]
        if name not in targets:
            return 404, {"error": f"there is no target {name!r}; there are: {', '.join(sorted(targets))}"}
        if fault is not None and fault not in FAULTS:
            return 400, {"error": f"there is no fault {fault!r}; there are: {', '.join(FAULTS)}"}
        if times is not None and (not isinstance(times, int) or times < 1):
            return 400, {"error": f"a fault strikes at least 1 request, not {times}"}
        url = providers[targets[name]["provider"]]["base_url"].rstrip("/")
        for simulator in self.simulators.values():
            if simulator.base_url == url:
                simulator.set_fault(targets[name]["model"], fault, times)
                return 200, {"target": name, "fault": fault}
        return 400, {"error": f"target {name!r} is not simulated; only simulated providers can be broken"}


def _close_room(module: Any) -> None:
    """Forget what a room built, so that another stack in this process starts cold."""
    if hasattr(module, "loop"):
        if module.loop.cache_info().currsize:
            module.loop().stop()
        module.loop.cache_clear()
    module.service.cache_clear()
