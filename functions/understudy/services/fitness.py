"""Who can carry a request: which protocol it would be sent in, and what would be lost on the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from understudy.catalog import Route, Target
from understudy.chat.bound import owner_of_target, without_others
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.wire import UNARY_WIRES, WIRES
from understudy.wire.base import Quirks, UnaryWire, Wire

OURS = frozenset({"parallel_tool_calls", "stream_options"})
"""What the router sees to by itself where a target does not take it: of several calls it gives on the first, where the
caller wants one at a time, and it counts by estimate."""
SHOWN = frozenset({"annotations", "reasoning", "reasoning_content", "reasoning_details"})
"""What an answer shows of its making.  Echoed in a conversation it says nothing that a target must know."""
IDLE: Mapping[str, object] = {
    "frequency_penalty": 0,
    "logprobs": False,
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "service_tier": "auto",
    "store": False,
    "temperature": 1,
    "top_p": 1,
}
"""Values that a field has where it is not given (OpenAI API reference, "Create chat completion"); generated clients
send them."""


LENGTHS = frozenset({"max_completion_tokens", "max_tokens", "max_output_tokens"})
"""What the longest answer is called: by the two names of the chat API, and by that of the Responses API."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something of a request that a target cannot carry: why, and the field that asks for it."""

    reason: str
    field: str
    code: str = "unsupported_parameter"


def wire_for(request: ChatRequest, target: Target) -> Wire:
    """The protocol in which the target is asked.

    A caller's own protocol is spoken on where the target does too, except for what the router adds in the middle of an
    answer: the Responses API cannot be asked to go on with somebody else's.
    """
    native = request.native
    if native and native.protocol == "responses" and target.capabilities.responses and not request.appended:
        return WIRES["responses"]
    return WIRES[target.provider.wire]


def unary_wire_for(request: UnaryRequest, target: Target) -> UnaryWire | None:
    """How the target is asked for such a thing, or None where its protocol has no way to."""
    return UNARY_WIRES.get((target.provider.wire, request.operation))


def is_native(request: ChatRequest, wire: Wire) -> bool:
    """Whether the caller speaks the wire's own protocol, so that what it wrote is sent on."""
    return request.native is not None and request.native.protocol == wire.protocol


def quirks_of(target: Target) -> Quirks:
    can = target.capabilities
    return Quirks(owner_of_target(target.name), target.provider.rename, can.reasoning_control, can.image_urls)


def addressed(request: ChatRequest, target: Target) -> ChatRequest:
    """The request as the target may have it: without the signatures that only another can read again."""
    messages = without_others(request.messages, owner_of_target(target.name))
    return request if messages is request.messages else replace(request, body={**request.body, "messages": messages})


def too_long(request: ChatRequest, target: Target) -> str | None:
    """The field that asks for a longer answer than the target gives, or None."""
    asked, most = request.max_output_tokens, target.capabilities.max_output_tokens
    if asked is None or most is None or asked <= most:
        return None
    return next(name for name in ("max_completion_tokens", "max_tokens") if name in request.body)


def shortened(request: ChatRequest, target: Target) -> ChatRequest:
    """The request with no longer an answer than the target gives; its route has agreed to that by `may_drop`."""
    if too_long(request, target) is None:
        return request
    most = target.capabilities.max_output_tokens
    native = request.native
    if native is not None:
        native = replace(native, body={**native.body, **dict.fromkeys(LENGTHS & native.body.keys(), most)})
    body = {**request.body, **dict.fromkeys(LENGTHS & request.body.keys(), most)}
    return replace(request, body=body, native=native)


def lost(request: ChatRequest, target: Target) -> Set[str]:
    """The names of the request's fields that would not reach the target."""
    request = addressed(request, target)
    return _lost(request, target, _unplaced(request, target))


def dropped(request: ChatRequest, target: Target, may_drop: Set[str]) -> Set[str]:
    """What an `addressed` request is sent without: what says nothing, what the router sees to by itself, and what would
    be lost where its route agrees to that."""
    drop = idle(request, target)
    if not may_drop and not OURS & request.body.keys():
        return drop
    unplaced = _unplaced(request, target)
    return drop | (OURS & unplaced) | (may_drop & _lost(request, target, unplaced))


def _unplaced(request: ChatRequest, target: Target) -> Set[str]:
    """What the target's protocol has no place for; nothing where the caller speaks it."""
    wire = wire_for(request, target)
    return frozenset() if is_native(request, wire) else wire.cannot_carry(request, quirks_of(target))


def _lost(request: ChatRequest, target: Target, unplaced: Set[str]) -> Set[str]:
    refuses, unsaid = target.capabilities.refuses, idle(request, target)
    refused = (request.body.keys() & refuses) - unsaid
    if request.native and is_native(request, wire_for(request, target)):
        # Here a field may also be named as its own protocol has it.
        named = (request.native.body.keys() & (refuses - OURS)) - unsaid
        return refused | named | set(foreign(request, target))
    return (unplaced - OURS) | request.needs | refused


def foreign(request: ChatRequest, target: Target) -> list[str]:
    """The names of the fields that another target alone can serve."""
    return sorted(name for name, owner in request.owned.items() if owner != owner_of_target(target.name))


def idle(request: ChatRequest, target: Target) -> Set[str]:
    """What the target refuses and may be left out, because it says nothing: fields with the value that they have where
    they are not given, what the router sees to by itself, and what earlier answers showed of their making."""
    refuses = target.capabilities.refuses
    unsaid = {name for name in request.body.keys() & refuses & IDLE.keys() if request.body[name] == IDLE[name]}
    return unsaid | ((OURS | SHOWN) & refuses)


def unfit(request: ChatRequest | UnaryRequest, route: Route, target: Target) -> str | None:
    """Why a target cannot carry a request, or None."""
    misfit = next(_misfits(request, route, target), None)
    return misfit.reason if misfit else None


def offence(request: ChatRequest | UnaryRequest, route: Route, targets: Collection[str] | None = None) -> Misfit | None:
    """Where none of these targets of the route (None: of all) can carry the request: what stands first in it of all
    that one of them cannot."""
    asked = [c.target for c in route.candidates if targets is None or c.target.name in targets]
    found = [misfit for target in asked for misfit in _misfits(request, route, target)]
    places = {name: place for place, name in enumerate(request.body)}
    return min(found, key=lambda misfit: _place(misfit.field, places), default=None)


def _place(field: str, places: Mapping[str, int]) -> tuple[int, ...]:
    """The order of fields in the request: by the place of their root, then by the numbers in their path."""
    root = re.split(r"[.\[]", field, maxsplit=1)[0]
    return (places.get(root, len(places)), *map(int, re.findall(r"\[(\d+)\]", field)))


def _misfits(request: ChatRequest | UnaryRequest, route: Route, target: Target) -> Iterator[Misfit]:
    can = target.capabilities
    if can.context_window is not None and request.size // 8 > can.context_window:
        # A token is rarely more than eight characters, so this never turns away what would fit.
        asked = next((name for name in ("messages", "input") if name in request.body), "messages")
        words = f"about {request.size // 4} tokens do not fit its window of {can.context_window}"
        yield Misfit(words, asked, "context_length_exceeded")
    if isinstance(request, UnaryRequest):
        if request.operation == "embeddings" and not can.embeddings:
            yield Misfit("it does not make embeddings", "model")
        if unary_wire_for(request, target) is None or request.operation in can.refuses:
            yield Misfit(f"it has no {request.operation.replace('_', ' ')}", "model")
        return
    if not can.chat:
        yield Misfit("it does not answer chats", "model")
    yield from _undeclared(request, target)
    if (field := too_long(request, target)) and field not in route.may_drop:
        yield Misfit(f"it answers with at most {can.max_output_tokens} tokens", field)
    for name in foreign(request, target):
        if name not in route.may_drop:
            yield Misfit(f"`{name}` names what another target has", name)
    for name in sorted(lost(request, target) - route.may_drop):
        yield Misfit(f"it cannot carry `{name}`", name)


def _undeclared(request: ChatRequest, target: Target) -> Iterator[Misfit]:
    """What the target declares that it does not take, and the field that asks for it."""
    can, body = target.capabilities, request.body
    kinds = request.part_types
    if not can.tools and (field := _tools_in(request)):
        yield Misfit("it does not take tools", field)
    for kind, able, words in (
        ("image_url", can.vision, "it does not take images"),
        ("input_audio", can.audio, "it does not take audio"),
        ("file", can.files, "it does not take files"),
    ):
        if kind in kinds and not able:
            yield Misfit(words, kinds[kind])
    if not can.image_urls and (field := _address_in(request)):
        yield Misfit("it does not fetch images by their address", field)
    if not can.audio and (field := next((name for name in ("audio", "modalities") if _speaks(name, body)), None)):
        yield Misfit("it does not answer in audio", field)
    if request.needs_json_schema and not can.json_schema:
        yield Misfit("it does not take a JSON schema", "response_format")


def _tools_in(request: ChatRequest) -> str | None:
    """The field that needs tools: those offered, in the older form too, or a call made earlier."""
    offered = next((name for name in ("tools", "functions") if request.body.get(name)), None)
    called = (i for i, m in enumerate(request.messages) if m.get("tool_calls") or m.get("function_call"))
    return offered or next((f"messages[{i}].tool_calls" for i in called), None)


def _address_in(request: ChatRequest) -> str | None:
    """The path of the first image that would have to be fetched: its address is no `data:`."""
    for i, message in enumerate(request.messages):
        content = message.get("content")
        for j, part in enumerate(content if isinstance(content, list) else ()):
            image = part.get("image_url") if part["type"] == "image_url" else None
            url = image.get("url") if isinstance(image, Mapping) else image
            if isinstance(url, str) and not url.lower().startswith("data:"):
                return f"messages[{i}].content[{j}].image_url"
    return None


def _speaks(name: str, body: Mapping[str, Any]) -> bool:
    """Whether a field asks for an answer in audio."""
    value = body.get(name)
    return bool(value) if name == "audio" else isinstance(value, list) and "audio" in value
