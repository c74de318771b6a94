"""Hostile input: schemathesis makes requests from our own OpenAPI document and looks at every answer.

    python -m tests.hostile [--schemathesis PATH] [--seconds 90]

The local stack with its simulated providers runs in this process, as `understudy up` starts it; schemathesis is a
program of its own, installed in a venv of its own.  Exit code 0: no answer was a 5xx, and every answer had a status, a
content type and a shape that infra/openapi.yaml names.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.local.stack import LocalStack, Options

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "infra" / "openapi.yaml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
EXAMPLES = 60
"""Cases made at random for each operation, beside those that its schema leads to."""
ROUTE = "chat"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    stack = LocalStack(Options(port=0), on_alert=lambda alert: None)
    stack.start()
    try:
        for simulator in stack.simulators.values():
            simulator.token_delay = 0
        with tempfile.TemporaryDirectory() as folder:
            document = Path(folder, "openapi.json")
            document.write_text(json.dumps(aimed(yaml.safe_load(DOCUMENT.read_text()), ROUTE)))
            return _run(options, document, stack, folder)
    finally:
        stack.stop()


def aimed(document: dict[str, Any], route: str) -> dict[str, Any]:
    """The document with one route as the only model, so that requests get past its name, with time for an answer (a
    deadline of a millisecond is rightly a 504), and with demands that somebody meets."""
    made = copy.deepcopy(document)
    made["components"]["schemas"]["RouteName"] = {"enum": [route]}
    made["components"]["parameters"]["Deadline"]["schema"] = {"enum": ["5000", "60000"]}
    made["components"]["parameters"]["Constraints"]["schema"] = {"enum": ["denied_providers=simulated-anthropic"]}
    return made


def _run(options: argparse.Namespace, document: Path, stack: LocalStack, folder: str) -> int:
    command = [
        *(options.schemathesis, "run", str(document), "--url", stack.base_url),
        *("--header", f"Authorization: Bearer {stack.api_key}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(EXAMPLES), "--max-time", str(options.seconds)),
        *("--continue-on-failure", "--seed", str(options.seed), "--request-timeout", "30", "--warnings", "off"),
    ]
    # It keeps what it found below the working directory.
    return subprocess.run(command, cwd=folder, check=False, timeout=10 * options.seconds).returncode


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Fuzz our own API.")
    beside = Path(sys.executable).with_name("schemathesis")
    known = os.environ.get("SCHEMATHESIS", str(beside if beside.exists() else "schemathesis"))
    parser.add_argument("--schemathesis", default=known, help="the program (SCHEMATHESIS, else on the path)")
    parser.add_argument("--seconds", type=int, default=90, help="time for all requests together (90)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same requests (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
