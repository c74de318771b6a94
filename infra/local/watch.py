"""Who has left: one thread looks at the connections whose requests are being worked on.

Nobody else can tell.  While a provider is silent nothing is written to the caller, and only a write would fail.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 0.05
"""Seconds between two looks."""


class Caller:
    """The context of one request: the handler says through it how what it does for the caller is ended."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._lock = threading.Lock()
        self._end: Callable[[], object] | None = None
        self._gone = False

    @property
    def gone(self) -> bool:
        return self._gone

    def on_start(self, end: Callable[[], object]) -> None:
        """From now on `end` ends the work; it is called at once where the caller has left already."""
        with self._lock:
            self._end = end
            gone = self._gone
        if gone:
            end()

    def left(self) -> None:
        """The caller has left: end what is under way, and whatever begins later."""
        with self._lock:
            self._gone = True
            end = self._end
        if end is not None:
            end()


class Watch:
    """One for each front.  A caller has left when its side of the connection is closed or broken.

    Data that waits to be read is the next request of a caller that pipelines; it hides an end that may lie behind it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers: set[Caller] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="front-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @contextmanager
    def over(self, connection: socket.socket) -> Iterator[Caller]:
        """Watch a connection while its request is worked on; nobody may read from it meanwhile."""
        caller = Caller(connection)
        with self._lock:
            self._callers.add(caller)
        try:
            yield caller
        finally:
            with self._lock:
                self._callers.discard(caller)

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            for caller in self._look():
                caller.left()

    def _look(self) -> list[Caller]:
        """Those who have left since the last look; they are not looked at again."""
        # Under the lock: nobody takes a connection back, and reads, between the question and the peek.
        with self._lock, selectors.DefaultSelector() as selector:
            for caller in self._callers:
                selector.register(caller.connection, selectors.EVENT_READ, caller)
            left: list[Caller] = [key.data for key, _ in selector.select(0) if _ended(key.data.connection)]
            self._callers.difference_update(left)
        return left


def _ended(connection: socket.socket) -> bool:
    """Whether a readable connection is at its end; does not wait, and takes nothing."""
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
