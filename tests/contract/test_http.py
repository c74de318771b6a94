"""The transport on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from understudy.errors import AttemptFailed, Silent, Transient
from understudy.transport.http import HttpTransport

Script = Callable[["Connection"], None]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, number: int, server: Server) -> None:
        self.number = number
        self._sock = sock
        self._file = sock.makefile("rb")
        self._server = server

    def request(self) -> bytes:
        """The next whole request, kept by the server; empty where the caller has closed the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                return b""
            head += line
        fields = [line.partition(b":") for line in head.split(b"\r\n")]
        length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
        whole = head + self._file.read(length)
        self._server.requests.append(whole)
        return whole

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def chunk(self, data: bytes) -> None:
        self.send(b"%X\r\n%b\r\n" % (len(data), data))

    def wait_for_close(self) -> None:
        """Until the caller has closed the connection."""
        with contextlib.suppress(OSError):
            while self._sock.recv(4096):
                pass
        self._server.closed.set()

    def reset(self) -> None:
        """Close without a farewell: the caller's next read fails."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self._sock.close()


class Server:
    """Plays a script on each connection, each on a thread of its own."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = threading.Event()
        self._script = script
        self._open: list[Connection] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                sock.settimeout(5)
                self.connections += 1
                connection = Connection(sock, self.connections, self)
                self._open.append(connection)
                threading.Thread(target=self._play, args=(connection,), daemon=True).start()

    def _play(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._script(connection)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.close()


Serve = Callable[[Script], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Server] = []

    def start(script: Script) -> Server:
        started.append(Server(script))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport()
    try:
        yield transport
    finally:
        await transport.close()


async def whole(transport: HttpTransport, url: str, **headers: str) -> tuple[int, bytes]:
    async with transport.send(url, headers, b"{}", connect=2) as reply:
        return reply.status, b"".join([part async for part in reply.body()])


def answered(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of one call by a transport of its own."""

    async def work() -> tuple[int, bytes]:
        async with opened() as transport, asyncio.timeout(5):
            return await whole(transport, url, **headers)

    return asyncio.run(work())


def always(answer: bytes) -> Script:
    """Give the same answer to every request of a connection."""

    def script(connection: Connection) -> None:
        while connection.request():
            connection.send(answer)

    return script


def test_a_request_is_sent_as_given(serve: Serve) -> None:
    """The body arrives as it is, by POST, with the headers given."""
    server = serve(always(OK))

    async def work() -> None:
        async with opened() as transport:
            headers = {"authorization": "Bearer k", "accept-encoding": "identity", "user-agent": "us/1"}
            async with transport.send(f"{server.url}/v1/x?y=1", headers, b'{"a":"\xc3\xb6"}', connect=2):
                pass

    asyncio.run(work())
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b'{"a":"\xc3\xb6"}' == body
    assert b"post /v1/x?y=1 http/1.1" == lines[0]
    expected = {b"authorization: bearer k", b"accept-encoding: identity", b"user-agent: us/1"}
    assert expected == expected & set(lines)


def test_a_page_is_got_where_it_is(serve: Serve) -> None:
    """By GET, without a body and with the headers given; where it has moved to is not looked at."""
    server = serve(always(b"HTTP/1.1 302 X\r\nlocation: /moved\r\ncontent-length: 2\r\n\r\nno"))

    async def work() -> tuple[int, bytes]:
        async with opened() as transport, transport.get(f"{server.url}/p", {"accept": "a/b"}, connect=2) as reply:
            return reply.status, b"".join([part async for part in reply.body()])

    assert (302, b"no") == asyncio.run(work())
    (request,) = server.requests
    lines = request.lower().split(b"\r\n")
    assert (b"get /p http/1.1", True, False) == (
        lines[0],
        b"accept: a/b" in lines,
        b"content-length" in request.lower(),
    )


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 429, 500, 503, 529])
def test_every_status_is_an_answer(serve: Serve, status: int) -> None:
    """What a status means is not decided here: each one comes back with its body."""
    body = b"" if status == 204 else b"text"
    length = b"" if status == 204 else b"content-length: 4\r\n"
    server = serve(always(b"HTTP/1.1 %d X\r\n%b\r\n%b" % (status, length, body)))
    assert (status, body) == answered(server.url)


def test_header_names_are_lower_case(serve: Serve) -> None:
    """Header names are given in lower case, values as they came."""
    server = serve(always(b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nX-ID: Ab\r\nContent-Length: 0\r\n\r\n"))

    async def work() -> dict[str, str]:
        async with opened() as transport, transport.send(server.url, {}, b"", connect=2) as reply:
            return dict(reply.headers)

    assert {"retry-after": "7", "x-id": "Ab", "content-length": "0"} == asyncio.run(work())


def test_the_body_comes_piece_by_piece(serve: Serve) -> None:
    """Each piece is given when it arrives: the server sends the next one only after the last was read."""
    read = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(HEAD)
        for number in range(4):
            connection.chunk(b"piece %d" % number)
            read.acquire(timeout=5)
        connection.chunk(b"")

    server = serve(script)

    async def work() -> list[bytes]:
        pieces = []
        async with asyncio.timeout(5), opened() as transport, transport.send(server.url, {}, b"{}", connect=2) as reply:
            async for piece in reply.body():
                pieces.append(piece)
                read.release()
        return pieces

    assert [b"piece 0", b"piece 1", b"piece 2", b"piece 3"] == asyncio.run(work())


def test_the_head_does_not_wait_for_the_body(serve: Serve) -> None:
    """The context is entered as soon as the head has arrived."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(HEAD)
        connection.wait_for_close()

    server = serve(script)

    async def work() -> int:
        async with asyncio.timeout(5), opened() as transport, transport.send(server.url, {}, b"{}", connect=2) as reply:
            return reply.status

    assert 200 == asyncio.run(work())


def test_the_connect_limit_is_no_limit_on_reading(serve: Serve) -> None:
    """How long an answer may take is the engine's business: a slow one outlives the connect limit."""

    def script(connection: Connection) -> None:
        connection.request()
        threading.Event().wait(0.3)
        connection.send(OK)

    server = serve(script)

    async def work() -> int:
        async with opened() as transport, transport.send(server.url, {}, b"{}", connect=0.1) as reply:
            return reply.status

    assert 200 == asyncio.run(work())


def test_a_refused_connection_is_transient() -> None:
    """Where nobody listens the attempt fails as transient."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="refused"):
            answered(f"http://127.0.0.1:{closed.getsockname()[1]}")


def test_an_unknown_host_is_transient() -> None:
    """A name that has no address fails as transient."""
    with pytest.raises(Transient):
        answered("http://understudy.invalid/")


def test_no_connection_in_time_is_silent() -> None:
    """Where the other side does not take the connection within the connect limit the attempt fails as silent."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.2)
        try:
            probe.connect(full.getsockname())
        except TimeoutError:
            pass
        except OSError:
            pytest.skip("this system refuses where its backlog is full")
        else:
            pytest.skip("this system takes more connections than its backlog says")

        async def work() -> None:
            host, port = full.getsockname()
            async with opened() as transport, transport.send(f"http://{host}:{port}", {}, b"", connect=0.2):
                pass

        with pytest.raises(Silent):
            asyncio.run(work())


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 20", HEAD + b"3\r\nab", HEAD, OK[:-1]])
@pytest.mark.parametrize("way", ["reset", "close"])
def test_a_broken_connection_is_transient(serve: Serve, before: bytes, way: str) -> None:
    """A connection that breaks before the answer is whole fails the attempt as transient, wherever it breaks."""

    def script(connection: Connection) -> None:
        connection.request()
        if before:
            connection.send(before)
            threading.Event().wait(0.03)
        getattr(connection, way)()

    with pytest.raises(Transient):
        answered(serve(script).url)


def test_the_body_before_a_break_is_given(serve: Serve) -> None:
    """What arrived before the connection broke was given before the failure is raised."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(HEAD)
        connection.chunk(b"first")
        threading.Event().wait(0.05)
        connection.reset()

    server = serve(script)
    pieces: list[bytes] = []

    async def work() -> None:
        async with opened() as transport, transport.send(server.url, {}, b"{}", connect=2) as reply:
            async for piece in reply.body():
                pieces.append(piece)  # noqa: PERF401 - what came before the failure is the point

    with pytest.raises(Transient):
        asyncio.run(work())
    assert [b"first"] == pieces


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n", HEAD + b"zz\r\n"])
def test_what_is_no_http_is_transient(serve: Serve, answer: bytes) -> None:
    """A server that does not speak HTTP fails the attempt, and its words are not repeated."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(answer)
        connection.close()

    with pytest.raises(Transient) as caught:
        answered(serve(script).url)
    assert "the connection broke (RemoteProtocolError)" == str(caught.value)


def test_a_server_without_tls_is_transient(serve: Serve) -> None:
    """A failed TLS handshake fails the attempt as transient."""

    def script(connection: Connection) -> None:
        connection.send(b"not TLS\r\n")
        connection.close()

    with pytest.raises(Transient):
        answered(serve(script).url.replace("http://", "https://"))


@pytest.mark.parametrize("value", ["schlüssel", "“quoted”", "two\r\nlines"])
def test_a_header_that_cannot_be_sent_fails_the_attempt(serve: Serve, value: str) -> None:
    """A secret that is no header value fails this attempt, not the request, and is not named."""
    server = serve(always(OK))
    with pytest.raises(AttemptFailed) as caught:
        answered(server.url, authorization=value)
    assert False is (value in str(caught.value))
    assert [] == server.requests


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/", "http://[::1/", "x"])
def test_a_url_that_cannot_be_used_fails_the_attempt(url: str) -> None:
    """An address that is none fails the attempt and nothing else."""
    with pytest.raises(AttemptFailed):
        answered(url)


def test_leaving_early_closes_the_connection(serve: Serve) -> None:
    """Leaving the context in the middle of the body closes the connection, so that the provider stops working."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(HEAD)
        connection.chunk(b"first")
        connection.wait_for_close()

    server = serve(script)

    async def work() -> bool:
        async with opened() as transport:
            async with transport.send(server.url, {}, b"{}", connect=2) as reply:
                assert b"first" == await anext(aiter(reply.body()))
            return await asyncio.to_thread(server.closed.wait, 3)

    assert True is asyncio.run(work())


@pytest.mark.parametrize("head", [b"", HEAD], ids=["before the head", "in the body"])
def test_a_cancelled_call_closes_the_connection(serve: Serve, head: bytes) -> None:
    """A call that is cancelled while it waits closes its connection."""

    def script(connection: Connection) -> None:
        connection.request()
        if head:
            connection.send(head)
        connection.wait_for_close()

    server = serve(script)

    async def work() -> bool:
        async with opened() as transport:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await whole(transport, server.url)
            return await asyncio.to_thread(server.closed.wait, 3)

    assert True is asyncio.run(work())


def test_a_connection_is_used_again(serve: Serve) -> None:
    """Calls one after the other go over one connection where each answer was read to its end."""
    server = serve(always(OK))

    async def work() -> list[tuple[int, bytes]]:
        async with opened() as transport:
            return [await whole(transport, server.url) for _ in range(5)]

    assert [(200, b"ok")] * 5 == asyncio.run(work())
    assert (5, 1) == (len(server.requests), server.connections)


def test_a_connection_left_early_is_not_used_again(serve: Serve) -> None:
    """The rest of an answer that nobody read does not become the next one."""

    def script(connection: Connection) -> None:
        while connection.request():
            connection.send(HEAD)
            connection.chunk(b"answer %d" % connection.number)
            if connection.number > 1:
                connection.chunk(b"")

    server = serve(script)

    async def work() -> tuple[int, bytes]:
        async with opened() as transport:
            async with transport.send(server.url, {}, b"{}", connect=2) as reply:
                await anext(aiter(reply.body()))
            return await whole(transport, server.url)

    assert (200, b"answer 2") == asyncio.run(work())


def test_a_kept_connection_that_was_closed_is_replaced(serve: Serve) -> None:
    """A connection that the provider closed while it lay idle costs no attempt."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(OK)
        connection.close()

    server = serve(script)

    async def work() -> list[tuple[int, bytes]]:
        async with opened() as transport:
            first = await whole(transport, server.url)
            await asyncio.sleep(0.05)
            return [first, await whole(transport, server.url)]

    assert [(200, b"ok")] * 2 == asyncio.run(work())
    assert 2 == server.connections


def test_calls_at_once_do_not_wait_for_each_other(serve: Serve) -> None:
    """As many calls as there are go out at once: the server answers none before all have come."""
    everyone = threading.Barrier(40)

    def script(connection: Connection) -> None:
        connection.request()
        everyone.wait(5)
        connection.send(OK)

    server = serve(script)

    async def work() -> list[tuple[int, bytes]]:
        async with opened() as transport, asyncio.timeout(5):
            return await asyncio.gather(*(whole(transport, server.url) for _ in range(40)))

    assert [(200, b"ok")] * 40 == asyncio.run(work())


def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves the router goes to the address given, whatever the environment says."""
    server, proxy = serve(always(OK)), serve(always(OK))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert (200, b"ok") == answered(server.url)
    assert (1, 0) == (server.connections, proxy.connections)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(serve: Serve, status: int) -> None:
    """A redirect is an answer like any other: credentials do not go where it points."""
    other = serve(always(OK))
    location = other.url.encode()
    server = serve(always(b"HTTP/1.1 %d X\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status, location)))
    assert (status, b"") == answered(server.url, authorization="Bearer k")
    assert 0 == other.connections


def test_cookies_are_not_kept(serve: Serve) -> None:
    """An answer's cookies are not sent with the next request, which may be another caller's."""
    server = serve(always(b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n"))

    async def work() -> None:
        async with opened() as transport:
            await whole(transport, server.url)
            await whole(transport, server.url)

    asyncio.run(work())
    assert [False, False] == [b"cookie:" in request.lower() for request in server.requests]
