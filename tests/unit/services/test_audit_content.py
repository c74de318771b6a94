"""What the audit keeps of prompts and answers, where a route asks for it."""

from __future__ import annotations

import json

import pytest

from tests.builders import request, target
from understudy.audit.chain import canonical
from understudy.catalog import Limits, Route
from understudy.facts import NO_CONSTRAINTS
from understudy.keys import ClientKey
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision
from understudy.services.audit_records import of_request
from understudy.services.handling import Handling

LINE = 256 * 1024
"""Bytes of a log event (Amazon CloudWatch Logs user guide, "Quotas")."""


def told(text: str) -> dict[str, str]:
    """The content of a record of a request that says this."""
    handling = Handling(
        id="r1",
        front="/chat/completions",
        client=ClientKey("a" * 64, "app", 0.0),
        request=request(messages=[{"role": "user", "content": text}]),
        route=Route("chat", (), audit_content=True),
        decision=Decision("chat", ()),
        bound=frozenset(),
        journal=Journal(),
        version=1,
        limits=Limits(),
        constraints=NO_CONSTRAINTS,
        started_at=0.0,
    )
    handling.journal.begin(target("lead"), 0.0)
    record = of_request(handling, None, 1.0)
    content: dict[str, str] = record["content"] | {"bytes": len(canonical(record))}
    return content


@pytest.mark.parametrize("character", ["a", "é", "漢", "😀", '"', "\x00", "\ud800"])
def test_a_record_fits_into_a_line_of_the_log(character: str) -> None:
    """Whatever is written: half a line is left for the answer, and that it was cut is said."""
    found = told(character * 40_000)
    assert (True, True) == (int(found["bytes"]) < LINE / 2, bool(found["cut"]))


def test_what_fits_is_kept_as_it_is() -> None:
    """And nothing says that it was cut."""
    found = told("hello 漢")
    assert ("hello 漢", False) == (json.loads(found["prompt"])["messages"][0]["content"], "cut" in found)
