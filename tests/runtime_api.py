"""A Lambda Runtime API on a loopback socket: hands out invocations and keeps what a runtime posts, with its times.

Source: the AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WRAPPER = ROOT / "functions" / "exec_wrapper"
IMAGE = ROOT / "tests" / "lambda_runtime"
PATIENCE = 20.0
"""Seconds a test waits for a runtime before it fails."""


@dataclass(slots=True)
class Posted:
    """What a runtime posted.  Header and trailer names are lower case; `chunks` are (monotonic nanoseconds, bytes).

    `ended`: the body came to its end.
    """

    path: str
    headers: dict[str, str]
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False

    @property
    def streamed(self) -> bool:
        return self.headers.get("lambda-runtime-function-response-mode") == "streaming"

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.chunks)

    @property
    def prelude(self) -> dict[str, Any]:
        """What stands before the eight NUL bytes."""
        head, end, _ = self.raw.partition(b"\0" * 8)
        assert b"\0" * 8 == end
        return dict(json.loads(head.decode("ascii")))

    @property
    def body(self) -> bytes:
        """What stands behind the prelude; all of it where the answer is not a streamed one."""
        return self.raw.partition(b"\0" * 8)[2] if self.streamed else self.raw

    @property
    def error(self) -> tuple[str, dict[str, Any]] | None:
        """The error type and the decoded body of the error trailers."""
        if not self.trailers:
            return None
        body = base64.b64decode(self.trailers["lambda-runtime-function-error-body"], validate=True)
        return self.trailers["lambda-runtime-function-error-type"], json.loads(body)


@dataclass(frozen=True, slots=True)
class Given:
    """One invocation to be handed out.  `hang_up`: chunks after which the connection of its answer is reset."""

    id: str
    headers: Mapping[str, str]
    body: bytes
    hang_up: int | None = None


class RuntimeApi(ThreadingHTTPServer):
    """Use as `with`.

    `seen` are the requests in their order, (monotonic nanoseconds, method and path); `polls` the connections on which a
    runtime asked for invocations.  `refusals` are what the next polls get: a status, or None for no answer at all.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.seen: list[tuple[int, str]] = []
        self.polls: list[int] = []
        self.refusals: list[int | None] = []
        self.hang_ups: dict[str, int] = {}
        self.answers: queue.SimpleQueue[Posted] = queue.SimpleQueue()
        self.next: queue.SimpleQueue[Given | None] = queue.SimpleQueue()
        self._count = 0

    def __enter__(self) -> RuntimeApi:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A runtime that was stopped is no error of the server."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        return [path for _, path in self.seen]

    def give(
        self, event: Any, *, seconds: float = 60, hang_up: int | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """Hand out one invocation that ends in so many seconds; its request id."""
        self._count += 1
        given = {
            "Lambda-Runtime-Aws-Request-Id": f"request-{self._count}",
            "Content-Type": "application/json",
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:demo:live",
            **(headers or {}),
        }
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.next.put(Given(f"request-{self._count}", given, body, hang_up))
        return f"request-{self._count}"

    def posted(self) -> Posted:
        """The next thing that a runtime posted to its end, or until it was hung up on."""
        return self.answers.get(timeout=PATIENCE)

    def invoke(self, event: Any, **how: Any) -> Posted:
        """One invocation and its answer."""
        path = f"/invocation/{self.give(event, **how)}/"
        answer = self.posted()
        assert path == answer.path[: len(path)]
        return answer


class _Request(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = self._note()
        if path == "/restore/next":
            self._reply(200)
            return
        self.server.polls.append(id(self.connection))
        if self.server.refusals:
            status = self.server.refusals.pop(0)
            if status is not None:
                self._reply(status)
            self.close_connection = True
            return
        given = self.server.next.get()
        if given is None:
            self.close_connection = True
            return
        if given.hang_up is not None:
            self.server.hang_ups[given.id] = given.hang_up
        self._reply(200, given.body, given.headers)

    def do_POST(self) -> None:
        path = self._note()
        posted = Posted(path, {name.lower(): value for name, value in self.headers.items()})
        words = path.split("/")
        hang_up = self.server.hang_ups.get(words[2] if len(words) > 2 else "")
        if "chunked" not in posted.headers.get("transfer-encoding", ""):
            data = self.rfile.read(int(posted.headers.get("content-length", 0)))
            posted.chunks.append((time.monotonic_ns(), data))
            posted.ended = True
        elif not self._chunks(posted, hang_up):
            self.server.answers.put(posted)
            return
        self._reply(202)
        self.server.answers.put(posted)

    def _chunks(self, posted: Posted, hang_up: int | None) -> bool:
        """Read a chunked body; False where this end has hung up, or the other."""
        while hang_up is None or len(posted.chunks) < hang_up:
            line = self.rfile.readline()
            if not line:
                self.close_connection = True
                return False
            if (size := int(line, 16)) == 0:
                while line := self.rfile.readline().strip():
                    name, _, value = line.decode("ascii").partition(":")
                    posted.trailers[name.lower()] = value.strip()
                posted.ended = True
                return True
            data = self.rfile.read(size)
            posted.chunks.append((time.monotonic_ns(), data))
            assert b"\r\n" == self.rfile.read(2)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        return False

    def _note(self) -> str:
        path = self.path.removeprefix("/2018-06-01/runtime")
        self.server.seen.append((time.monotonic_ns(), f"{self.command} {path}"))
        return path

    def _reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Runtime:
    """A runtime process, started as the managed runtime starts it: through the wrapper."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines it wrote, those in JSON."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    @property
    def text(self) -> str:
        return self._log.read_text()

    def logged(self, message: str) -> dict[str, Any]:
        """The first line with this message; it may come a moment after the answer."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.log:
                if line.get("message") == message:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"no line {message!r} in: {self.text}")

    def ended(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)


@contextmanager
def running(
    address: str,
    handler: str,
    *,
    python: str = sys.executable,
    command: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Runtime]:
    """A runtime that serves `handler`; it and what it started end with the block."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_"))},
        "AWS_LAMBDA_RUNTIME_API": address,
        "_HANDLER": handler,
        "LAMBDA_TASK_ROOT": str(ROOT),
        "LAMBDA_RUNTIME_DIR": str(IMAGE),
        "PYTHONPATH": str(ROOT / "functions"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(environ or {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            # What the managed runtime would have run comes as the arguments.
            started = command or [str(WRAPPER), python, "/var/runtime/bootstrap.py"]
            process = subprocess.Popen(
                started, env=env, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield Runtime(process, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
