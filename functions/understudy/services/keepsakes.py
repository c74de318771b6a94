"""What a model wants back and callers lose: the thought signature of each tool call, kept under the call's id.

Most clients write the history of a conversation anew and drop the field that a signature came in.  So it is kept for a
day: in this environment, and in the table for the others, written beside the answer and read only for a request that
brings back such a call without it.  The marks say whose a signature is (understudy.chat.bound), and a key of another
client finds nothing.  Where nothing is found, the wire says so to the model in its own way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from understudy.chat.bound import SIGNED, signature_of, with_signature
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk
from understudy.errors import StoreError
from understudy.keys import ClientKey
from understudy.metrics import own_failure
from understudy.ports import Clock, KeepsakeStore, Logger

REMEMBERED = 2000
"""Signatures that one environment remembers; at a kilobyte or two each."""
LONGEST = 64 * 1024
"""Characters of a signature that is kept; a table item is bounded too."""
LOOKED_UP = 50
"""Calls of one request that are looked up in the table; older ones matter least, because only the current turn's are
required (Gemini API, "Thought signatures")."""
PATIENCE = 0.5
"""Seconds a request waits for what was kept elsewhere."""

T = TypeVar("T")


class Keepsakes:
    """One for each execution environment; used from one event loop."""

    def __init__(self, store: KeepsakeStore, clock: Clock, logger: Logger) -> None:
        self._store = store
        self._clock = clock
        self._logger = logger
        self._threads = ThreadPoolExecutor(2, "understudy-keepsakes")
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._writes: set[asyncio.Task[None]] = set()

    def keep(self, client: ClientKey, chunk: Chunk) -> None:
        """Keep the signatures that a chunk brings; written in the background."""
        found = {call["id"]: signature_of(call) for call in _calls(chunk) if _signed(call)}
        found = {name: value for name, value in found.items() if 0 < len(value) <= LONGEST}
        if not found:
            return
        for name, value in found.items():
            self._remember((client.account, name), value)
        task = asyncio.get_running_loop().create_task(self._write(client, found))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def put_back(self, client: ClientKey, request: ChatRequest) -> ChatRequest:
        """The request with the signatures that its caller lost, as far as they are known."""
        missing = [call["id"] for call in _history(request) if _signed(call) and not signature_of(call)]
        if not missing:
            return request
        found = {name: self._kept[client.account, name] for name in missing if (client.account, name) in self._kept}
        unknown = [name for name in missing if name not in found][-LOOKED_UP:]
        if unknown:
            found |= await self._read(client, unknown)
        messages = [_restored(message, found) for message in request.messages]
        return replace(request, body={**request.body, "messages": messages}) if found else request

    async def settle(self, patience: float) -> None:
        """Wait for writes under way, but not long: the caller waits too."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=patience)

    def _remember(self, key: tuple[str, str], value: str) -> None:
        self._kept[key] = value
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)

    async def _write(self, client: ClientKey, found: Mapping[str, str]) -> None:
        try:
            await self._in_thread(self._store.keep, client.account, found, self._clock())
        except StoreError as error:
            self._failed("signatures of tool calls could not be kept", error)

    async def _read(self, client: ClientKey, names: Sequence[str]) -> Mapping[str, str]:
        try:
            found = await asyncio.wait_for(self._in_thread(self._store.kept, client.account, names), PATIENCE)
        except (TimeoutError, StoreError) as error:
            self._failed("signatures of tool calls could not be read", error)
            return {}
        for name, value in found.items():
            self._remember((client.account, name), value)
        return found

    def _failed(self, message: str, error: Exception) -> None:
        told = str(error) or f"not within {PATIENCE:g} s"
        self._logger.warning(message, error=told, metrics=[own_failure("StoreErrors")])

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def _signed(call: Mapping[str, Any]) -> bool:
    name = call.get("id")
    return isinstance(name, str) and name.startswith(SIGNED)


def _calls(chunk: Chunk) -> Iterator[Mapping[str, Any]]:
    if chunk.has_tool_calls:
        for choice in chunk.payload.get("choices") or ():
            yield from (choice.get("delta") or {}).get("tool_calls") or ()


def _history(request: ChatRequest) -> Iterator[Mapping[str, Any]]:
    for message in request.messages:
        yield from message.get("tool_calls") or ()


def _restored(message: Mapping[str, Any], found: Mapping[str, str]) -> Mapping[str, Any]:
    calls = message.get("tool_calls")
    if not calls or not any(call.get("id") in found for call in calls):
        return message
    put_back = [
        with_signature(call, found[call["id"]]) if call.get("id") in found and not signature_of(call) else call
        for call in calls
    ]
    return {**message, "tool_calls": put_back}
