"""What the Python clients' scripts share: the cells on standard input, and one JSON line on standard output for each
check: `{"front", "wire", "check", "ok", "seconds", "detail"}`."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AT_ONCE = 6
HERE = Path(__file__).parent
QUESTION = "Are you there?"
MULTIBYTE = "Grüße aus Zürich: 你好, 👩🏽‍🚀 and 🇨🇭"
TOOLS_QUESTION = "Ask get_weather and get_time."
TOOL_QUESTION = "Ask get_weather."
TOOL_RESULTS = {"get_weather": "sunny ☀", "get_time": "noon"}
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
RECITE = "recite to 12"
RECITED = "[simulated] 1 2 3 4 5 6 7 8 9 10 11 12"
LONG = "recite to 40"
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PERSON = {"name": "simulated name", "age": 1, "tags": ["simulated tags"]}


@dataclass(frozen=True)
class Cell:
    """One front of a client on one wire.  `model` answers, `faulty` can be broken, `resumed` breaks off and is gone on
    with; `answers` is the simulated provider whose name stands in the answers."""

    url: str
    key: str
    front: str
    wire: str
    answers: str
    model: str
    faulty: str
    resumed: str
    embeddings: str
    checks: tuple[str, ...]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def thinks(self) -> bool:
        """Whether it shows thinking with a signature; to others the wish is a hint, and they answer as they do."""
        return self.answers == "anthropic"

    @contextmanager
    def broken(self, fault: str, times: int | None = None) -> Iterator[None]:
        """The route `faulty` has this fault meanwhile, or for so many requests (a probe may be one of them)."""
        self._set(fault, times)
        try:
            yield
        finally:
            self._set(None, None)

    def _set(self, fault: str | None, times: int | None) -> None:
        body = json.dumps({"target": self.faulty, "fault": fault, "times": times}).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(f"{self.url}/_local/faults", body), timeout=10).close()

    def answered(self, text: str | None, said: str = QUESTION, more: str = "") -> None:
        """The answer is this wire's to what was said."""
        self._labelled(text, f"You said: {said}{more}")

    def told(self, text: str | None, *results: str) -> None:
        """The answer is this wire's to these tool results."""
        self._labelled(text, f"The tool answered: {'; '.join(results)}")

    def _labelled(self, text: str | None, wanted: str) -> None:
        label, _, rest = (text or "").partition("] ")
        true(label.startswith(f"[simulated {self.answers} provider, model "), f"not {self.answers}'s answer: {text!r}")
        same(wanted, rest)


Check = Callable[[Cell], Any]


def same(expected: object, actual: object) -> None:
    if expected != actual:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def true(fact: object, what: object) -> None:
    if not fact:
        raise AssertionError(str(what))


def raised(kind: type[BaseException] | tuple[type[BaseException], ...], run: Callable[[], Any]) -> Any:
    """The error that `run` raises, which must be of this kind."""
    try:
        result = run()
    except kind as error:
        return error
    raise AssertionError(f"nothing was raised, the result is {result!r}")


def main(fronts: Mapping[str, Mapping[str, Check]]) -> None:
    """Run the cells that standard input asks for."""
    asked = json.load(sys.stdin)
    cells = [
        Cell(**{**one, "url": asked["url"], "key": asked["key"], "checks": tuple(one["checks"])})
        for one in asked["cells"]
    ]
    lock = threading.Lock()

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def run(cell: Cell) -> None:
        for name in cell.checks:
            began = time.monotonic()
            detail = _tried(fronts.get(cell.front, {}).get(name), cell, loop)
            line = {
                "front": cell.front,
                "wire": cell.wire,
                "check": name,
                "ok": detail is None,
                "seconds": round(time.monotonic() - began, 3),
                "detail": detail or "",
            }
            with lock:
                print(json.dumps(line), flush=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, cells))


def _tried(check: Check | None, cell: Cell, loop: asyncio.AbstractEventLoop) -> str | None:
    """Why the check failed, or None.  All coroutines share one loop, because some packages share their connections."""
    if check is None:
        return "the script has no such check"
    try:
        result = check(cell)
        if inspect.isawaitable(result):
            asyncio.run_coroutine_threadsafe(_wait(result), loop).result()
    except Exception as error:  # noqa: BLE001 - whatever a client raises is what the matrix shows
        frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).parent == HERE]
        where = ", ".join(f"{Path(one.filename).name}:{one.lineno}" for one in frames[1:])
        return f"{type(error).__name__}: {error} ({where})"
    return None


async def _wait(result: Any) -> None:
    await result
