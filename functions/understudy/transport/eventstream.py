"""AWS event streams: binary frames, each with two checksums, from bytes as they arrive, however they were cut.

Source: Smithy, "Amazon Event Stream Specification".  botocore reads the frames; it is imported with the first of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar

LIMIT = 8 * 1024 * 1024
"""Bytes of one frame; a provider that sends more is not answering a chat."""
HEADERS_LIMIT = 16 * 1024
# Total length, length of the headers and their checksum, and at the end the frame's own checksum.
_PRELUDE, _TRAILER = 12, 4

E = TypeVar("E")


class EventStream(Generic[E]):
    """One for each answer: `feed` it what was read, `flush` it at the end of the body.

    `event` makes an event of its name and its data.  The name is that of the event's type; of a frame that is an
    exception or an error it is `exception:` and the exception's name.
    """

    def __init__(self, event: Callable[[str, str], E], limit: int = LIMIT) -> None:
        self._event = event
        self._limit = limit
        self._tail = bytearray()
        self._broken: ValueError | None = None

    def feed(self, read: bytes) -> list[E]:
        """Events of the frames completed by these bytes, often none.

        Raises ValueError on a frame that is too large or does not fit its checksums, after the events before it were
        given out; nothing behind such a frame can be found.
        """
        if self._broken is not None:
            raise self._broken
        self._tail += read
        events: list[E] = []
        try:
            while (size := self._size()) and len(self._tail) >= size:
                frame = bytes(self._tail[:size])
                del self._tail[:size]
                events.append(self._read(frame))
        except ValueError as error:
            if not events:
                raise
            self._broken = error
        return events

    def flush(self) -> list[E]:
        """Nothing: a frame that is not whole says nothing.  Raises ValueError where `feed` still has to."""
        if self._broken is not None:
            raise self._broken
        return []

    def _size(self) -> int:
        """Bytes of the frame that comes next; 0 while that is unknown."""
        if len(self._tail) < _PRELUDE:
            return 0
        size, headers = (int.from_bytes(self._tail[at : at + 4], "big") for at in (0, 4))
        if size > self._limit or headers > HEADERS_LIMIT:
            raise ValueError(f"a frame of the event stream is larger than {self._limit} bytes, or its headers are")
        if size < _PRELUDE + headers + _TRAILER:
            raise ValueError("a frame of the event stream is smaller than its parts")
        return size

    def _read(self, frame: bytes) -> E:
        from botocore.eventstream import EventStreamBuffer

        buffer = EventStreamBuffer()
        buffer.add_data(frame)
        try:
            message: Any = buffer.next()
            headers, payload = message.headers, message.payload.decode("utf-8", "replace")
        except Exception as error:
            # Whatever the parser stumbles over: checksums, types, lengths.
            raise ValueError(f"a frame of the event stream cannot be read ({type(error).__name__})") from error
        match headers.get(":message-type"):
            case "event":
                return self._event(str(headers.get(":event-type", "")), payload)
            case "exception":
                return self._event(f"exception:{headers.get(':exception-type', '')}", payload)
            case "error":
                said = json.dumps({"message": str(headers.get(":error-message", ""))})
                return self._event(f"exception:{headers.get(':error-code', '')}", said)
        raise ValueError("a frame of the event stream is neither an event nor an exception")
