"""The log of what a simulator was asked, for tests and for the local status page."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

KEPT = 10_000
HIDDEN = "[hidden]"
CREDENTIAL_MARKS = ("auth", "key", "token", "secret", "cookie", "signature")


@dataclass(frozen=True)
class SeenRequest:
    """One request; `status` is None until (or unless) a status line is sent.

    `at` is in epoch seconds, `body` the parsed JSON (None when it is none), `aborted` true when the client
    went away before the answer was whole.
    """

    at: float
    path: str
    model: str
    stream: bool
    fault: str | None
    status: int | None
    headers: Mapping[str, str]
    body: Any
    aborted: bool = False


def without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """Lower-case header names; the value of whatever may carry a credential is hidden."""
    return {
        name.lower(): HIDDEN if any(mark in name.lower() for mark in CREDENTIAL_MARKS) else value
        for name, value in headers.items()
    }


class RequestLog:
    """Thread-safe and bounded; a request is entered when it arrives, so a hanging one is seen too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._seen: OrderedDict[int, SeenRequest] = OrderedDict()

    def enter(self, seen: SeenRequest) -> int:
        """Returns the number under which `answered` and `aborted` find the request again."""
        with self._lock:
            self._next += 1
            self._seen[self._next] = seen
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
            return self._next

    def answered(self, number: int, status: int) -> None:
        with self._lock:
            if number in self._seen:
                self._seen[number] = replace(self._seen[number], status=status)

    def aborted(self, number: int) -> None:
        with self._lock:
            if number in self._seen:
                self._seen[number] = replace(self._seen[number], aborted=True)

    def snapshot(self) -> list[SeenRequest]:
        with self._lock:
            return list(self._seen.values())
