"""The table of metrics, and the log lines on which they ride."""

from __future__ import annotations

import io
import json
import logging
import re
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from understudy import ports
from understudy.metrics import METRICS, Measured, own_failure
from understudy.telemetry import CHATTY, JsonLogger

NOW = 1_800_000_000.25
NUMBERS = count()
"""The library has one logger for each name, which keeps the stream it was made with."""


class Stream(io.StringIO):
    """Keeps every write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str, /) -> int:
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def logger(stream: Stream, **options: Any) -> JsonLogger:
    with redirect_stdout(stream):
        return JsonLogger(f"room-{next(NUMBERS)}", "INFO", clock=lambda: NOW, **options)


def lines(stream: Stream) -> list[dict[str, Any]]:
    return [json.loads(line) for line in "".join(stream.writes).splitlines()]


def counted(line: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    """What CloudWatch reads out of a line, by its specification: (dimension, its value, metric) to the value."""
    found = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert {"Namespace", "Dimensions", "Metrics"} == directive.keys()
        ((dimension,),) = directive["Dimensions"]
        for metric in directive["Metrics"]:
            assert {"Name": metric["Name"], "Unit": METRICS[metric["Name"]].unit} == metric
            assert isinstance(line[dimension], str)
            found[dimension, line[dimension], metric["Name"]] = line[metric["Name"]]
    return found


def test_one_line_is_logged_and_counted(stream: Stream) -> None:
    """The fields of a line stand beside its metrics, each set with its own dimension."""
    target = Measured("target", "lead", {"Failures": [1, 0], "Cost": 0.002})
    route = Measured("route", "chat", {"Errors": 0})
    logger(stream).info("decision", metrics=[target, route], request_id="r", target="lead")
    (line,) = lines(stream)
    assert ("decision", "r", "lead", "chat") == (line["message"], line["request_id"], line["target"], line["route"])
    assert int(NOW * 1000) == line["_aws"]["Timestamp"]
    assert {"Understudy"} == {one["Namespace"] for one in line["_aws"]["CloudWatchMetrics"]}
    assert {
        ("target", "lead", "Failures"): [1, 0],
        ("target", "lead", "Cost"): 0.002,
        ("route", "chat", "Errors"): 0,
    } == counted(line)


def test_a_failure_of_ours_is_counted_for_its_room(stream: Stream) -> None:
    """The room is the one dimension of our own failures, and the line has it anyway."""
    told = logger(stream, namespace="staging")
    told.warning("the table cannot be read", metrics=[own_failure("StoreErrors")])
    (line,) = lines(stream)
    assert {("service", line["service"], "StoreErrors"): 1} == counted(line)
    assert "staging" == line["_aws"]["CloudWatchMetrics"][0]["Namespace"]
    assert re.fullmatch(r"room-\d+", line["service"])


def test_a_room_is_not_called_by_the_name_that_all_share(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template gives all functions one service name; the alarms ask for the room's own."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "understudy")
    logger(stream).info("x", metrics=[own_failure("StoreErrors")])
    (line,) = lines(stream)
    assert line["service"].startswith("room-")


def test_a_line_without_metrics_is_a_plain_one(stream: Stream) -> None:
    """Nothing is added where nothing is measured."""
    logger(stream).info("probe", target="lead")
    (line,) = lines(stream)
    assert {"level", "message", "timestamp", "service", "target"} == line.keys()


def test_every_line_is_one_write(stream: Stream) -> None:
    """Lines of different threads cannot get into one another."""
    told = logger(stream)
    for number in range(3):
        told.info("one", number=number, metrics=[own_failure("StoreErrors")])
    assert [(True, 1)] * 3 == [(text.endswith("\n"), text.count("\n")) for text in stream.writes]


def test_levels_are_believed_by_lambda(stream: Stream) -> None:
    """Lambda reads a line's level only where its timestamp is of RFC 3339."""
    logger(stream).warning("slow")
    (line,) = lines(stream)
    assert "WARNING" == line["level"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(\+\d\d:\d\d|Z)", line["timestamp"])


@pytest.mark.parametrize(
    ("measured", "error"),
    [(Measured("target", "lead", {"Errors": 1}), ValueError), (Measured("target", "lead", {"Prompts": 1}), KeyError)],
)
def test_a_metric_that_is_not_in_the_table_cannot_be_written(
    measured: Measured, error: type[Exception], stream: Stream
) -> None:
    """A name that nobody knows, and a known one with another dimension, raise."""
    with pytest.raises(error):
        logger(stream).info("x", metrics=[measured])


def test_units_are_cloudwatchs_own() -> None:
    """CloudWatch drops a metric whose unit it does not know."""
    # Amazon CloudWatch API reference, "MetricDatum"; dollars have none.
    known = {"Count", "Count/Second", "Milliseconds", "Percent", "None"}
    assert set() == {metric.unit for metric in METRICS.values()} - known


def test_a_discreet_room_does_not_repeat_what_an_exception_says(stream: Stream) -> None:
    """Kinds and places of the exception and of its cause are logged; its words are not."""
    told: ports.Logger = logger(stream, discreet=True)
    try:
        try:
            int("marked prompt")
        except ValueError as error:
            raise KeyError("marked answer") from error
    except KeyError:
        told.exception("the router failed", metrics=[own_failure("RouterErrors")])
    (line,) = lines(stream)
    assert ["KeyError", "ValueError"] == [one["kind"] for one in line["exceptions"]]
    assert {Path(__file__).name} == {place.partition(":")[0] for one in line["exceptions"] for place in one["at"]}
    assert ("ERROR", False) == (line["level"], "marked" in "".join(stream.writes))


def test_other_rooms_say_what_an_exception_says(stream: Stream) -> None:
    """Where no caller's words can be, the traceback is whole."""
    try:
        raise ValueError("why")
    except ValueError:
        logger(stream).exception("a record could not be handled")
    (line,) = lines(stream)
    assert ("ValueError", True) == (line["exception_name"], "why" in line["exception"])


def test_libraries_do_not_log_what_they_carry(stream: Stream) -> None:
    """At level DEBUG the AWS library would log the secrets that it reads, and the HTTP one each call."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        logger(stream)
        chatty = [name for name in CHATTY if logging.getLogger(f"{name}.parsers").isEnabledFor(logging.INFO)]
    finally:
        root.setLevel(before)
    assert [] == chatty
