"""Who can carry a request: which protocol it would be sent in, and what would be lost on the way."""

from __future__ import annotations

from collections.abc import Iterator, Set

from understudy.catalog import Route, Target
from understudy.chat.bound import owner_of_target
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.wire import UNARY_WIRES, WIRES
from understudy.wire.base import Quirks, UnaryWire, Wire

OURS = frozenset({"stream_options"})
"""What the router answers by itself where a server does not take it: it counts by estimate then."""


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


def lost(request: ChatRequest, target: Target) -> Set[str]:
    """The names of the request's fields that would not reach the target."""
    wire = wire_for(request, target)
    refuses = target.capabilities.refuses - OURS
    refused = request.body.keys() & refuses
    if request.native and is_native(request, wire):
        # Here a field may also be named as its own protocol has it.
        return refused | (request.native.body.keys() & refuses)
    return wire.cannot_carry(request, quirks_of(target)) | request.needs | refused


def unfit(request: ChatRequest | UnaryRequest, route: Route, target: Target) -> str | None:
    """Why a target cannot carry a request, or None."""
    return next(_reasons(request, route, target), None)


def named_field(request: ChatRequest | UnaryRequest, route: Route) -> str | None:
    """The first field that some target of the route has no place for."""
    if isinstance(request, UnaryRequest):
        return None
    names = {name for candidate in route.candidates for name in lost(request, candidate.target) - route.may_drop}
    return min(names | set(_wanted(request, route)), default=None)


def _reasons(request: ChatRequest | UnaryRequest, route: Route, target: Target) -> Iterator[str]:
    can = target.capabilities
    if can.context_window is not None and request.size // 8 > can.context_window:
        # A token is rarely more than eight characters, so this never turns away what would fit.
        yield f"about {request.size // 4} tokens do not fit its window of {can.context_window}"
    if isinstance(request, UnaryRequest):
        if request.operation == "embeddings" and not can.embeddings:
            yield "it does not make embeddings"
        if unary_wire_for(request, target) is None or request.operation in can.refuses:
            yield f"it has no {request.operation.replace('_', ' ')}"
        return
    if not can.chat:
        yield "it does not answer chats"
    yield from (reason for reason, _ in _misfits(request, target))
    if names := lost(request, target) - route.may_drop:
        yield f"it cannot carry {', '.join(f'`{name}`' for name in sorted(names))}"


def _misfits(request: ChatRequest, target: Target) -> Iterator[tuple[str, str]]:
    """What the target declares that it does not take, and the field that asks for it."""
    can = target.capabilities
    kinds = request.part_types
    if request.needs_tools and not can.tools:
        yield "it does not take tools", "tools"
    if "image_url" in kinds and not can.vision:
        yield "it does not take images", kinds["image_url"]
    if "input_audio" in kinds and not can.audio:
        yield "it does not take audio", kinds["input_audio"]
    if "file" in kinds and not can.files:
        yield "it does not take files", kinds["file"]
    if request.needs_json_schema and not can.json_schema:
        yield "it does not take a JSON schema", "response_format"


def _wanted(request: ChatRequest, route: Route) -> Iterator[str]:
    for candidate in route.candidates:
        yield from (field for _, field in _misfits(request, candidate.target))
