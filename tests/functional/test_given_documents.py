"""A control document that is given to the local stack, with the addresses of its simulated providers left open."""

import json
import urllib.request
from pathlib import Path

import httpx

from infra.local.stack import PORTS, LocalStack, Options
from tests.e2e.clients.document import ACCESS

CHAT = {"model": "all", "messages": [{"role": "user", "content": "Are you there?"}]}


def test_the_addresses_are_filled_in(tmp_path: Path) -> None:
    """Every simulated provider may be named by `${wire_url}`, whatever port it has, and can be broken by its target."""
    providers = {
        wire: {"wire": wire, "base_url": f"${{{wire}_url}}", "simulated": True, **ACCESS[wire]} for wire in PORTS
    }
    targets = {wire: {"provider": wire, "model": "simulated-m"} for wire in PORTS}
    limits = {"retries_per_target": 0, "attempts_per_request": len(PORTS)}
    document = {"schema": 1, "defaults": {"limits": limits}, "providers": providers, "targets": targets}
    file = tmp_path / "router.yaml"
    file.write_text(json.dumps(document | {"routes": {"all": {"targets": list(PORTS)}}}))
    stack = LocalStack(Options(port=0, api_key="us-test", config=file), on_alert=lambda alert: None)
    stack.start()
    try:
        for wire in PORTS:
            headers = {"authorization": "Bearer us-test"}
            answer = httpx.post(f"{stack.base_url}/chat/completions", json=CHAT, headers=headers, trust_env=False)
            assert wire == answer.headers["x-understudy-target"]
            broken = json.dumps({"target": wire, "fault": "http_500"}).encode()
            urllib.request.urlopen(f"{stack.url}/_local/faults", broken).close()
    finally:
        stack.stop()
