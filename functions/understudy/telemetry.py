"""The only constructor of Powertools objects: structured JSON logs, without prompts, answers or keys, and the metrics
that ride on them.

The metrics are written here and not by Powertools' own: those cost no import time beside its logger (0.1 ms of 90,
Python 3.13 with byte code), but 31 µs and a line of their own for each set of dimensions, and cannot join a line that
is logged anyway.  Here the line of a request counts its target and its route as well.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from aws_lambda_powertools.logging import Logger

from understudy import ports
from understudy.metrics import METRICS, NAMESPACE, Dimension, Measured

KEPT = 1000
"""Records that a decision log keeps at least; at most twice as many."""
CHATTY = ("boto3", "botocore", "httpx", "httpcore", "urllib3")
"""Libraries that would log what they send and receive, secrets among it, at the level of the room."""


class JsonLogger:
    """See `understudy.ports.Logger`: one JSON line a call, fields beside the message, written at once.

    `discreet`: of an exception its kinds and places are told, not its words, which may carry what a caller wrote.
    """

    def __init__(
        self,
        service: str,
        level: str,
        *,
        namespace: str = NAMESPACE,
        discreet: bool = False,
        clock: ports.Clock = time.time,
    ) -> None:
        # Lambda believes a line's level only beside an RFC 3339 timestamp (AWS Lambda developer guide, "Log-level
        # filtering").
        self._logger = Logger(service=service, level=level, location=None, use_rfc3339=True)
        self._namespace = namespace
        self._discreet = discreet
        self._clock = clock
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)

    def info(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        self._logger.info(message, extra=self._with(metrics, fields))

    def warning(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        self._logger.warning(message, extra=self._with(metrics, fields))

    def exception(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        extra = self._with(metrics, fields)
        if self._discreet:
            self._logger.error(message, extra={**extra, "exceptions": list(_places())})
        else:
            self._logger.exception(message, extra=extra)

    def _with(self, metrics: Sequence[Measured], fields: dict[str, Any]) -> dict[str, Any]:
        """The fields, with what CloudWatch needs to count the metrics.

        Source: Amazon CloudWatch user guide, "Specification: Embedded metric format".  Values and dimensions are
        members of the line itself, `_aws` says which; `service` is there already.
        """
        if not metrics:
            return fields
        line = dict(fields)
        for measured in metrics:
            line.update(measured.values)
            if measured.by != "service":
                line[measured.by] = measured.of
        directives = [_directive(self._namespace, measured.by, tuple(measured.values)) for measured in metrics]
        line["_aws"] = {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": directives}
        return line


@cache
def _directive(namespace: str, by: Dimension, names: tuple[str, ...]) -> Mapping[str, Any]:
    """Raises ValueError for a metric that has another dimension, KeyError for one that is not in the table."""
    if strangers := [name for name in names if METRICS[name].by != by]:
        raise ValueError(f"no metrics of a {by}: {', '.join(strangers)}")
    metrics = [{"Name": name, "Unit": METRICS[name].unit} for name in names]
    return {"Namespace": namespace, "Dimensions": [[by]], "Metrics": metrics}


def _places() -> Iterator[dict[str, Any]]:
    """The exception that is being handled and those behind it: their kinds and where they came from."""
    error = sys.exception()
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        yield {
            "kind": type(error).__name__,
            "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        }
        error = error.__cause__ or error.__context__


def to_log(line: str) -> None:
    """Write a line that is JSON already to the log, as it is."""
    # One call, so that what other threads log cannot come in between.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class AuditFile:
    """Audit records in a file, a line each; only added to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, line: str) -> None:
        """Raises OSError."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


class DecisionLog:
    """A logger that also keeps what it is told of single requests (`request_id`) in a file, whatever the log level.

    One JSON object a line: the fields, with `message` and `at` (seconds since the epoch).  When the file is full it
    becomes `PATH.1`, so that it never grows without end.  A file that cannot be written costs no request.
    """

    def __init__(self, logger: ports.Logger, path: Path, clock: ports.Clock) -> None:
        self._logger = logger
        self._path = path
        self._clock = clock
        self._lines = 0

    def info(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.info(message, metrics=metrics, **fields)

    def warning(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.warning(message, metrics=metrics, **fields)

    def exception(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.exception(message, metrics=metrics, **fields)

    def _keep(self, message: str, fields: dict[str, Any]) -> None:
        if "request_id" not in fields:
            return
        line = json.dumps({"at": self._clock(), "message": message, **fields}, default=str)
        try:
            if self._lines >= KEPT:
                self._path.replace(_older(self._path))
                self._lines = 0
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._lines += 1
        except OSError as error:
            self._logger.warning("the decision log cannot be written", error=str(error))


def kept_records(path: Path, request_id: str) -> list[dict[str, Any]]:
    """What a decision log in `path` still has of a request, oldest first."""
    # The newer file first: where it becomes the older one meanwhile, its lines are found there.
    found: list[dict[str, Any]] = []
    for file in (path, _older(path)):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            continue
        records = [_record(line) for line in lines if request_id in line]
        found = [r for r in records if r.get("request_id") == request_id and r not in found] + found
    return found


def _record(line: str) -> dict[str, Any]:
    """The object of a line; an empty one where the line is only half written yet."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return record


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
