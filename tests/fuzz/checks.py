"""What is promised of every translator, whatever it is given: which errors it may raise, and that it comes to an end.

Each check is a function of one random source that tries one case; it raises where a promise is broken.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.fuzz.mutate import corrupted, cut, damaged
from tests.fuzz.seeds import OWNER, QUIRKS, REQUESTS, answers, requests
from understudy.chat.complete import Completed
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.stream import Chunk
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed, Garbage, InvalidRequest, StreamBroken
from understudy.transport.eventstream import EventStream
from understudy.wire import UNARY_WIRES, WIRES
from understudy.wire.base import Event
from understudy.wire.fronts import FRONTS
from understudy.wire.fronts.base import Front, encode
from understudy.wire.sse import SseDecoder

Check = Callable[[random.Random], None]


def reading(front: Front, seeds: tuple[dict[str, Any], ...], rng: random.Random) -> None:
    """Any bytes are a request or are refused, and every wire can be asked with it or names what it cannot carry."""
    body = json.dumps(damaged(rng.choice(seeds), rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        body = corrupted(body, rng)
    try:
        request = front.read(body, {})
    except InvalidRequest as error:
        encode(front.error(error)[1])
        return
    assert request.size >= 0
    if isinstance(request, UnaryRequest):
        for (_, operation), unary in UNARY_WIRES.items():
            if operation == request.operation:
                _called(lambda unary=unary: unary.call(request, model="m", quirks=QUIRKS).body)
    else:
        sent(request, rng)


def sent(request: ChatRequest, rng: random.Random) -> None:
    """Every wire makes a JSON body of it, or says what it cannot carry."""
    for name, wire in WIRES.items():
        native = request.native is not None and request.native.protocol == wire.protocol
        if name == "responses" and not native:
            continue
        lost = frozenset() if native else wire.cannot_carry(request, QUIRKS)
        call = partial(wire.call, request, model="m", stream=rng.random() < 0.5, max_output_tokens=None, quirks=QUIRKS)
        _called(lambda call=call, lost=lost: call(drop=lost if rng.random() < 0.7 else frozenset()).body)


def _called(call: Callable[[], bytes]) -> None:
    try:
        body = call()
    except InvalidRequest:
        return
    assert isinstance(json.loads(body), dict)


def asking(wire: str, rng: random.Random) -> None:
    """A wire makes a body of any chat request, or refuses it."""
    try:
        request = chat_request(damaged(rng.choice(requests()).body, rng))
    except InvalidRequest:
        return
    lost = WIRES[wire].cannot_carry(request, QUIRKS)
    _called(
        lambda: WIRES[wire].call(request, model="m", stream=True, drop=lost, max_output_tokens=None, quirks=QUIRKS).body
    )


def answering(wire: str, rng: random.Random) -> None:
    """A damaged answer is chunks, or garbage, or an error of the provider; fronts can write whatever chunks come."""
    reply = rng.choice(answers(wire))
    body = b"".join(piece.data for piece in reply.pieces)
    if not reply.streamed:
        _whole(wire, damaged(json.loads(body), rng), rng)
        return
    if rng.random() < 0.3:
        body = corrupted(body, rng)
    chunks = _decoded(wire, reply.content_type, body, rng)
    written(chunks, rng, native=wire if rng.random() < 0.5 else "")


def _whole(wire: str, parsed: Any, rng: random.Random) -> None:
    if not isinstance(parsed, dict):
        return
    try:
        chunks = WIRES[wire].chunks(parsed, native=False, owner=OWNER)
    except (ValueError, RecursionError, AttemptFailed):
        return
    written(chunks, rng)


def _decoded(wire: str, content_type: str, body: bytes, rng: random.Random) -> list[Chunk]:
    frames = framing(content_type)
    decoder = WIRES[wire].decoder(rng.choice((1, 2)), native=rng.random() < 0.5, owner=OWNER)
    chunks: list[Chunk] = []
    try:
        events = [event for data in cut(body, rng) for event in frames.feed(data)] + frames.flush()
    except (ValueError, AttemptFailed):
        return chunks
    at = rng.randrange(len(events) + 1)
    for place, event in enumerate(events):
        if place == at:
            event = _damaged_event(event, rng)
        try:
            chunks += decoder.feed(event)
        except (ValueError, RecursionError):
            continue
        except AttemptFailed:
            break
    assert decoder.complete in (True, False)
    return chunks


def framing(content_type: str) -> Any:
    """What takes a stream of this type apart."""
    return SseDecoder() if content_type.startswith("text/event-stream") else EventStream(Event)


def _damaged_event(event: Event, rng: random.Random) -> Event:
    try:
        return Event(event.name, json.dumps(damaged(json.loads(event.data), rng)))
    except ValueError:
        return Event(event.name, event.data[:-1])


def written(chunks: list[Chunk], rng: random.Random, *, native: str = "") -> None:
    """Every front writes any chunks, whole and streamed, and every event that it writes is JSON."""
    for path, front in FRONTS.items():
        request = front.read(encode(REQUESTS[path][0]), {})
        if isinstance(request, UnaryRequest):
            continue
        mine = [c for c in chunks if not c.native or (request.native and request.native.protocol == native)]
        completed = Completed("fuzz", 1)
        mine = [each for chunk in mine for each in completed.feed(chunk, "m")]
        writer = front.writer(request, created=1)
        said = [writer.event(chunk) for chunk in mine]
        said.append(writer.end() if rng.random() < 0.5 else writer.broken(StreamBroken("t", Garbage("cut"))))
        for event in SseDecoder().feed(b"".join(said)):
            assert event.data == "[DONE]" or isinstance(json.loads(event.data), dict)
        json.loads(encode(front.whole(request, mine, created=1)))


def failing(wire: str, rng: random.Random) -> None:
    """Any error answer is classified; its message has no key and a bounded length."""
    seed = {"error": {"message": "bad", "type": "x", "code": "y", "status": "z", "details": [{"retryDelay": "3s"}]}}
    body = json.dumps(damaged(seed, rng)).encode()
    body = corrupted(body, rng) if rng.random() < 0.3 else body
    headers = {"retry-after": str(rng.choice((1, "x", "", "-3", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9")))}
    failure = WIRES[wire].failure(rng.randrange(400, 600), headers, body)
    assert isinstance(failure, AttemptFailed)
    assert 1000 > len(failure.message)


def all_checks() -> Iterator[tuple[str, Check]]:
    for path, front in FRONTS.items():
        yield f"front {path}: read, and asked of every wire", partial(reading, front, REQUESTS[path])
    for wire in WIRES:
        if wire != "responses":
            yield f"wire {wire}: request", partial(asking, wire)
        yield f"wire {wire}: answer, and written by every front", partial(answering, wire)
        yield f"wire {wire}: error", partial(failing, wire)
