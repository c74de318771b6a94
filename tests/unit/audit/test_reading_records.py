"""Records come out of every file that holds them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable

import pytest

from tests.audited import Writer, sorts, verified
from understudy.audit.reading import Noted, entries

OTHER = '{"level":"INFO","message":"decision","request_id":"r1"}'


def envelope(lines: list[str]) -> str:
    """What CloudWatch sends to a subscription (Amazon CloudWatch Logs user guide, "Subscription filters")."""
    events = [{"id": str(n), "timestamp": n, "message": f"{line}\n"} for n, line in enumerate(lines)]
    return json.dumps({"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": events})


def halves(lines: list[str], write: Callable[[str], bytes]) -> bytes:
    return write(envelope(lines[:2])) + write(envelope(lines[2:]))


FORMS: dict[str, Callable[[list[str]], bytes]] = {
    "lines": lambda lines: "\n".join([OTHER, *lines, OTHER]).encode(),
    "windows": lambda lines: "\r\n".join(lines).encode() + b"\r\n",
    "compressed lines": lambda lines: gzip.compress("\n".join(lines).encode()),
    "compressed over": lambda lines: gzip.compress(gzip.compress("\n".join(lines).encode())),
    "envelopes in lines": lambda lines: halves(lines, lambda text: text.encode() + b"\n"),
    "envelopes joined": lambda lines: halves(lines, str.encode),
    "envelopes compressed each for itself": lambda lines: halves(lines, lambda text: gzip.compress(text.encode())),
    "an export with times": lambda lines: "\n".join(f"2026-12-10T10:00:00.000Z {line}" for line in lines).encode(),
    "an answer of the command line": lambda lines: json.dumps(
        {"events": [{"message": line, "eventId": "1"} for line in lines]}, indent=4
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_records_are_found_in(form: str) -> None:
    """All of them, once, whole."""
    writer = Writer().written(4)
    report = verified([FORMS[form](writer.lines)], [writer.head])
    assert ((), 4) == (report.flaws, report.records)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\n\n",
        b"not json",
        b'{"message":"audit"}',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"logEvents":[1,{"message":2}]}',
        OTHER.encode(),
    ],
)
def test_what_is_no_record_is_passed_over(odd: bytes) -> None:
    """Other lines of a log, and rubbish, are neither records nor flaws."""
    assert ((), 0) == (verified([odd]).flaws, verified([odd]).records)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"audit":{"v":1',
        b'{"audit":{"v":2},"record":{}}',
        b'{"audit":7,"record":{}}',
        b'{"audit":{"v":1},"record":[]}',
    ],
)
def test_what_says_that_it_is_one_and_is_not_is_told(broken: bytes) -> None:
    """A record that cannot be read is missing, with its place."""
    assert [("missing", 0)] == sorts(verified([broken]))


def test_a_file_that_breaks_off_is_told() -> None:
    """What could be read counts; the rest is missing, and nothing is raised."""
    writer = Writer().written(200)
    whole = gzip.compress("\n".join(writer.lines).encode())
    report = verified([whole[: len(whole) // 2]], [writer.head])
    assert {"missing"} == {flaw.sort for flaw in report.flaws}


def test_seals_in_the_log_are_read_too() -> None:
    """So that the table's can be held against them."""
    line = b'{"message":"audit seal","day":"2026-12-10","hash":"abc"}'
    assert [Noted("2026-12-10", "abc")] == list(entries(io.BytesIO(line), "f"))
