"""A caller that leaves is noticed at once, over real sockets: the work for it ends, and nothing more is tried."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from infra.local.front import Front
from infra.local.stack import LocalStack
from understudy.runtime.gateway import Answer
from understudy.runtime.loop import LoopThread

SOON = 0.3
"""Seconds within which a caller's leaving has ended its work."""
LONG = 0.25
"""Seconds of work that go over several looks at the caller."""


class Rooms:
    """A data plane that does what the path says, and says when the work for a caller has begun and ended."""

    def __init__(self) -> None:
        self.loop = LoopThread()
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.cancelled = threading.Event()

    def handler(self, event: Any, context: Any) -> Answer:
        name = event["pathParameters"]["proxy"]
        if name in {"stream", "bug"}:
            chunks, close = self.loop.iterate(self._stream(bug=name == "bug"))
            return Answer(200, {}, chunks=chunks, close=close)
        if name == "fails":
            raise RuntimeError("on purpose")
        body = self.loop.run(self._whole(60 if name == "never" else LONG, name), context.on_start)
        return Answer(200, {}, body)

    async def _whole(self, seconds: float, name: str) -> bytes:
        await self._work(seconds)
        return name.encode()

    async def _stream(self, *, bug: bool) -> AsyncIterator[bytes]:
        yield b"first"
        if bug:
            raise RuntimeError("on purpose, in mid-answer")
        await self._work(60)

    async def _work(self, seconds: float) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.ended.set()


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    rooms = Rooms()
    yield rooms
    rooms.loop.stop()


@pytest.fixture
def front(rooms: Rooms) -> Iterator[Front]:
    local: Callable[..., Any] = lambda *_: (404, {})  # noqa: E731 - not asked for anything here
    front = Front(("127.0.0.1", 0), rooms.handler, (("GET", "/{proxy+}"),), {}, local)
    front.start()
    yield front
    front.shutdown()
    front.server_close()
    assert "front-watch" not in {thread.name for thread in threading.enumerate()}


def connected(front: Front, *names: str) -> socket.socket:
    """A connection on which these paths have been asked for, one after the other."""
    host, port = front.server_address[:2]
    connection = socket.create_connection((str(host), port), timeout=5)
    connection.sendall(b"".join(f"GET /v1/{name} HTTP/1.1\r\nhost: x\r\n\r\n".encode() for name in names))
    return connection


def leave(connection: socket.socket) -> None:
    connection.close()


def break_off(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def received(connection: socket.socket, ending: bytes) -> bytes:
    data = b""
    while ending not in data and (more := connection.recv(65536)):
        data += more
    return data


@pytest.mark.parametrize("go", [leave, break_off])
def test_leaving_before_the_first_byte_cancels_the_work(
    front: Front, rooms: Rooms, go: Callable[[socket.socket], None]
) -> None:
    """A caller that closes or resets its connection while nothing was sent yet ends the work at once."""
    connection = connected(front, "never")
    assert rooms.begun.wait(5)
    go(connection)
    assert rooms.cancelled.wait(SOON)


@pytest.mark.parametrize("go", [leave, break_off])
def test_leaving_a_silent_stream_cancels_the_work(
    front: Front, rooms: Rooms, go: Callable[[socket.socket], None]
) -> None:
    """A caller that leaves between two chunks ends the work at once, although nothing is written to it."""
    connection = connected(front, "stream")
    assert b"first" in received(connection, b"first")
    assert rooms.begun.wait(5)
    go(connection)
    assert rooms.cancelled.wait(SOON)


def test_a_stream_that_was_ended_for_its_caller_does_not_look_whole(front: Front, rooms: Rooms) -> None:
    """A caller that says no more but still reads finds the connection closed without a last chunk."""
    with connected(front, "stream") as connection:
        data = received(connection, b"first")
        connection.shutdown(socket.SHUT_WR)
        data += received(connection, b"never sent")
    assert b"\r\n" == data.partition(b"first")[2]
    assert rooms.cancelled.wait(SOON)


def test_a_caller_that_pipelines_is_not_taken_for_gone(front: Front, rooms: Rooms) -> None:
    """The next request, sent while the first is worked on, is no end: both are answered, in order."""
    with connected(front, "one", "two") as connection:
        connection.sendall(b"GET /v1/three HTTP/1.1\r\nhost: x\r\n\r\n")
        answers = received(connection, b"three")
    places = [answers.index(name) for name in (b"one", b"two", b"three")]
    assert (sorted(places), False) == (places, rooms.cancelled.is_set())


def test_a_connection_that_is_kept_is_not_taken_for_gone(front: Front, rooms: Rooms) -> None:
    """A caller that waits, and asks again on the same connection, gets both answers."""
    with connected(front, "one") as connection:
        first = received(connection, b"one")
        time.sleep(LONG)
        connection.sendall(b"GET /v1/two HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (True, True) == (b"one" in first, b"two" in received(connection, b"two"))
    assert False is rooms.cancelled.is_set()


def test_a_handler_that_fails_leaves_the_watch_alive(front: Front, rooms: Rooms) -> None:
    """An error of a handler closes its connection, and later callers are watched as before."""
    with connected(front, "fails") as connection:
        assert b"" == received(connection, b"\n")
    assert set() == front.watch._callers
    connection = connected(front, "never")
    assert rooms.begun.wait(5)
    leave(connection)
    assert rooms.cancelled.wait(SOON)


def test_a_stream_that_fails_does_not_look_whole(front: Front, rooms: Rooms) -> None:
    """A fault of ours in mid-answer closes the connection after what was said, and the front serves on."""
    with connected(front, "bug") as connection:
        data = received(connection, b"never sent")
    assert b"\r\n" == data.partition(b"first")[2]
    with connected(front, "one") as connection:
        assert b"one" in received(connection, b"one")


def test_many_leave_at_once(front: Front, rooms: Rooms) -> None:
    """Of fifty callers those that leave end their own work, and the others get their answers."""
    staying = [connected(front, "stays") for _ in range(25)]
    leaving = [connected(front, "never") for _ in range(25)]
    for connection in leaving:
        connection.close()
    assert [True] * 25 == [b"stays" in received(connection, b"stays") for connection in staying]
    for connection in staying:
        connection.close()
    end = time.monotonic() + SOON
    while front.watch._callers and time.monotonic() < end:
        time.sleep(0.01)
    assert set() == front.watch._callers


def sent(stack: LocalStack, *, stream: bool) -> socket.socket:
    host, port = stack.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    body = json.dumps({"model": "chat", "stream": stream, "messages": [{"role": "user", "content": "count to 60"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer us-test\r\ncontent-length: {len(body)}"
    )
    connection.sendall(f"{head}\r\n\r\n{body}".encode())
    return connection


def until(condition: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


@pytest.mark.parametrize(
    ("fault", "stream"), [("hang", False), ("hang", True), ("stall_midstream", True), ("slow_first_token", False)]
)
def test_the_provider_is_let_go_and_nobody_else_is_asked(
    stack: LocalStack, capfd: pytest.CaptureFixture[str], fault: str, stream: bool
) -> None:
    """A caller that leaves a silent lead ends that call without a word, and the understudy is never asked."""
    lead, other = stack.simulators["openai"], stack.simulators["anthropic"]
    lead.set_fault("simulated-gpt", fault)
    asked, of_other = len(lead.requests), len(other.requests)
    connection = sent(stack, stream=stream)
    assert until(lambda: len(lead.requests) > asked, 5)
    if fault == "stall_midstream":
        received(connection, b'"10 "')
    connection.close()
    assert until(lambda: lead.requests[-1].aborted, SOON)
    lead.set_fault("simulated-gpt", None)
    time.sleep(LONG)
    assert (asked + 1, of_other) == (len(lead.requests), len(other.requests))
    assert ("", "") == tuple(capfd.readouterr())
