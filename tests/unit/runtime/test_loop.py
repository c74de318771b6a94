"""The event loop on its own thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError

import pytest

from understudy.runtime.loop import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.stop()


class Source:
    """An endless or finite source that says whether it was closed."""

    def __init__(self, items: int | None = None, error: Exception | None = None) -> None:
        self.items = items
        self.error = error
        self.produced = 0
        self.closed = threading.Event()

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            while self.items is None or self.produced < self.items:
                yield b"%d" % self.produced
                self.produced += 1
                await asyncio.sleep(0.001)
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


def in_time(work: Callable[[], object], seconds: float = 3.0) -> object:
    """The value of `work`, or a failure where it hangs."""
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert [False] == [thread.is_alive()]
    return result[0]


def test_run_gives_the_value_of_a_coroutine(loop: LoopThread) -> None:
    """A coroutine runs to its end on the loop's own thread."""

    async def work() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert "understudy-loop" == loop.run(work())


def test_run_raises_what_the_coroutine_raises(loop: LoopThread) -> None:
    """An exception of the coroutine reaches the caller, and the loop goes on."""

    async def fail() -> None:
        raise KeyError("x")

    async def work() -> int:
        return 1

    with pytest.raises(KeyError, match="x"):
        loop.run(fail())
    assert 1 == loop.run(work())


def test_the_loop_outlives_its_calls(loop: LoopThread) -> None:
    """A task started by one call goes on after it and is finished by the time of a later one."""
    done: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def late() -> None:
        await asyncio.sleep(0.01)
        done.append(1)

    async def start() -> None:
        tasks.append(asyncio.create_task(late()))

    async def wait() -> None:
        await tasks[0]

    loop.run(start())
    loop.run(wait())
    assert [1] == done


def test_many_threads_share_one_loop(loop: LoopThread) -> None:
    """Calls from many threads run on the same loop at once and get their own values."""

    async def work(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(loop.run(work(n)))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(20)) == sorted(found)


def test_work_can_be_cancelled(loop: LoopThread) -> None:
    """Work that is cancelled gets to its end undisturbed, however often it is cancelled, and its caller hears of it."""
    said: list[str] = []
    begun = threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            said.append("ended")

    def on_start(cancel: Callable[[], None]) -> None:
        begun.wait(3)
        for _ in range(3):
            cancel()
            time.sleep(0.005)

    with pytest.raises(CancelledError):
        loop.run(work(), on_start)
    assert ["ended"] == said


def test_work_that_is_cancelled_before_it_begins_begins_and_ends(loop: LoopThread) -> None:
    """Work whose caller leaves before the loop came to it still gets to close what it was given."""
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            said.append("ended")

    with pytest.raises(CancelledError):
        loop.run(work(), lambda cancel: cancel())
    assert ["ended"] == said


def test_what_was_done_before_it_was_cancelled_is_given(loop: LoopThread) -> None:
    """A value that is ready when its caller leaves is not lost: whoever gets it can close it."""

    cancels: list[Callable[[], None]] = []
    started = threading.Event()

    async def work() -> str:
        await asyncio.to_thread(started.wait, 3)
        cancels[0]()
        return "value"

    def on_start(cancel: Callable[[], None]) -> None:
        cancels.append(cancel)
        started.set()

    assert "value" == loop.run(work(), on_start)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_items_come_in_order_and_end(loop: LoopThread, count: int) -> None:
    """Every item of the source comes once and in order, and the iteration ends with the source."""
    source = Source(count)
    items, _ = loop.iterate(source.stream())
    assert [b"%d" % n for n in range(count)] == list(items)
    assert True is source.closed.is_set()


def test_an_item_comes_before_the_next_is_ready(loop: LoopThread) -> None:
    """An item is given as soon as it is there, not when the source has ended."""
    gate = threading.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.to_thread(gate.wait, 5)
        yield b"second"

    items, _ = loop.iterate(stream())
    assert b"first" == next(items)
    gate.set()
    assert [b"second"] == list(items)


def test_the_source_goes_on_while_the_caller_writes(loop: LoopThread) -> None:
    """A slow caller does not hold up the source."""
    source = Source(20)
    items, _ = loop.iterate(source.stream())
    first = next(items)
    assert True is source.closed.wait(3)
    assert [b"%d" % n for n in range(20)] == [first, *items]


def test_an_exception_comes_after_the_items_before_it(loop: LoopThread) -> None:
    """What the source raises reaches the caller in its place."""
    items, _ = loop.iterate(Source(2, ValueError("broken")).stream())
    seen = []
    with pytest.raises(ValueError, match="broken"):
        for item in items:
            seen.append(item)  # noqa: PERF402 - what came before the exception is the point
    assert [b"0", b"1"] == seen


def test_a_silent_source_is_filled(loop: LoopThread) -> None:
    """While no item comes the filler does, again and again; the items are not touched by it."""
    gate = threading.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.to_thread(gate.wait, 5)
        yield b"second"

    items, _ = loop.iterate(stream(), 0.02, b": ping")
    assert [b"first", b": ping", b": ping", b": ping"] == [next(items) for _ in range(4)]
    gate.set()
    assert [b"second"] == [item for item in items if item != b": ping"]


def test_a_source_that_speaks_is_not_filled(loop: LoopThread) -> None:
    """Items that come in time leave no room for the filler, and neither does the end."""
    items, _ = loop.iterate(Source(50).stream(), 3.0, b": ping")
    assert [b"%d" % n for n in range(50)] == list(items)


def test_a_source_that_is_closed_while_it_is_filled_ends(loop: LoopThread) -> None:
    """A caller that is being filled is let go when the source is closed."""

    async def stream() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    items, close = loop.iterate(stream(), 0.01, b": ping")
    assert b": ping" == next(items)
    close()
    assert [] == [item for item in in_time(lambda: list(items)) if item != b": ping"]  # type: ignore[attr-defined]


def test_close_cancels_the_source(loop: LoopThread) -> None:
    """Closing ends an endless source's work, and closing twice does no harm."""
    source = Source()
    items, close = loop.iterate(source.stream())
    assert b"0" == next(items)
    close()
    close()
    assert True is source.closed.wait(3)


def test_close_ends_the_iteration(loop: LoopThread) -> None:
    """A caller that still waits for an item when the source is closed is let go."""
    source = Source()
    items, close = loop.iterate(source.stream())
    next(items)
    threading.Timer(0.05, close).start()
    in_time(lambda: list(items))
    assert True is source.closed.wait(3)


def test_close_before_the_first_item_ends_the_iteration(loop: LoopThread) -> None:
    """A source that is closed before the loop came to it gives nothing, and is closed all the same."""

    async def block() -> None:
        time.sleep(0.1)  # noqa: ASYNC251 - the loop must be busy

    blocked = threading.Thread(target=loop.run, args=(block(),))
    blocked.start()
    time.sleep(0.02)
    source = Source()
    items, close = loop.iterate(source.stream())
    close()
    assert [] == in_time(lambda: list(items))
    blocked.join()
    assert True is source.closed.wait(3)


def test_giving_up_the_iteration_cancels_the_source(loop: LoopThread) -> None:
    """A caller that leaves in the middle ends the source's work."""
    source = Source()
    items, _ = loop.iterate(source.stream())
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert True is source.closed.wait(3)


def test_close_after_the_end_does_nothing(loop: LoopThread) -> None:
    """An iteration that has ended may be closed."""
    items, close = loop.iterate(Source(1).stream())
    assert [b"0"] == list(items)
    close()


def test_stop_cancels_what_runs() -> None:
    """Stopping ends open sources, lets their callers go, and ends the thread."""
    loop = LoopThread()
    source = Source()
    items, _ = loop.iterate(source.stream())
    next(items)
    loop.stop()
    in_time(lambda: list(items))
    assert True is source.closed.is_set()
    assert "understudy-loop" not in {thread.name for thread in threading.enumerate()}
