"""Our runtime loop against AWS's own Runtime Interface Emulator, without Docker.

`UNDERSTUDY_RIE` names the emulator, which the wheel of aws-sam-cli has as samcli/local/rapid/aws-lambda-rie-x86_64 (or
-arm64).  It buffers streamed answers and passes on no trailers, so times and trailers are tested elsewhere: here it is
what the code of AWS accepts.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime_api import IMAGE, PATIENCE, ROOT, WRAPPER

RIE = os.environ.get("UNDERSTUDY_RIE", "")
TIMEOUT = 3
"""Seconds of one invocation."""
NULS = b"\0" * 8

pytestmark = pytest.mark.skipif(not RIE, reason="UNDERSTUDY_RIE does not name AWS's Runtime Interface Emulator")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Emulator:
    """The emulator with the demo room behind it."""

    def __init__(self, log: Path) -> None:
        self.port, api = free_port(), free_port()
        self._log = log
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_"))},
            "_HANDLER": "tests.demo_room.handler",
            "LAMBDA_TASK_ROOT": str(ROOT),
            "LAMBDA_RUNTIME_DIR": str(IMAGE),
            "PYTHONPATH": str(ROOT / "functions"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT),
        }
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"]
        addresses += ["--runtime-api-address", f"127.0.0.1:{api}", "--log-level", "warn"]
        command = [RIE, *addresses, str(WRAPPER), sys.executable, "/var/runtime/bootstrap.py"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, env=env, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while not self._listens() and time.monotonic() < until:
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def invoke(self, event: Any) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
            response = connection.getresponse()
            assert 200 == response.status
            return response.read()
        finally:
            connection.close()

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path_factory.mktemp("emulator") / "log")
    yield emulator
    emulator.stop()


def from_api(**event: Any) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "requestContext": {"requestId": "api-1"},
        "stageVariables": {"stream": "on"},
        "body": json.dumps(event),
    }


def test_a_streamed_answer_is_accepted(emulator: Emulator) -> None:
    """Prelude, NUL bytes and chunks arrive one after the other, and the next invocation is served as well."""
    event = {"do": "said", "status": 201, "headers": {"a": "größer"}, "chunks": ["one ", "", "größer"]}
    for _ in range(3):
        head, _, body = emulator.invoke(event).partition(NULS)
        assert ({"statusCode": 201, "headers": {"a": "größer"}}, "one größer") == (json.loads(head), body.decode())


def test_many_chunks_are_accepted(emulator: Emulator) -> None:
    """A thousand chunks, and chunks of a megabyte, are one answer."""
    for event, length in (({"count": 1000, "size": 30}, 30_000), ({"count": 5, "size": 1_000_000}, 5_000_000)):
        assert length == len(emulator.invoke({"do": "looped", **event}).partition(NULS)[2])


def test_a_bug_before_the_prelude_is_a_500(emulator: Emulator) -> None:
    """The body that the caller is to see is passed on although error trailers come behind it."""
    head, _, body = emulator.invoke(from_api(do="fail")).partition(NULS)
    assert (500, "router_failed") == (json.loads(head)["statusCode"], json.loads(body)["error"]["code"])


def test_a_bug_in_the_middle_ends_the_answer(emulator: Emulator) -> None:
    """What was said before a bug is passed on, the trailers are accepted, and the next invocation is served."""
    assert 2 == len(emulator.invoke({"do": "stream", "count": 5, "fail_at": 2}).partition(NULS)[2].split())
    assert b"{}" == emulator.invoke({"do": "plain", "result": {}})


def test_other_answers_are_accepted(emulator: Emulator) -> None:
    """JSON and errors are what they are under the managed loop."""
    assert {"a": ["größer"]} == json.loads(emulator.invoke({"do": "plain", "result": {"a": ["größer"]}}))
    assert "KeyError" == json.loads(emulator.invoke({"do": "fail"}))["errorType"]


def test_the_context_is_the_emulators(emulator: Emulator) -> None:
    """The time that is left and the ids are those of the platform."""
    seen = json.loads(emulator.invoke({"do": "asked"}))
    assert (True, True) == (seen["arn"].startswith("arn:aws:lambda:"), 0 < seen["left"] <= TIMEOUT * 1000)


def test_an_answer_that_is_too_large_is_refused_and_survived(emulator: Emulator) -> None:
    """A buffered invocation takes 6 MB; more is an error of the platform's, not the end of the runtime."""
    pid = json.loads(emulator.invoke({"do": "asked"}))["pid"]
    assert b"Function.ResponseSizeTooLarge" in emulator.invoke({"do": "stream", "count": 3, "size": 3_000_000})
    assert pid == json.loads(emulator.invoke({"do": "asked"}))["pid"]
    assert "the platform did not accept an answer (413)" in emulator.log


def test_an_invocation_that_runs_out_of_time_costs_the_environment_only(emulator: Emulator) -> None:
    """An answer that does not end in time is cut with its process, and a new process serves the next invocation."""
    pid = json.loads(emulator.invoke({"do": "asked"}))["pid"]
    assert b"timed out" in emulator.invoke({"do": "stream", "count": 1000, "gap": 0.1})
    assert pid != json.loads(emulator.invoke({"do": "asked"}))["pid"]
