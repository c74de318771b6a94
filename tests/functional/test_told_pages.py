"""A provider's own status page through the real rooms: read while its target is down, repeated by what is told."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from infra.local.simulators import FAULTS, SimulatedProvider
from infra.local.stack import DOCUMENT, LocalStack
from tests.builders import NO_RUNS
from tests.local_stacks import local_stack
from understudy.incidents.evidence import PAGE

# Recovery is tried each second.
HASTY = f"health: {{breaker: {{open_first_s: 1, open_steady_s: 1, jitter: 0}}, {NO_RUNS}}}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with local_stack(tmp_path_factory.mktemp("pages"), f"{DOCUMENT.read_text()}\n{HASTY}\n") as stack:
        yield stack


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def probe(target: str) -> None:
    """One message of the sweep."""
    handler: Callable[[Any, Any], Any] = importlib.import_module("probe_targets.handler").handler
    body = json.dumps({"target": target, "due": time.time()})
    record = {"messageId": "1", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    assert {"batchItemFailures": []} == handler({"Records": [record]}, None)


def test_what_a_provider_says_of_its_outage_is_repeated(stack: LocalStack) -> None:
    """Two failed probes open the breaker, the recovery probe's room reads the page, the open incident repeats it and
    so does the end; nobody is told anything but the beginning and the end."""
    openai = stack.simulators["openai"]
    openai.set_fault("*", "http_500")
    probe("lead")
    probe("lead")

    def facts() -> str:
        incident = stack.store.incident("lead", "outage")
        return str(incident.facts.get(PAGE)) if incident else ""

    assert until(lambda: facts().startswith("says: [simulated] Partial System Outage (major), changed 2")), facts()
    openai.set_fault("*", None)
    assert until(lambda: len(stack._alerts) == 2), stack._alerts
    assert ["[critical] lead is down", "[resolved] lead is back"] == [alert["title"] for alert in stack._alerts]
    assert "(major)" in stack._alerts[1]["facts"][PAGE]
    # Read once in all, and that of a provider without trouble never.
    assert (1, 0) == (openai.page_reads, stack.simulators["anthropic"].page_reads)


def test_a_simulated_page_follows_its_faults() -> None:
    """A silent change is on no page, nor is what concerns one account; and reading it is no request of the API."""
    provider, said = SimulatedProvider("openai"), dict[str, str]()
    provider.start()
    try:
        for fault in FAULTS:
            provider.set_fault("*", fault)
            said[fault] = httpx.get(provider.status_page, trust_env=False).json()["status"]["indicator"]
    finally:
        provider.stop()
    loud = dict.fromkeys(("http_500", "http_503", "http_529", "hang", "reset"), "major") | {"brownout": "minor"}
    assert dict.fromkeys(FAULTS, "none") | loud == said
    assert ([], len(FAULTS)) == (provider.requests, provider.page_reads)
