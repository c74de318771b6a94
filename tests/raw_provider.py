"""A provider on a real loopback socket that does exactly what its script says, byte by byte, and keeps what it saw.

It knows no protocol but HTTP/1.1: status, headers, pieces of a chunked body with pauses between them, and an ending.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Ending = Literal["clean", "close", "reset", "hang"]
"""After the last piece: a whole body, a connection closed in the middle of it, one that is reset, or nothing more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gets.  Seconds; without a `status` not even a head is sent, so that only the ending happens.

    `pieces` are (pause before it, bytes); `pause` is before the ending, so that what was sent is read before a reset.
    """

    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[tuple[float, bytes]] = ()
    delay: float = 0.0
    pause: float = 0.0
    ending: Ending = "clean"

    def late(self, seconds: float) -> Reply:
        """The same after a delay."""
        return replace(self, delay=seconds)

    def broken(self, ending: Ending, *, after: int, say: bytes = b"") -> Reply:
        """The same broken off after so many pieces, with more bytes before the ending."""
        pieces = [*self.pieces[:after], *([(0.0, say)] if say else [])]
        return replace(self, pieces=pieces, ending=ending, pause=0.03)


@dataclass(slots=True)
class Call:
    """One request as the provider saw it; moments of the event loop's clock.  `aborted_at`: its client went away."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes = b""
    aborted_at: float | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = False

    @property
    def aborted(self) -> bool:
        return self.aborted_at is not None

    def abort(self) -> None:
        self.aborted_at = asyncio.get_running_loop().time()
        self.gone.set()


Script = Reply | Callable[[dict[str, Any]], Reply]
"""What one request gets; a function is given the request's body."""


class RawProvider:
    """Use as `async with`.  Each request gets the next reply, the last one again and again; `calls` are all
    requests."""

    def __init__(self, *replies: Script) -> None:
        self.replies = list(replies)
        self.calls: list[Call] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RawProvider:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aborted(self, patience: float = 1.0) -> bool:
        """Whether the client of every call has gone away, or does within the patience."""
        done, late = await asyncio.wait(
            [asyncio.ensure_future(call.gone.wait()) for call in self.calls], timeout=patience
        )
        for one in late:
            one.cancel()
        return len(done) == len(self.calls)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (call := await _request(reader)) is not None:
                self.calls.append(call)
                reply = self.replies[min(len(self.calls), len(self.replies)) - 1]
                if not await self._answer(
                    call, reply if isinstance(reply, Reply) else reply(call.body), reader, writer
                ):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, call: Call, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection may be used for another request."""
        # A client says nothing while it is being answered, so anything that can be read is the end of the connection.
        gone = asyncio.ensure_future(reader.read(1))
        playing = asyncio.ensure_future(_play(reply, writer))
        try:
            await asyncio.wait({gone, playing}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                call.abort()
                return False
            await playing
            call.done = True
            return reply.ending == "clean"
        except ConnectionError:
            call.abort()
            return False
        finally:
            for task in (gone, playing):
                task.cancel()
            await asyncio.gather(gone, playing, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Call | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Call(asyncio.get_running_loop().time(), first.split(" ")[1], headers, json.loads(body), body)


async def _play(reply: Reply, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(reply.delay)
    if reply.status is not None:
        headers = {"transfer-encoding": "chunked", **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for pause, data in reply.pieces:
            await asyncio.sleep(pause)
            if data:
                writer.write(b"%X\r\n%b\r\n" % (len(data), data))
            await writer.drain()
    await asyncio.sleep(reply.pause)
    if reply.ending == "hang":
        await asyncio.Event().wait()
    elif reply.ending == "reset":
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    elif reply.ending == "clean" and reply.status is not None:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def closed_port() -> str:
    """The address of a server that refuses every connection."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"
