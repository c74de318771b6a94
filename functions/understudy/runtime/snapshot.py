"""Around a Lambda snapshot (SnapStart): what is slow is done before it, what must not be shared is made anew after it.

Every environment that is restored begins as a copy of one memory.  What differs between two of them must not be in it:
connections, credentials, what was read at some moment, the state of a random generator, a thread in the middle of work.
Source: the AWS Lambda developer guide, "Improving startup performance with Lambda SnapStart", "Runtime hooks".
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from understudy.runtime.loop import LoopThread


class Kept(Protocol):
    """A function that builds something once and keeps it, as `functools.cache` makes it."""

    def __call__(self) -> Any: ...

    def cache_info(self) -> Any: ...

    def cache_clear(self) -> None: ...


def register(
    service: Kept, loop: Kept | None, prepare: Callable[[], object], renew: Callable[[], object]
) -> Callable[[], None]:
    """Have a room's environment go through snapshots well; returns what makes it ready before its first event.

    Before the snapshot `prepare` is called and the service built, once, so that everything it needs is imported; then
    it is forgotten again with its loop, so that no thread and no connection is in the snapshot.  After a restore both
    are forgotten once more and `renew` drops the clients of AWS; the first invocation builds what it needs.
    """

    def ready() -> None:
        prepare()
        service()

    def forget() -> None:
        if loop is not None and loop.cache_info().currsize:
            running: LoopThread = loop()
            loop.cache_clear()
            running.stop()
        service.cache_clear()
        renew()

    def before() -> None:
        ready()
        forget()

    def after() -> None:
        forget()
        # Waits are jittered; copies of one memory would all jitter alike.
        random.seed()

    try:
        # Of the managed image; nothing that a function ships.
        import snapshot_restore_py as hooks  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return ready
    hooks.register_before_snapshot(before)
    hooks.register_after_restore(after)
    return ready
