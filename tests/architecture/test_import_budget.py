"""What a cold start may load: every package of others and every part of the core, by name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.cold_start import environment, request
from tests.benchmarks.harness import surroundings

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
# What the managed runtime has beside the standard library; everything else comes from requirements.txt.
MANAGED = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}

LOGGING = {
    "aws_lambda_powertools",
    *(f"aws_lambda_powertools.{part}" for part in ("exceptions", "logging", "package_logger", "shared", "warnings")),
    # Loaded by the package itself whatever is wanted of it; its tracing loads no tracer.
    *(f"aws_lambda_powertools.{part}" for part in ("metrics", "tracing", "utilities", "utilities.jmespath_utils")),
    "botocore",  # the empty package, to name Powertools in the user agent
    "jmespath",
    "typing_extensions",
}
HTTP = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna"}
CORE = {
    *("bootstrap", "catalog", "chat", "compliance", "errors", "facts", "health", "jurisdictions", "keys"),
    *("metrics", "ports", "prices", "pricing"),
    *("routing", "runtime", "settings", "store", "telemetry", "wire"),
    *("control", "control.load", "control.paths", "control.price_load", "control.versions"),
    *("detectors", "detectors.sample"),
    *("incidents", "incidents.incident"),
    *("services", "services.decision_log", "services.demands", "services.feedback", "services.fitness"),
    *("services.admission", "services.allowance", "services.budget_alerts", "services.incident_changes"),
    *("services.handling", "services.keepsakes", "services.metering", "services.serving", "services.spend"),
    *("services.measures", "services.outcomes", "services.read_model", "services.route_request"),
    *("services.outlooks", "services.request_parts", "services.shadow", "services.signals", "services.upstream"),
    *("services.validity",),
    *("transport", "transport.eventstream", "transport.http", "transport.secrets", "transport.sigv4"),
}
READY = LOGGING | HTTP | {"route_request"} | {"understudy", *(f"understudy.{part}" for part in CORE)}
ANSWERED = {"anyio", "boto3", "botocore", "dateutil", "s3transfer", "six", "urllib3"}
# Named by their parts, because what they hold is not all needed; `understudy` to the depth at which rooms differ.
BY_PART = {"aws_lambda_powertools": 2, "aws_lambda_powertools.utilities": 3, "understudy": 2}
BY_PART |= {
    f"understudy.{part}": 3 for part in ("alerts", "control", "detectors", "incidents", "services", "transport")
}


def absent() -> list[str]:
    """The packages that are installed here and would not be in Lambda."""
    bill = (FUNCTIONS / "requirements.txt").read_text().splitlines()
    shipped = MANAGED | {"understudy"} | {line.partition("==")[0] for line in bill if "==" in line}
    found = packages_distributions().items()
    return sorted(name for name, of in found if not shipped & {each.lower().replace("_", "-") for each in of})


def loaded(room: str, env: dict[str, str], event: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """The modules a room loads in an interpreter of its own until it is ready, and those its first event brings."""
    script = Path(__file__).with_name("loaded_modules.py")
    command = [sys.executable, "-I", script, FUNCTIONS, room]
    asked = json.dumps({"absent": absent(), "event": event})
    done = subprocess.run(command, input=asked, env=env, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    found: dict[str, list[str]] = json.loads(done.stderr.splitlines()[-1])
    return found


def named(modules: Iterable[str], *, whole: bool = True) -> set[str]:
    """The names under which modules are budgeted; the standard library's have none.

    `whole`: botocore counts module by module, not as one package.
    """
    names = set()
    for module in modules:
        parts = module.split(".")
        depth = max(BY_PART.get(".".join(parts[:n]), 1) for n in range(1, len(parts) + 1))
        names.add(module if whole and parts[0] == "botocore" else ".".join(parts[:depth]))
    return {name for name in names if name.partition(".")[0] not in {*sys.stdlib_module_names, "__mp_main__"}}


@pytest.fixture(scope="module")
def first_request() -> Iterator[dict[str, list[str]]]:
    """What the data plane loads until it is ready, and until it has answered, with moto and simulated providers."""
    kept = dict(os.environ)
    with surroundings() as found:
        yield loaded("route_request", environment(found), request(found.key))
    os.environ.clear()
    os.environ.update(kept)


def test_the_data_plane_is_ready_with_what_is_budgeted(first_request: dict[str, list[str]]) -> None:
    """Until route_request is ready, neither an SDK, nor a schema library, nor YAML, nor a tracer is loaded."""
    assert set() == named(first_request["ready"]) - READY


def test_the_first_request_loads_the_sdk_and_no_more(first_request: dict[str, list[str]]) -> None:
    """The first table read brings the SDK, the first connection the rest of the HTTP client, and nothing else."""
    assert set() == named(first_request["answered"], whole=False) - ANSWERED


@pytest.mark.parametrize("room", ["update_health", "publish_alerts"])
def test_rooms_of_the_stream_load_no_http_client(room: str) -> None:
    """What handles table records is ready without the HTTP client and without an event loop."""
    modules = loaded(room, {})["ready"]
    core = {name for name in named(modules) if name.split(".")[0] == "understudy"}
    assert (set(), set()) == (named(modules) - LOGGING - core - {room}, {"asyncio", "ssl"} & set(modules))
