"""Binary event streams, cut anywhere and damaged in every place, read as botocore reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.simulators.bedrock_frames import event, exception, frame
from understudy.transport.eventstream import HEADERS_LIMIT, EventStream
from understudy.wire.base import Event

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
SAID = [("contentBlockDelta", '{"delta":{"text":"é𝄞"}}'), ("messageStop", "{}"), ("metadata", '{"usage":{}}')]
RAW = b"".join(event(name, data.encode()) for name, data in SAID)
EVENTS = [Event(name, data) for name, data in SAID]


def read(*reads: bytes) -> list[Event]:
    stream = EventStream(Event)
    return [event for data in reads for event in stream.feed(data)] + stream.flush()


def test_frames_cut_at_every_byte_are_the_same_events() -> None:
    """Two reads, or one for each byte, give what one read gives."""
    assert EVENTS == read(RAW)
    assert [EVENTS] * len(RAW) == [read(RAW[:at], RAW[at:]) for at in range(len(RAW))]
    assert EVENTS == read(*(RAW[at : at + 1] for at in range(len(RAW))))


def test_an_event_comes_with_its_last_byte() -> None:
    """Nothing is held back until the next read."""
    stream, first = EventStream(Event), event(*_packed(SAID[0]))
    assert ([], EVENTS[:1]) == (stream.feed(first[:-1]), stream.feed(first[-1:]))


def _packed(said: tuple[str, str]) -> tuple[str, bytes]:
    return said[0], said[1].encode()


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=300)), max_size=5), st.integers(1, 50))
def test_frames_are_those_of_botocore(said: list[tuple[str, str]], size: int) -> None:
    """Names and payloads are the ones that the SDK reads from the same bytes."""
    raw = b"".join(event(name, data.encode("utf-8", "replace")) for name, data in said)
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    expected = [Event(m.headers[":event-type"], m.payload.decode()) for m in buffer]
    assert expected == read(*(raw[at : at + size] for at in range(0, len(raw), size)))


def test_an_exception_says_so_in_its_name() -> None:
    """A modelled exception by its type, an unmodelled error by its code, with its words as an object."""
    told = exception("throttlingException", b'{"message":"slow down"}')
    error = frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "m"}, b"")
    assert [
        Event("exception:throttlingException", '{"message":"slow down"}'),
        Event("exception:InternalFailure", json.dumps({"message": "m"})),
    ] == read(told + error)


@pytest.mark.parametrize("at", range(len(event(*_packed(SAID[1])))))
def test_a_damaged_byte_is_noticed(at: int) -> None:
    """Any byte that is not the one that was sent ends the stream, or keeps its frame from being whole."""
    damaged = bytearray(event(*_packed(SAID[1])))
    damaged[at] ^= 0x01
    try:
        assert [] == read(bytes(damaged))
    except ValueError as error:
        assert "frame of the event stream" in str(error)


def test_what_came_before_a_damaged_frame_is_given_out_first() -> None:
    """However the bytes were cut: the events before it, then the error, and nothing after it."""
    damaged = RAW[:-1] + bytes([RAW[-1] ^ 1])
    for size in (1, 7, len(damaged)):
        stream, events = EventStream(Event), []
        with pytest.raises(ValueError, match="ChecksumMismatch"):
            for at in range(0, len(damaged), size):
                events += stream.feed(damaged[at : at + size])
            events += stream.flush()
        assert EVENTS[:2] == events


def test_the_end_in_the_middle_of_a_frame_says_nothing() -> None:
    """What is not whole is no event; that the answer has no stop reason is for others to see."""
    assert EVENTS[:2] == read(RAW[:-1])


BAD = [
    (2**31).to_bytes(4, "big") + bytes(8),
    (HEADERS_LIMIT + 100).to_bytes(4, "big") + (HEADERS_LIMIT + 1).to_bytes(4, "big") + bytes(4),
    bytes(12),
    (20).to_bytes(4, "big") + (16).to_bytes(4, "big") + bytes(4),
    b"data: {}\n\ndata: {}\n\n",
    b"<!doctype html><html></html>",
    frame({}, b"{}"),
    frame({":message-type": "zzz"}, b"{}"),
]


@pytest.mark.parametrize("raw", BAD)
def test_what_is_no_frame_is_refused_at_once(raw: bytes) -> None:
    """Lengths that cannot be, other formats and frames of no kind raise before anything is kept of them."""
    with pytest.raises(ValueError, match="frame of the event stream"):
        read(raw)


def test_a_frame_has_a_largest_size() -> None:
    """The bound is on the frame as it says it is, so that nothing is gathered first."""
    small = EventStream(Event, limit=len(RAW))
    assert EVENTS == small.feed(RAW)
    with pytest.raises(ValueError, match="larger than"):
        small.feed(event("x", bytes(len(RAW)))[:12])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_any_bytes_are_read_or_refused(raw: bytes, size: int) -> None:
    """Nothing but ValueError comes out of bytes of any kind."""
    stream = EventStream(Event)
    try:
        for at in range(0, len(raw), size):
            stream.feed(raw[at : at + size])
        stream.flush()
    except ValueError:
        return


def test_the_module_costs_nothing_until_a_frame_comes() -> None:
    """Neither the framing nor the signing loads the SDK when it is imported or built."""
    script = (
        "import sys; import understudy.transport.eventstream as e, understudy.transport.sigv4 as s;"
        "e.EventStream(print).feed(b'abc'); s.SigV4Signer(print, print, print);"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('boto3', 'botocore')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=FUNCTIONS, capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
