"""A caller of the router: what it sent, what it read, and what it would call an error."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from understudy.services.route_request import Answered


@dataclass(slots=True)
class Record:
    """One request as its caller saw it.  Times are virtual seconds; `error` says what is wrong with the answer, None
    where nothing is; `target` and `attempts` are the answer's headers."""

    number: int
    environment: str
    stream: bool
    sent_at: float
    first_at: float = math.inf
    done_at: float = math.inf
    status: int = 0
    text: str = ""
    error: str | None = "no answer yet"
    target: str = ""
    attempts: int = 0

    @property
    def seconds(self) -> float:
        return self.done_at - self.sent_at

    def wrong(self, truth: str) -> bool:
        """Whether the caller was told what is not the one true text, or only a part of it as if it were all."""
        return self.text != truth if self.error is None else not truth.startswith(self.text)


async def read(answered: Answered, record: Record, clock: Callable[[], float]) -> None:
    """Read an answer to its end, as an SDK does."""
    record.status = answered.status
    record.target = answered.headers.get("x-understudy-target", "")
    record.attempts = int(answered.headers.get("x-understudy-attempts", 0))
    if isinstance(answered.body, bytes):
        record.error = _read_whole(json.loads(answered.body), record)
    else:
        record.error = await _read_stream(answered.body, record, clock)
    record.done_at = clock()
    record.first_at = min(record.first_at, record.done_at)


def _read_whole(body: dict[str, Any], record: Record) -> str | None:
    if record.status != 200:
        return f"{record.status}: {body['error']['message']}"
    choice = body["choices"][0]
    record.text = choice["message"]["content"] or ""
    return None if choice["finish_reason"] == "stop" else f"the stop reason is {choice['finish_reason']}"


async def _read_stream(body: AsyncGenerator[bytes, None], record: Record, clock: Callable[[], float]) -> str | None:
    left, finish, ended = b"", None, False
    async with aclosing(body):
        async for data in body:
            *events, left = (left + data).split(b"\n\n")
            for name, said in map(_event, events):
                if said == "[DONE]":
                    ended = True
                elif said:
                    payload = json.loads(said)
                    if name == "error" or payload.get("error"):
                        return f"in-band: {payload.get('error', payload)['message']}"
                    for choice in payload["choices"]:
                        finish = choice.get("finish_reason") or finish
                        _hear(choice["delta"].get("content") or "", record, clock)
    if left.strip():
        return "the stream ended inside an event"
    if finish != "stop":
        return f"the stop reason is {finish}"
    return None if ended else "no [DONE]"


def _hear(text: str, record: Record, clock: Callable[[], float]) -> None:
    if text and not record.text:
        record.first_at = clock()
    record.text += text


def _event(raw: bytes) -> tuple[str, str]:
    """The name and the data of one server-sent event; comments are left out."""
    fields = [line.partition(":") for line in raw.decode().split("\n") if not line.startswith(":")]
    values = [(name, value.removeprefix(" ")) for name, _, value in fields]
    return (
        next((value for name, value in values if name == "event"), ""),
        "\n".join(value for name, value in values if name == "data"),
    )
