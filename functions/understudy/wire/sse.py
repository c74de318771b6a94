"""Server-sent events: bytes in, events out, however the bytes are cut.

Source: the WHATWG HTML standard, "Server-sent events", with one leniency: an event whose closing blank line never
came is still given at the end, because some servers leave it out.
"""

from __future__ import annotations

import codecs

from understudy.wire.base import Event

MAX_EVENT = 8 * 1024 * 1024


class SseDecoder:
    """Feed it reads of any size; it returns the events that became whole."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._data: list[str] = []
        self._name = ""
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """Events completed by these bytes.  Raises ValueError where one event grows beyond 8 MiB."""
        text = self._rest + self._utf8.decode(data)
        if not self._started and text:
            text = text.removeprefix("\ufeff")
            self._started = True
        # A lone CR at the end may be the first half of CRLF: wait for the next read.
        held = "\r" if text.endswith("\r") else ""
        lines = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT:
            raise ValueError("a server-sent event is larger than 8 MiB")
        return [event for line in lines if (event := self._line(line)) is not None]

    def flush(self) -> list[Event]:
        """What is left when the stream has ended."""
        rest = self._rest.removesuffix("\r")
        self._rest = ""
        events = [self._line(rest) if rest else None, self._line("")]
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._name, "\n".join(self._data)) if self._data else None
            self._data, self._name = [], ""
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        return None
