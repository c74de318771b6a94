"""The least a Lambda runtime can do: raw sockets, no handler, nothing parsed that is not needed.

What it takes is the cost of the fake Runtime API and of the sockets; what a real runtime takes more is its own.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

BASE = "/2018-06-01/runtime/invocation"


def main() -> None:
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    address = (host, int(port))
    with _connected(address) as polling:
        while True:
            polling.sendall(f"GET {BASE}/next HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            headers, body = _answer(polling)
            number = headers.partition(b"Lambda-Runtime-Aws-Request-Id: ")[2].partition(b"\r\n")[0].decode()
            _post(address, f"POST {BASE}/{number}/response HTTP/1.1\r\nHost: {host}\r\n", json.loads(body))


def _post(address: tuple[str, int], head: str, event: Any) -> None:
    with _connected(address) as one:
        if event["do"] in {"plain", "said"}:
            one.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        else:
            one.sendall(
                f"{head}Lambda-Runtime-Function-Response-Mode: streaming\r\n"
                "Transfer-Encoding: chunked\r\n\r\n8\r\n\0\0\0\0\0\0\0\0\r\n".encode()
            )
            cpu, wall = time.process_time_ns(), time.monotonic_ns()
            for number in range(event["count"]):
                if number and event.get("gap"):
                    time.sleep(event["gap"])
                data = (b"%d " % time.monotonic_ns()).ljust(event.get("size", 0), b".")
                one.sendall(b"%X\r\n%b\r\n" % (len(data), data))
            took = {"cpu": time.process_time_ns() - cpu, "wall": time.monotonic_ns() - wall}
            last = json.dumps(took).encode()
            one.sendall(b"%X\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        _answer(one)


def _connected(address: tuple[str, int]) -> socket.socket:
    made = socket.create_connection(address)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _answer(one: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = one.recv(65536)
        if not more:
            raise SystemExit("the Runtime API is gone")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        body += one.recv(65536)
    return head, body


if __name__ == "__main__":
    main()
