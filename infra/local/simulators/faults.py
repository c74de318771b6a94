"""Faults on purpose: each is one small function from the healthy reply to the broken one, and one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from infra.local.simulators.answers import Answer, Ask, answer
from infra.local.simulators.golden import answered
from infra.local.simulators.replies import Piece, Reply, body_of, first_half, halfway, whole
from infra.local.simulators.wire import Wire

GARBAGE = (
    b"<!doctype html><html><head><title>Welcome</title></head>"
    b"<body><h1>[simulated] This page is no answer.</h1></body></html>"
)

NO_JSON = b'{"simulated": "[simulated] This body is no JSON.", '
WORSE = 0.7
"""The share of golden questions that a worse model still answers right."""
DEARER = 0.3
"""The part by which a dearer model writes more than it shows, and one token at least."""
BROWN = frozenset({0, 3, 6})
"""Of every ten requests those that a brownout strikes."""


@dataclass(frozen=True)
class Case:
    """What a fault may look at.

    `ask` is None when the request itself was refused; `number` counts the requests since the fault was set, from 0;
    delays are in seconds.
    """

    name: str
    wire: Wire
    model: str
    reply: Reply
    ask: Ask | None
    number: int
    first_token_delay: float
    drip_delay: float


@dataclass(frozen=True)
class Fault:
    """`replaces`: strikes whatever was asked; otherwise only an answer that would have been healthy."""

    description: str
    apply: Callable[[Case], Reply]
    replaces: bool = False


def _trouble(case: Case) -> Reply:
    return case.wire.trouble(case.name, case.model)


def _brownout(case: Case) -> Reply:
    return case.wire.trouble("http_500", case.model) if case.number % 10 in BROWN else case.reply


def _refuse_prefill(case: Case) -> Reply:
    return _trouble(case) if case.ask and case.ask.begun else case.reply


def _hang(case: Case) -> Reply:
    return replace(case.reply, silent=True, ending="hang")


def _reset(case: Case) -> Reply:
    return replace(case.reply, silent=True, ending="reset")


def _garbage(_: Case) -> Reply:
    return whole(200, "text/html; charset=utf-8", GARBAGE)


def _malformed_json(_: Case) -> Reply:
    return whole(200, "application/json", NO_JSON)


def _wrong_content_type(case: Case) -> Reply:
    return replace(case.reply, content_type="text/plain; charset=utf-8")


def _cut_midstream(case: Case) -> Reply:
    return replace(first_half(case.reply), ending="close")


def _stall_midstream(case: Case) -> Reply:
    return replace(first_half(case.reply), ending="hang")


def _slow_first_token(case: Case) -> Reply:
    return replace(case.reply, wait=case.first_token_delay)


def _slow_drip(case: Case) -> Reply:
    """A whole answer comes when its last token would have."""
    tokens = answer(case.ask).output_tokens if case.ask and not case.reply.streamed else 1
    return replace(case.reply, wait=case.drip_delay * tokens, pace=case.drip_delay)


def _error_first_event(case: Case) -> Reply:
    return case.wire.first_error(case.reply.streamed)


def _error_midstream(case: Case) -> Reply:
    """A whole answer has no middle: the error comes in its place."""
    broken_off = case.wire.first_error(case.reply.streamed)
    if not case.reply.streamed:
        return broken_off
    return replace(case.reply, pieces=(*first_half(case.reply).pieces, *broken_off.pieces))


def _empty_answer(case: Case) -> Reply:
    return case.wire.render(case.ask, Answer()) if case.ask else case.reply


def _refuse_content(case: Case) -> Reply:
    return case.wire.refusal(case.ask) if case.ask else case.reply


def _worse(case: Case) -> Reply:
    return case.wire.render(case.ask, answered(case.ask, WORSE)) if case.ask else case.reply


def _dearer(case: Case) -> Reply:
    if case.ask is None:
        return case.reply
    said = answered(case.ask)
    return case.wire.render(case.ask, replace(said, hidden=max(1, round(DEARER * said.output_tokens))))


def _swapped(case: Case) -> Reply:
    """Right as before, in other words, and under another fingerprint."""
    if case.ask is None:
        return case.reply
    said = answered(case.ask)
    if said.text.startswith("["):
        said = replace(said, text=said.text.replace("[simulated", "Simulated: [", 1))
    return case.wire.render(replace(case.ask, version="swapped"), said)


def _end_midstream(case: Case) -> Reply:
    if case.reply.streamed:
        return first_half(case.reply)
    body = body_of(case.reply)
    return whole(case.reply.status, case.reply.content_type, body[: len(body) // 2], case.reply.headers)


def _truncated_json(case: Case) -> Reply:
    """HTTP ends cleanly, the JSON does not: the difference from a cut connection."""
    if not case.reply.streamed:
        return _end_midstream(case)
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
    "http_429_bare": Fault("HTTP 429, rate limited, without a word on how long", _trouble, replaces=True),
    "retry_after": Fault("HTTP 429, rate limited, with retry-after: 2", _trouble, replaces=True),
    "quota": Fault("the account is out of credit, said as the provider says it", _trouble, replaces=True),
    "brownout": Fault(
        "HTTP 500 to three of every ten requests: the first, the fourth, the seventh", _brownout, replaces=True
    ),
    "http_401": Fault("HTTP 401, the key is refused", _trouble, replaces=True),
    "context_length": Fault("HTTP 400, the conversation is too long", _trouble, replaces=True),
    "model_not_found": Fault("HTTP 404, no such model", _trouble, replaces=True),
    "hang": Fault("accepts and reads the request, never answers", _hang, replaces=True),
    "reset": Fault("resets the connection (TCP RST) instead of answering", _reset, replaces=True),
    "garbage": Fault("HTTP 200 with an HTML page", _garbage, replaces=True),
    "malformed_json": Fault(
        "HTTP 200 with a JSON content type and a body that is none", _malformed_json, replaces=True
    ),
    "wrong_content_type": Fault("the answer, under the content type text/plain", _wrong_content_type),
    "cut_midstream": Fault("half of the answer, then the connection is closed", _cut_midstream),
    "stall_midstream": Fault("half of the answer, then silence on the open connection", _stall_midstream),
    "end_midstream": Fault("half of the answer on a cleanly ended response, without a stop reason", _end_midstream),
    "error_midstream": Fault("half of the answer, then an error event, then the stream ends", _error_midstream),
    "slow_drip": Fault("one token every 2 s", _slow_drip),
    "slow_first_token": Fault("the first token comes only after 20 s", _slow_first_token),
    "error_first_event": Fault("HTTP 200 whose first event (or body) is an error", _error_first_event),
    "empty_answer": Fault("HTTP 200 with empty content and a normal stop reason", _empty_answer),
    "truncated_json": Fault("JSON that ends in the middle, on a cleanly ended response", _truncated_json),
    "missing_done": Fault("a stream with its stop reason but without its closing marker", _missing_done),
    "malformed_event": Fault("one unreadable event in the middle of a whole stream", _malformed_event),
    "refuse_prefill": Fault("HTTP 400 to a conversation that ends with the beginning of the answer", _refuse_prefill),
    "worse": Fault("three of ten golden questions are answered wrong", _worse),
    "dearer": Fault("every answer is counted as 30 % more tokens than it shows", _dearer),
    "swapped": Fault("another model behind the name: other first words, another system_fingerprint", _swapped),
    "refuse_content": Fault("the provider's content filter refuses", _refuse_content),
}

FAULTS: Mapping[str, str] = {name: fault.description for name, fault in TABLE.items()}


def broken(case: Case) -> Reply:
    """The reply as the fault named in the case makes it."""
    fault = TABLE[case.name]
    return fault.apply(case) if fault.replaces or case.ask is not None else case.reply
