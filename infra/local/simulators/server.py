"""The HTTP/1.1 server under a simulated provider: sends replies, breaks connections, notices who leaves."""

import contextlib
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Protocol

from infra.local.simulators.replies import Reply
from infra.local.simulators.seen import RequestLog
from infra.local.simulators.wire import Wire

LARGEST_BODY = 32 * 1024 * 1024
# How long an oversized body is read and thrown away, so that the client gets to read the refusal.
DISCARD_SECONDS = 2.0


class Responder(Protocol):
    """What the server asks of the provider that it serves."""

    wire: Wire
    log: RequestLog
    token_delay: float

    def respond(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> tuple[int, Reply]: ...


class BodyRefusedError(Exception):
    """The body cannot be taken: too large, or of no readable length."""

    def __init__(self, status: int, message: str, unread: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.unread = unread


class SimulatorServer(ThreadingHTTPServer):
    """Knows its open connections, so that stopping does not wait for the hanging ones."""

    daemon_threads = True
    # A load test opens many connections at once; the default backlog of 5 would refuse them.
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], provider: Responder) -> None:
        self.provider = provider
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._serving: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="simulator", daemon=True)
        super().__init__(address, SimulatorHandler)

    def server_bind(self) -> None:
        # HTTPServer looks its own name up in DNS here, which may take seconds on a machine without network.
        TCPServer.server_bind(self)

    def start(self) -> None:
        self._accepting.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self.handle_request()

    def stop(self) -> None:
        self.stopping.set()
        # Wakes the accepting thread at once, where serve_forever would poll for the end.
        with contextlib.suppress(OSError):
            socket.create_connection(self.socket.getsockname(), timeout=1).close()
        self._accepting.join(timeout=1)
        self.server_close()
        with self._lock:
            connections, threads = list(self._open), list(self._serving)
        for connection in connections:
            # Wakes the thread that reads from, writes to or waits on it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(timeout=1)

    def verify_request(self, *_: Any) -> bool:
        """Whether a connection just accepted is served: not that which woke the thread to stop."""
        return not self.stopping.is_set()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="simulator-connection",
            daemon=True,
        )
        with self._lock:
            self._open.add(request)
        thread.start()
        with self._lock:
            self._serving = [*(one for one in self._serving if one.is_alive()), thread]

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)


class SimulatorHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SimulatorServer

    def handle(self) -> None:
        # A client that leaves between or within requests is its own business.
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        self._exchange()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the base class looks for these

    def log_message(self, format: str, *args: Any) -> None:
        """The provider's own log says more; standard error stays quiet."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Unreadable HTTP, too, is answered in the provider's shape."""
        self.close_connection = True
        self._send(self.server.provider.wire.refuse(int(code), message or explain or "Bad request"))

    def _exchange(self) -> None:
        provider = self.server.provider
        try:
            raw = self._read_body()
        except BodyRefusedError as refused:
            self.send_error(refused.status, str(refused))
            self._discard(refused.unread)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        number, reply = provider.respond(self.command, self.path, headers, raw)
        try:
            if not reply.silent:
                if not reply.streamed:
                    self._pause(reply.wait)
                provider.log.answered(number, reply.status)
                self._send(reply)
            self._end(reply)
        except OSError:
            self.close_connection = True
            if not self.server.stopping.is_set():
                provider.log.aborted(number)

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        stated = self.headers.get("content-length", "0")
        if not stated.isdecimal():
            raise BodyRefusedError(400, "Invalid content-length")
        length = int(stated)
        if length > LARGEST_BODY:
            raise BodyRefusedError(413, "Request exceeds the maximum allowed number of bytes.", length)
        return self._read_exactly(length)

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = self.rfile.readline(1024).partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise BodyRefusedError(400, "Invalid chunk size") from None
            if len(body) + length > LARGEST_BODY:
                raise BodyRefusedError(413, "Request exceeds the maximum allowed number of bytes.", length)
            if length == 0:
                while self.rfile.readline(65537).strip():
                    pass
                return bytes(body)
            body += self._read_exactly(length)
            self.rfile.readline(8)

    def _read_exactly(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionAbortedError("the client left before its request was whole")
        return data

    def _discard(self, unread: int) -> None:
        until = time.monotonic() + DISCARD_SECONDS
        self.connection.settimeout(DISCARD_SECONDS)
        while unread > 0 and time.monotonic() < until:
            data = self.rfile.read(min(unread, 65536))
            if not data:
                return
            unread -= len(data)

    def _send(self, reply: Reply) -> None:
        head = self._head(reply)
        if not reply.streamed:
            self.wfile.write(head + b"".join(piece.data for piece in reply.pieces))
            return
        self.wfile.write(head)
        pace = self.server.provider.token_delay if reply.pace is None else reply.pace
        waited = False
        for piece in reply.pieces:
            pause = 0.0
            if piece.kind == "token":
                pause = pace if waited else reply.wait
                waited = True
            self._pause(pause)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece.data), piece.data))

    def _head(self, reply: Reply) -> bytes:
        try:
            phrase = self.responses[reply.status][0]
        except KeyError:
            phrase = "Overloaded" if reply.status == 529 else "Unknown"
        length = "transfer-encoding: chunked" if reply.length is None else f"content-length: {reply.length}"
        lines = [
            f"HTTP/1.1 {reply.status} {phrase}",
            f"date: {self.date_time_string()}",
            f"content-type: {reply.content_type}",
            length,
            "x-simulated: true",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if self.close_connection:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _end(self, reply: Reply) -> None:
        match reply.ending:
            case "clean" if reply.streamed:
                self.wfile.write(b"0\r\n\r\n")
            case "close":
                self.close_connection = True
            case "hang":
                self._pause(None)
            case "reset":
                self._reset()

    def _reset(self) -> None:
        """Lingering for no time makes closing send a RST; detaching keeps anyone from sending a FIN first."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def _pause(self, seconds: float | None) -> None:
        """Waits (None: for ever), but not for a client that has gone or a server that stops.

        Raises ConnectionAbortedError for those. Costs one system call more than the wait itself.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self.connection.settimeout(seconds)
        try:
            if self.connection.recv(1, socket.MSG_PEEK) == b"":
                raise ConnectionAbortedError("the client has gone")
            # The next request is already here, so the socket cannot be waited on.
            if self.server.stopping.wait(None if until is None else max(0.0, until - time.monotonic())):
                raise ConnectionAbortedError("the server stops")
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self.connection.settimeout(None)
