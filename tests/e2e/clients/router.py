"""`understudy up` as a process, on free loopback ports."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]
KEY = "matrix-key"
READY = re.compile(r"is up: base_url=(\S+)/v1 ")
START_SECONDS = 60.0


class NotUp(Exception):
    """The local stack did not start; says what it printed."""


class Router:
    """Start it, use `url`, stop it."""

    def __init__(self, document: Path, log: Path) -> None:
        self._document = document
        self._log = log
        self.url = ""

    def start(self) -> None:
        """Raises NotUp."""
        arguments = ["up", "--port", "0", "--api-key", KEY, "--config", str(self._document)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        env |= {"PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1"}
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "understudy.cli", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=env,
                cwd=ROOT,
            )
        try:
            self.url = self._ready()
        except NotUp:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def break_target(self, target: str, fault: str) -> None:
        body = json.dumps({"target": target, "fault": fault}).encode()
        self._open(urllib.request.Request(f"{self.url}/_local/faults", body))

    def knows(self, path: str) -> bool:
        """Whether there is a front at this path: one that is there asks for a key, one that is not is a 404."""
        try:
            self._open(urllib.request.Request(f"{self.url}/v1{path}", b"{}"))
        except urllib.error.HTTPError as error:
            return error.code != 404
        return True

    def said(self) -> str:
        """What it wrote to its log."""
        return self._log.read_text(errors="replace")

    def _open(self, request: urllib.request.Request) -> None:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()

    def _ready(self) -> str:
        output = self._process.stdout
        assert output is not None
        printed, until = b"", time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            if select.select([output], [], [], 0.2)[0]:
                printed += os.read(output.fileno(), 65536)
            if found := READY.search(printed.decode(errors="replace")):
                return found[1]
        raise NotUp(f"understudy up did not start:\n{printed.decode(errors='replace')}{self.said()}")
