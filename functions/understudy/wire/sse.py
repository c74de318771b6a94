"""Server-sent events from bytes as they arrive, however the network cut them.

Source: WHATWG HTML, "Server-sent events", parsing an event stream.  Two deliberate differences: bytes that are no
UTF-8 become U+FFFD one line at a time, and `flush` gives an event whose closing blank line never came.
"""

from __future__ import annotations

from understudy.wire.base import Event

LIMIT = 8 * 1024 * 1024
"""Bytes that one line, or the data of one event, may have; a provider that sends more is not answering a chat."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseDecoder:
    """One decoder per answer: `feed` it what was read, `flush` it at the end of the body."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._skip_line_feed = False
        self._first_line = True
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, read: bytes) -> list[Event]:
        """Events completed by these bytes, often none.  Raises ValueError on a line or event above the limit."""
        # A carriage return ends its line at once, so that an event is not held back until the next read; the
        # line feed that may follow belongs to it.
        if self._skip_line_feed and read.startswith(b"\n"):
            read = read[1:]
            self._skip_line_feed = False
        if not read:
            return []
        self._skip_line_feed = read.endswith(b"\r")
        if b"\r" in read:
            read = read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._tail += read
        # Only the new bytes are searched: a long line that comes in many reads costs its length, not its square.
        if b"\n" not in read:
            self._check(len(self._tail))
            return []
        lines = bytes(self._tail).split(b"\n")
        self._tail = bytearray(lines.pop())
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._check(len(self._tail))
        return events

    def flush(self) -> list[Event]:
        """The event that was still open at the end of the body, if it had data: some servers omit the blank line."""
        if self._tail:
            self._line(bytes(self._tail))
            self._tail.clear()
        event = self._dispatch()
        return [] if event is None else [event]

    def _line(self, line: bytes) -> Event | None:
        self._check(len(line))
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(line)
            self._check(self._size)
            self._data.append(value)
        elif name == "event":
            self._name = value
        # Every other field says nothing about an answer: `id` and `retry` serve reconnection, which a provider's
        # answer does not have, and an empty name is a comment (keep-alive).
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name, "\n".join(self._data)) if self._data else None
        self._name, self._data, self._size = "", [], 0
        return event

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise ValueError(f"a server-sent event is larger than {self._limit} bytes")
