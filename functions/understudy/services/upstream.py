"""One call to one target: translate, send, decode.  Upstream is asked to stream wherever the target can."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from types import MappingProxyType

from understudy.catalog import Provider, Route, Target
from understudy.chat.request import ChatRequest
from understudy.chat.stream import Chunk, without_calls
from understudy.chat.unary import UnaryRequest
from understudy.errors import AttemptFailed, Credential, Garbage, InvalidRequest, SecretError
from understudy.ports import Clock, Framing, Reply, Secrets, Signer, Transport
from understudy.services.fitness import addressed, dropped, is_native, quirks_of, shortened, unary_wire_for, wire_for
from understudy.wire.base import Call, Decoder
from understudy.wire.sse import SseDecoder

BODY_LIMIT = 32 * 1024 * 1024
"""Bytes of a whole upstream answer; more is no answer to a chat request."""
ERROR_LIMIT = 64 * 1024
TAIL = 1.0
"""Seconds to wait for usage and the end of the stream after the stop reason has arrived."""
AFTER_END = 0.05
"""Seconds to wait for the end of the body after the end marker, so that the connection can be used again."""
# `x-ratelimit-remaining-tokens`, or `anthropic-ratelimit-tokens-remaining`; nothing else that begins like this.
_RATE_LIMIT = re.compile(
    r"x-ratelimit-(?P<kind>limit|remaining|reset)(?:-(?P<what>[a-z0-9-]{1,40}))?"
    r"|anthropic-ratelimit-(?P<first>[a-z-]{1,40})-(?P<last>limit|remaining|reset)"
)
UNREADABLE_EVENTS = 1
"""Events of one stream that may be unreadable before it counts as garbage."""


class Upstream:
    """Satisfies `understudy.routing.attempts.Ask` for any target of the catalog."""

    def __init__(
        self,
        transport: Transport,
        secrets: Secrets,
        user_agent: str,
        clock: Clock,
        *,
        signer: Signer | None = None,
        framings: Mapping[str, Callable[[], Framing]] = MappingProxyType({}),
    ) -> None:
        """`framings`: by content type, how a stream is read that is not one of server-sent events."""
        self._clock = clock
        self._transport = transport
        self._secrets = secrets
        self._user_agent = user_agent
        self._signer = signer
        self._framings: Mapping[str, Callable[[], Framing]] = {"text/event-stream": SseDecoder, **framings}

    async def __call__(
        self, request: ChatRequest | UnaryRequest, target: Target, *, connect: float, route: Route | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Chunks of the answer.  Raises AttemptFailed; ends only after a stop reason has arrived."""
        exchange = _exchange(request, target, route)
        call = exchange.call
        url = target.provider.base_url.rstrip("/") + call.path
        for first in (True, False):
            secret = await self._secret(target.provider)
            headers = {**call.headers, **self._headers(target.provider, exchange, secret)}
            signed = await self._signed(target.provider, url, headers, call.body)
            try:
                async with self._transport.send(url, {**headers, **signed}, call.body, connect=connect) as reply:
                    if reply.status != 200:
                        raise await self._failure(reply, exchange)
                    shown = shown_headers(reply.headers)
                    async with aclosing(self._answer(reply, exchange)) as chunks:
                        async for chunk in chunks:
                            whole = named(chunk if call.calls else without_calls(chunk), target.model)
                            yield replace(whole, headers=shown) if shown else whole
                            shown = {}
                    return
            except AttemptFailed as failure:
                refused = first and isinstance(failure, Credential)
                if refused and await self._renewed(target.provider, secret, signed):
                    continue
                # A provider that refuses a key may repeat it.
                failure.hide(secret)
                failure.hide(signed.get("x-amz-security-token", ""))
                raise

    async def _failure(self, reply: Reply, exchange: Exchange) -> AttemptFailed:
        # A date in `retry-after` counts from the answer's own; one without is as old as it looks from here.
        answered = {"date": formatdate(self._clock(), usegmt=True), **reply.headers}
        return exchange.failure(reply.status, answered, await _read(reply, ERROR_LIMIT, cut=True))

    async def _secret(self, provider: Provider) -> str:
        """The provider's key; empty where it wants none."""
        if provider.auth is None:
            return ""
        try:
            return await self._secrets.value(provider.auth.secret)
        except SecretError as error:
            raise Credential(str(error)) from error

    async def _signed(self, provider: Provider, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """The headers of the call's signature; none where the provider wants none."""
        if provider.sigv4 is None:
            return {}
        if self._signer is None:
            raise Credential("nothing here can sign the call")
        covered = {"content-type": headers["content-type"]}
        try:
            return await self._signer.sign(provider.sigv4.service, provider.sigv4.region, url, covered, body)
        except SecretError as error:
            raise Credential(str(error)) from error

    async def _renewed(self, provider: Provider, refused: str, signed: Mapping[str, str]) -> bool:
        """Whether the credential was rotated since it was read: then the call is worth a second try."""
        if provider.sigv4 is not None and self._signer is not None:
            return await self._signer.renewed(signed)
        return provider.auth is not None and await self._secrets.renewed(provider.auth.secret, refused)

    def _headers(self, provider: Provider, exchange: Exchange, secret: str) -> dict[str, str]:
        accept = exchange.call.headers.get("accept", "text/event-stream")
        headers = {
            "content-type": "application/json",
            "accept": accept if exchange.stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": self._user_agent,
            **provider.headers,
        }
        if provider.auth is not None:
            headers[provider.auth.header.lower()] = f"{provider.auth.scheme} {secret}".strip()
        return headers

    def _answer(self, reply: Reply, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
        """The chunks of a stream, or of a whole answer.  Raises Garbage where it is neither."""
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in self._framings and exchange.decoder is not None:
            return _events(reply, exchange.decoder(), self._framings[kind]())
        if kind == "application/json":
            return _at_once(reply, exchange)
        raise Garbage(f"it answered with {kind or 'no content type'} instead of an answer", status=200)


def named(chunk: Chunk, model: str) -> Chunk:
    """The chunk with the model that was asked, where its provider names none."""
    nameable = chunk.payload.get("object") in ("list", "chat.completion.chunk")
    if not nameable or chunk.payload.get("model"):
        return chunk
    return replace(chunk, payload={**chunk.payload, "model": model})


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is sent to a target, and how its answer is read: as a stream (`decoder`), whole, or as a failure."""

    call: Call
    stream: bool
    decoder: Callable[[], Decoder] | None
    whole: Callable[[Mapping[str, object]], list[Chunk]]
    failure: Callable[[int, Mapping[str, str], bytes], AttemptFailed]


def _exchange(request: ChatRequest | UnaryRequest, target: Target, route: Route | None) -> Exchange:
    """Raises InvalidRequest where the protocol has no place for something in the request."""
    quirks = quirks_of(target)
    if isinstance(request, UnaryRequest):
        unary = unary_wire_for(request, target)
        if unary is None:
            raise InvalidRequest(f"{target.name} has no {request.operation}.")
        call = unary.call(request, model=target.model, quirks=quirks)
        return Exchange(call, False, None, lambda body: [unary.chunk(request, body)], unary.failure)
    chat = shortened(addressed(request, target), target)
    wire, stream = wire_for(chat, target), target.capabilities.streaming
    native = is_native(chat, wire)
    may_drop = route.may_drop if route else frozenset()
    if not native and (needs := chat.needs - may_drop):
        # Where the router added to a request, it is not sent as it was written; half of it is not sent either.
        raise InvalidRequest(f"`{min(needs)}` has no place in what {target.name} would be sent.", param=min(needs))
    call = wire.call(
        chat,
        model=target.model,
        stream=stream,
        drop=dropped(chat, target, may_drop),
        max_output_tokens=target.capabilities.max_output_tokens,
        quirks=quirks,
    )
    return Exchange(
        call,
        stream,
        partial(wire.decoder, chat.choices, native=native, owner=quirks.owner),
        partial(wire.chunks, native=native, owner=quirks.owner),
        wire.failure,
    )


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What a caller may see of the answering provider's headers: its rate limits, under OpenAI's names."""
    shown = {}
    for name, value in headers.items():
        if found := _RATE_LIMIT.fullmatch(name):
            kind, what = (found["kind"], found["what"]) if found["kind"] else (found["last"], found["first"])
            shown[f"x-ratelimit-{kind}" + (f"-{what}" if what else "")] = value
    return shown


async def _at_once(reply: Reply, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
    for chunk in _whole(await _read(reply, BODY_LIMIT), exchange):
        yield chunk


async def _events(reply: Reply, decoder: Decoder, framing: Framing) -> AsyncGenerator[Chunk, None]:
    unreadable = 0
    body = aiter(reply.body())
    ended, until = False, None
    while not ended:
        until = _until(decoder, until)
        try:
            data = await _next(body, until)
            events = framing.flush() if data is None else framing.feed(data)
        except ValueError as error:
            if decoder.complete:
                return
            raise Garbage(str(error), status=200) from error
        except AttemptFailed:
            if decoder.complete:
                # The answer is whole; a connection that breaks after it breaks nothing.
                return
            raise
        ended = data is None
        for event in events:
            complete = decoder.complete
            try:
                chunks = decoder.feed(event)
            except (ValueError, RecursionError) as error:
                unreadable += 1
                if unreadable > UNREADABLE_EVENTS:
                    raise Garbage(f"its stream cannot be read: {error}", status=200) from error
                continue
            except AttemptFailed:
                if complete:
                    return
                raise
            for chunk in chunks:
                yield chunk
    if not decoder.complete:
        raise Garbage("its stream ended without a stop reason", status=200)


def _until(decoder: Decoder, until: float | None) -> float | None:
    """The moment up to which is waited for the next read: none in the answer, a little while after its stop reason,
    whatever else keeps coming, and hardly at all after its end marker."""
    now = asyncio.get_running_loop().time()
    if decoder.ended:
        return now + AFTER_END
    return until or now + TAIL if decoder.complete else None


async def _next(body: AsyncIterator[bytes], until: float | None) -> bytes | None:
    """The next read, or None at the end; one that has not come by `until` counts as come."""
    try:
        if until is None:
            return await anext(body)
        async with asyncio.timeout_at(until):
            return await anext(body)
    except (StopAsyncIteration, TimeoutError):
        return None


def _whole(body: bytes, exchange: Exchange) -> list[Chunk]:
    try:
        # NaN and the infinities are no JSON, and would break the caller's parser.
        parsed = json.loads(body, parse_constant=lambda _: None)
        if not isinstance(parsed, Mapping):
            raise ValueError("not a JSON object")
        chunks = exchange.whole(parsed)
    except (ValueError, RecursionError) as error:
        raise Garbage(f"its answer cannot be read: {error}", status=200) from error
    if not any(chunk.finish_reasons for chunk in chunks):
        raise Garbage("its answer has no stop reason", status=200)
    return chunks


async def _read(reply: Reply, limit: int, *, cut: bool = False) -> bytes:
    """The whole body; one above `limit` bytes is cut where that is allowed, else garbage."""
    parts: list[bytes] = []
    size = 0
    async for part in reply.body():
        parts.append(part)
        size += len(part)
        if size > limit:
            if cut:
                break
            raise Garbage(f"its answer is larger than {limit} bytes")
    return b"".join(parts)
