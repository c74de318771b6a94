"""What translation costs: a request and a chunk of each wire, for each front, and the memory of an open stream.

A script: `python -m tests.benchmarks.translation`.  Answers are those of the simulated providers.  Every number stands
beside a reference of the same run: reading and writing the same JSON once, which no translator can do without.  Nothing
fails for being slow.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from infra.local.simulators.answers import answer
from infra.local.simulators.provider import WIRES as SIMULATED
from infra.local.simulators.replies import Reply
from tests.builders import Log
from tests.fuzz.checks import framing
from tests.fuzz.seeds import CHAT, QUIRKS, REQUESTS
from tests.one_router import KEY, KeptTable
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.unary import UnaryRequest
from understudy.keys import ClientKey, hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.feedback import Feedback
from understudy.services.keepsakes import Keepsakes
from understudy.services.outcomes import LocalOutcomes
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.services.upstream import Upstream
from understudy.store.store import Store
from understudy.transport.eventstream import EventStream
from understudy.wire import WIRES
from understudy.wire.base import Event
from understudy.wire.fronts import FRONTS
from understudy.wire.fronts.base import encode

ROUNDS, STREAMS, TOKENS = 15, 40, 400
LONG = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": f"count to {TOKENS}"}]}
DOCUMENT = """
schema: 1
providers: {acme: {wire: WIRE, base_url: "https://acme.example/v1"}}
targets: {lead: {provider: acme, model: large-1}}
routes: {chat: {targets: [lead]}}
"""


def best(work: Callable[[], object], times: int = 1) -> float:
    """Microseconds of one call: the median of the rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        took.append((time.perf_counter() - began) / times * 1e6)
    return statistics.median(took)


def spoken(wire: str) -> Reply:
    """A long streamed answer as the simulated provider gives it."""
    call = WIRES[wire].call(
        chat_request(LONG), model="large-1", stream=True, drop=frozenset(), max_output_tokens=100_000, quirks=QUIRKS
    )
    asked = SIMULATED[wire].ask(call.path, json.loads(call.body))
    return SIMULATED[wire].render(asked, answer(asked))


def requests() -> None:
    print("\n1. A request: caller's bytes to a checked request, and on to the provider's body; microseconds")
    print(f"   {'':<14}{'read + write':>14}" + "".join(f"{name:>22}" for name in WIRES if name != "responses"))
    body = encode(CHAT[1])
    bare = best(lambda: json.dumps(json.loads(body)).encode(), 50)
    front = FRONTS["/chat/completions"]
    read = best(lambda: front.read(body, {}), 50)
    cells = []
    for name, wire in WIRES.items():
        if name == "responses":
            continue
        request = front.read(body, {})
        assert isinstance(request, ChatRequest)
        lost = wire.cannot_carry(request, QUIRKS)

        def sent(wire: Any = wire, request: ChatRequest = request, lost: Any = lost) -> None:
            wire.cannot_carry(request, QUIRKS)
            wire.call(request, model="m", stream=True, drop=lost, max_output_tokens=None, quirks=QUIRKS)

        took = read + best(sent, 50)
        cells.append(f"{took:>12.1f} ({took / bare:5.1f}x)")
    print(f"   {'chat, tools':<14}{bare:>14.1f}" + "".join(f"{cell:>22}" for cell in cells))


def chunks() -> None:
    print(f"\n2. A chunk: provider's bytes to the caller's bytes, {TOKENS} tokens; microseconds each")
    fronts = {p: f for p, f in FRONTS.items() if not isinstance(f.read(encode(REQUESTS[p][0]), {}), UnaryRequest)}
    print(f"   {'':<12}{'read + write':>14}" + "".join(f"{path:>24}" for path in fronts))
    for name in [one for one in WIRES if one != "responses"]:
        reply = spoken(name)
        events = [event for piece in reply.pieces for event in framing(reply.content_type).feed(piece.data)]
        said = [event.data for event in events if event.data.startswith("{")]
        bare = best(lambda said=said: [json.dumps(json.loads(one)) for one in said]) / TOKENS  # type: ignore[misc]
        cells = []
        for path, front in fronts.items():
            request = front.read(encode(REQUESTS[path][0]), {})
            took = best(lambda f=front, r=request, n=name, a=reply: translated(f, r, n, a)) / TOKENS  # type: ignore[misc]
            cells.append(f"{took:>12.1f} ({took / bare:5.1f}x)")
        print(f"   {name:<12}{bare:>14.1f}" + "".join(f"{cell:>24}" for cell in cells))


def translated(front: Any, request: Any, wire: str, reply: Reply) -> None:
    native = bool(request.native and request.native.protocol == WIRES[wire].protocol)
    frames, decoder = framing(reply.content_type), WIRES[wire].decoder(1, native=native, owner=QUIRKS.owner)
    writer = front.writer(request, created=1)
    for piece in reply.pieces:
        for event in frames.feed(piece.data):
            for chunk in decoder.feed(event):
                writer.event(chunk)
    writer.end()


class Halfway:
    """A transport whose answers stop in the middle until they are released."""

    def __init__(self, reply: Reply) -> None:
        self._pieces = [piece.data for piece in reply.pieces]
        self._kind = reply.content_type
        self.release = asyncio.Event()
        self._waiting = 0
        self.all_wait = asyncio.Event()

    @asynccontextmanager
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float) -> AsyncIterator[Any]:
        yield SimpleNamespace(status=200, headers={"content-type": self._kind}, body=self.body)

    async def body(self) -> AsyncIterator[bytes]:
        half = len(self._pieces) // 2
        for piece in self._pieces[:half]:
            yield piece
        self._waiting += 1
        if self._waiting == STREAMS:
            self.all_wait.set()
        await self.release.wait()
        for piece in self._pieces[half:]:
            yield piece


async def open_streams(wire: str, path: str) -> float:
    """Bytes of Python memory for each stream that is open in the middle of its answer."""
    store, log, rng = Store(KeptTable()), Log(), random.Random(1)
    publish(store, DOCUMENT.replace("WIRE", wire), now=0.0, by="benchmark")
    store.put_key(ClientKey(hash_key(KEY), "app", 0.0))
    transport = Halfway(spoken(wire))
    binary = {"application/vnd.amazon.eventstream": partial(EventStream, Event)}
    upstream = Upstream(transport, SimpleNamespace(), "benchmark", lambda: 0.0, framings=binary)  # type: ignore[arg-type]
    outcomes = LocalOutcomes(store, lambda: 0.0, log, rng)
    service = RouteRequest(
        ReadModel(store, lambda: 0.0, log),
        outcomes,
        upstream,
        Keepsakes(store, lambda: 0.0, log),
        Feedback(store, outcomes, lambda: 0.0, log),
        clock=lambda: 0.0,
        logger=log,
        rng=rng,
    )
    body = encode({**REQUESTS[path][0], "stream": True})

    async def one() -> None:
        given = ApiRequest("POST", path, {"authorization": f"Bearer {KEY}"}, body, "")
        answered = await service.answer(given)
        assert 200 == answered.status and not isinstance(answered.body, bytes)
        async for _ in answered.body:
            pass

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.create_task(one()) for _ in range(STREAMS)]
    half = asyncio.create_task(transport.all_wait.wait())
    await asyncio.wait([half, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        # A stream that is over already has failed, and says why.
        assert not task.done(), task.exception()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    transport.release.set()
    await asyncio.gather(*tasks)
    return held / STREAMS


def memory() -> None:
    print(f"\n3. Memory of an open stream, {TOKENS // 2} tokens in, {STREAMS} at once; KB each (without its sockets)")
    fronts = [p for p, f in FRONTS.items() if not isinstance(f.read(encode(REQUESTS[p][0]), {}), UnaryRequest)]
    print(f"   {'':<12}" + "".join(f"{path:>22}" for path in fronts))
    for wire in [one for one in WIRES if one != "responses"]:
        cells = [asyncio.run(open_streams(wire, path)) / 1024 for path in fronts]
        print(f"   {wire:<12}" + "".join(f"{cell:>22.1f}" for cell in cells))


if __name__ == "__main__":
    requests()
    chunks()
    memory()
