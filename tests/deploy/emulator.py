"""The AWS emulator as a process group of its own, on loopback, over TLS, with every role's policies enforced."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.deploy import sockets
from tests.deploy.report import Failed, wait

HOST = "127.0.0.1"
REGION = "us-east-1"
# The emulator's root caller; these are no secrets.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


class Emulator:
    """Start it, use `endpoint` with `ca`, stop it."""

    def __init__(self, command: Path, work: Path, port: int) -> None:
        self.command = command
        self._port = port or _free_port()
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self.log = work / "emulator.log"
        self.endpoint = f"https://{HOST}:{self._port}"
        self.ca = work / "tmp/ministack-tls/server.crt"

    def _environment(self) -> dict[str, str]:
        """All of it: what the emulator has in its environment, every function has too."""
        openssl = shutil.which("openssl")
        if openssl is None:
            raise Failed("the emulator makes its TLS certificate with openssl, which is not on the PATH")
        return {
            **CREDENTIALS,
            "PATH": f"{Path(openssl).parent}:{os.defpath}",
            "HOME": str(self._work),
            "TMPDIR": str(self._work / "tmp"),
            "STATE_DIR": str(self._work / "state"),
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "IOT_MTLS_ENABLED": "0",  # it would listen on every address
            "USE_SSL": "1",  # our policies deny what is not encrypted
            "AUTH": "true",  # each function has its role's permissions and no more
        }

    def start(self) -> None:
        """Raises Failed when it does not answer within 30 s."""
        for name in ("tmp", "state"):
            (self._work / name).mkdir()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.command],
                env=self._environment(),
                cwd=self._work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what it starts belongs to its group and ends with it
            )
        wait("the emulator's first answer", self._answers, 30, pause=0.1)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Failed(f"the emulator ended with code {self._process.returncode}:\n{self.tail()}")
        with contextlib.suppress(OSError):
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca))),
            )
            with opener.open(f"{self.endpoint}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        return False

    def on_loopback(self) -> str:
        """Where it listens; raises Failed when a socket of the group has an end outside loopback."""
        assert self._process is not None
        if not sockets.known():
            return "not checked: there is no /proc here"
        foreign = sockets.outside(self._process.pid)
        if foreign:
            raise Failed("not on loopback: " + "; ".join(foreign))
        where = sockets.listening(self._process.pid)
        if not where:
            raise Failed("no listening socket was found, so nothing was checked")
        return "listens on " + ", ".join(where)

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        kept = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:400] for line in kept)

    def stop(self) -> None:
        """Ends the whole group, by force after 2 s."""
        if self._process is None:
            return
        for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            end = time.monotonic() + patience
            while time.monotonic() < end and self._alive():
                time.sleep(0.05)
            if not self._alive():
                break
        self._process.wait(timeout=5)

    def _alive(self) -> bool:
        assert self._process is not None
        self._process.poll()  # reaps it, so that it does not count as a member
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return not sockets.known() or bool(sockets.members(self._process.pid))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
