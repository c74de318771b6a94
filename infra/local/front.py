"""The HTTP front of the local stack: what API Gateway does between a caller and the data plane.

It builds REST proxy events, calls the real handler, and writes what comes back piece by piece.  Below /_local/ it
serves the stack itself: faults of the simulators, alerts, and where things are.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from infra.local.template import GatewayResponse
from infra.local.watch import Caller, Watch
from understudy.control.checks import is_loopback
from understudy.runtime.gateway import STAGE, Answer

GATEWAY_LIMIT = 10 * 1024 * 1024
"""Bytes of a request body (Amazon API Gateway quotas, "Payload size")."""

Local = Callable[[str, str, Any], tuple[int, Any]]


class Front(ThreadingHTTPServer):
    """`handler` is the data plane's; `api` the (method, path) pairs of the template; `local` serves /_local/."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        handler: Callable[[Any, Any], Answer],
        api: tuple[tuple[str, str], ...],
        gateway_responses: Mapping[str, GatewayResponse],
        local: Local,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Request)
        self.handler = handler
        self.methods = {method for method, _ in api}
        self.gateway_responses = gateway_responses
        self.local = local
        self.watch = Watch()

    def start(self) -> None:
        self.watch.start()
        threading.Thread(target=self.serve_forever, args=(0.1,), name="front", daemon=True).start()

    def server_close(self) -> None:
        self.watch.stop()
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no error of ours."""

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"


class _Request(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"
    server_version = "understudy-local"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 300

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the decision log says what happened."""

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        parts = urlsplit(self.path)
        if parts.path.startswith("/_local/"):
            self._serve_local(parts.path.removeprefix("/_local/"), body)
        elif parts.path != STAGE and not parts.path.startswith(STAGE + "/"):
            # API Gateway knows only its stages.
            self._gateway_response("MISSING_AUTHENTICATION_TOKEN")
        elif self.command not in self.server.methods:
            self._gateway_response("MISSING_AUTHENTICATION_TOKEN")
        else:
            self._invoke(self._event(parts.path, parts.query, body))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _event(self, path: str, query: str, body: bytes) -> dict[str, Any]:
        """A REST proxy event (Amazon API Gateway developer guide, "Input format of a Lambda function")."""
        inner = path.removeprefix(STAGE) or "/"
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name, []).append(value)
        parameters = parse_qs(query, keep_blank_values=True)
        text, encoded = _text(body)
        return {
            "resource": "/{proxy+}",
            "path": inner,
            "httpMethod": self.command,
            "headers": {name: values[-1] for name, values in headers.items()},
            "multiValueHeaders": headers,
            "queryStringParameters": {name: values[-1] for name, values in parameters.items()} or None,
            "multiValueQueryStringParameters": parameters or None,
            "pathParameters": {"proxy": inner.removeprefix("/")},
            "stageVariables": {"stream": "on"},
            "requestContext": {
                "resourcePath": "/{proxy+}",
                "httpMethod": self.command,
                "path": path,
                "stage": STAGE.removeprefix("/"),
                "requestId": str(uuid.uuid4()),
                "requestTimeEpoch": int(time.time() * 1000),
                "protocol": self.request_version,
                "identity": {"sourceIp": self.client_address[0], "userAgent": self.headers.get("User-Agent")},
                "accountId": "123456789012",
                "apiId": "local",
            },
            "body": text,
            "isBase64Encoded": encoded,
        }

    def _invoke(self, event: dict[str, Any]) -> None:
        """Call the handler and answer, for as long as the caller is there."""
        with self.server.watch.over(self.connection) as caller:
            try:
                answer = self.server.handler(event, caller)
            except CancelledError:
                # The caller has left, or the stack stops: there is nobody to answer.
                self.close_connection = True
                return
            caller.on_start(answer.close)
            self._answer(answer, caller)

    def _answer(self, answer: Answer, caller: Caller) -> None:
        try:
            if answer.chunks is None:
                self._send(answer.status, answer.headers, answer.body)
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "transfer-encoding": "chunked"}.items():
                self.send_header(name, value)
            self.end_headers()
            for data in answer.chunks:
                self.wfile.write(b"%X\r\n%b\r\n" % (len(data), data))
            if caller.gone:
                # What was ended for one who left is not to look whole.
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            answer.close()

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        length = {} if status == HTTPStatus.NO_CONTENT else {"content-length": str(len(body))}
        for name, value in {**headers, **length}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What the base class cannot read, or has no method for: as API Gateway says it, not as a page."""
        self.close_connection = True
        unknown = code == HTTPStatus.NOT_IMPLEMENTED
        self._gateway_response("MISSING_AUTHENTICATION_TOKEN" if unknown else "DEFAULT_4XX")

    def _gateway_response(self, name: str) -> None:
        response = self.server.gateway_responses[name]
        words = json.dumps(name.replace("_", " ").lower())
        body = response.template.replace("$context.error.messageString", words)
        body = body.replace("$context.error.responseType", name)
        self._send(response.status, {**response.headers, "content-type": "application/json"}, body.encode())

    def _body(self) -> bytes | None:
        """The request body, or None where an answer was given already."""
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                body = self._chunked()
            else:
                length = self.headers.get("Content-Length", "0")
                if not (length.isascii() and length.isdigit()):
                    raise ValueError(f"a body of {length!r} bytes")
                body = None if int(length) > GATEWAY_LIMIT else self.rfile.read(int(length))
            wrong = "REQUEST_TOO_LARGE" if body is None else ""
        except ValueError:
            body, wrong = None, "DEFAULT_4XX"
        if wrong:
            # The rest of the body is not read, so the connection cannot be used again.
            self.close_connection = True
            self._gateway_response(wrong)
        return body

    def _chunked(self) -> bytes | None:
        """The body of a chunked upload, None where it is too large.  Raises ValueError on another form."""
        body = bytearray()
        while True:
            line = self.rfile.readline(1024).split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line):
                raise ValueError(f"a chunk of {line!r} bytes")
            size = int(line, 16)
            if len(body) + size > GATEWAY_LIMIT:
                return None
            if size == 0:
                break
            body += self.rfile.read(size)
            self.rfile.readline(8)
        # Trailers, and the empty line after them.
        while self.rfile.readline(1024).strip():
            pass
        return bytes(body)

    def _serve_local(self, path: str, body: bytes) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if self.headers.get("Origin") or not is_loopback(host):
            # A page in a browser must not be able to reach the stack's own controls.
            self._send(
                403, {"content-type": "application/json"}, b'{"error":"only for the command line of this machine"}'
            )
            return
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        status, answer = self.server.local(self.command, path, parsed)
        self._send(status, {"content-type": "application/json"}, json.dumps(answer).encode())


def _text(body: bytes) -> tuple[str | None, bool]:
    """A body as API Gateway passes it: text where it is UTF-8, else base64."""
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
