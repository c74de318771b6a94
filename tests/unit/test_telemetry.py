"""The data plane's decisions kept in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.telemetry import KEPT, DecisionLog, kept_records


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, message: str, /, **fields: Any) -> None:
        self.told.append(("info", message, fields))

    def warning(self, message: str, /, **fields: Any) -> None:
        self.told.append(("warning", message, fields))

    def exception(self, message: str, /, **fields: Any) -> None:
        self.told.append(("exception", message, fields))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def log_in(folder: Path, recorder: Recorder) -> DecisionLog:
    return DecisionLog(recorder, folder / "decisions", lambda: 7.0)


def test_what_is_said_of_a_request_is_kept_and_handed_on(tmp_path: Path, recorder: Recorder) -> None:
    """Every record of a request can be read back in its order; the logger behind hears everything."""
    log = log_in(tmp_path, recorder)
    log.info("decision", request_id="a", ms=1.5, odd=Path("x"))
    log.info("decision", request_id="b")
    log.info("control document in force", document_version=1)
    log.warning("slow", request_id="a")
    log.exception("the router failed", request_id="a")
    assert [
        {"at": 7.0, "message": "decision", "request_id": "a", "ms": 1.5, "odd": "x"},
        {"at": 7.0, "message": "slow", "request_id": "a"},
        {"at": 7.0, "message": "the router failed", "request_id": "a"},
    ] == kept_records(tmp_path / "decisions", "a")
    assert ["info", "info", "info", "warning", "exception"] == [level for level, _, _ in recorder.told]


def test_the_latest_are_kept_and_the_file_does_not_grow_without_end(tmp_path: Path, recorder: Recorder) -> None:
    """The last 1000 records are there, the oldest are gone, and never more than twice as many are stored."""
    log = log_in(tmp_path, recorder)
    for number in range(2 * KEPT + 500):
        log.info("decision", request_id=f"r{number}")
    path = tmp_path / "decisions"
    lines = [line for file in sorted(tmp_path.iterdir(), reverse=True) for line in file.read_text().splitlines()]
    assert (1500, f"r{KEPT}", 2) == (len(lines), json.loads(lines[0])["request_id"], len(list(tmp_path.iterdir())))
    found = [len(kept_records(path, f"r{number}")) for number in (0, KEPT - 1, KEPT, 2 * KEPT, 2 * KEPT + 499)]
    assert [0, 0, 1, 1, 1] == found


def test_a_request_that_is_not_there_has_no_records(tmp_path: Path, recorder: Recorder) -> None:
    """No file, another request that mentions the id, and a half written line are no records."""
    path = tmp_path / "decisions"
    assert [] == kept_records(path, "a")
    log_in(tmp_path, recorder).info("decision", request_id="b", client="a")
    with path.open("a") as file:
        file.write('{"request_id": "a", "mess')
    assert [] == kept_records(path, "a")


def test_a_file_that_cannot_be_written_costs_no_request(tmp_path: Path, recorder: Recorder) -> None:
    """The decision goes to the logger all the same, with a warning that says what is wrong."""
    log = log_in(tmp_path / "missing", recorder)
    log.info("decision", request_id="a")
    assert ["the decision log cannot be written", "decision"] == [message for _, message, _ in recorder.told]
