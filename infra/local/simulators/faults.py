"""Faults on purpose: each is one small function from the healthy reply to the broken one, and one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from infra.local.simulators.answers import Answer, Ask
from infra.local.simulators.replies import Piece, Reply, body_of, first_half, halfway, whole
from infra.local.simulators.wire import Wire

GARBAGE = (
    b"<!doctype html><html><head><title>Welcome</title></head>"
    b"<body><h1>[simulated] This page is no answer.</h1></body></html>"
)


@dataclass(frozen=True)
class Case:
    """What a fault may look at; `ask` is None when the request itself was refused."""

    name: str
    wire: Wire
    model: str
    reply: Reply
    ask: Ask | None
    first_token_delay: float


@dataclass(frozen=True)
class Fault:
    """`replaces`: strikes whatever was asked; otherwise only an answer that would have been healthy."""

    description: str
    apply: Callable[[Case], Reply]
    replaces: bool = False


def _trouble(case: Case) -> Reply:
    return case.wire.trouble(case.name, case.model)


def _hang(case: Case) -> Reply:
    return replace(case.reply, silent=True, ending="hang")


def _reset(case: Case) -> Reply:
    return replace(case.reply, silent=True, ending="reset")


def _garbage(_: Case) -> Reply:
    return whole(200, "text/html; charset=utf-8", GARBAGE)


def _cut_midstream(case: Case) -> Reply:
    return replace(first_half(case.reply), ending="close")


def _stall_midstream(case: Case) -> Reply:
    return replace(first_half(case.reply), ending="hang")


def _slow_first_token(case: Case) -> Reply:
    return replace(case.reply, wait=case.first_token_delay)


def _error_first_event(case: Case) -> Reply:
    return case.wire.first_error(case.reply.streamed)


def _empty_answer(case: Case) -> Reply:
    return case.wire.render(case.ask, Answer()) if case.ask else case.reply


def _refuse_content(case: Case) -> Reply:
    return case.wire.refusal(case.ask) if case.ask else case.reply


def _truncated_json(case: Case) -> Reply:
    """HTTP ends cleanly, the JSON does not: the difference from a cut connection."""
    if not case.reply.streamed:
        body = body_of(case.reply)
        return whole(case.reply.status, case.reply.content_type, body[: len(body) // 2], case.reply.headers)
    kept = first_half(case.reply).pieces
    last = kept[-1].data
    return replace(case.reply, pieces=(*kept[:-1], Piece("token", last[: len(last) * 3 // 4] + b"\n\n")))


def _missing_done(case: Case) -> Reply:
    return replace(case.reply, pieces=tuple(piece for piece in case.reply.pieces if piece.kind != "end"))


def _malformed_event(case: Case) -> Reply:
    if not case.reply.streamed:
        return case.reply
    pieces, middle = case.reply.pieces, halfway(case.reply) + 1
    return replace(case.reply, pieces=(*pieces[:middle], case.wire.unreadable, *pieces[middle:]))


TABLE: Mapping[str, Fault] = {
    "http_500": Fault("HTTP 500, the provider's internal error", _trouble, replaces=True),
    "http_503": Fault("HTTP 503, service unavailable", _trouble, replaces=True),
    "http_529": Fault("HTTP 529, overloaded", _trouble, replaces=True),
    "http_429": Fault("HTTP 429, rate limited, with retry-after: 30", _trouble, replaces=True),
    "http_401": Fault("HTTP 401, the key is refused", _trouble, replaces=True),
    "context_length": Fault("HTTP 400, the conversation is too long", _trouble, replaces=True),
    "model_not_found": Fault("HTTP 404, no such model", _trouble, replaces=True),
    "hang": Fault("accepts and reads the request, never answers", _hang, replaces=True),
    "reset": Fault("resets the connection (TCP RST) instead of answering", _reset, replaces=True),
    "garbage": Fault("HTTP 200 with an HTML page", _garbage, replaces=True),
    "cut_midstream": Fault("half of the answer, then the connection is closed", _cut_midstream),
    "stall_midstream": Fault("half of the answer, then silence on the open connection", _stall_midstream),
    "slow_first_token": Fault("the first token comes only after 20 s", _slow_first_token),
    "error_first_event": Fault("HTTP 200 whose first event (or body) is an error", _error_first_event),
    "empty_answer": Fault("HTTP 200 with empty content and a normal stop reason", _empty_answer),
    "truncated_json": Fault("JSON that ends in the middle, on a cleanly ended response", _truncated_json),
    "missing_done": Fault("a stream with its stop reason but without its closing marker", _missing_done),
    "malformed_event": Fault("one unreadable event in the middle of a whole stream", _malformed_event),
    "refuse_content": Fault("the provider's content filter refuses", _refuse_content),
}

FAULTS: Mapping[str, str] = {name: fault.description for name, fault in TABLE.items()}


def broken(case: Case) -> Reply:
    """The reply as the fault named in the case makes it."""
    fault = TABLE[case.name]
    return fault.apply(case) if fault.replaces or case.ask is not None else case.reply
