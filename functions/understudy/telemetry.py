"""The only constructor of Powertools objects: structured JSON logs, without prompts, answers or keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aws_lambda_powertools.logging import Logger

from understudy import ports

KEPT = 1000
"""Records that a decision log keeps at least; at most twice as many."""


class JsonLogger:
    """See `understudy.ports.Logger`: one JSON line a call, fields beside the message."""

    def __init__(self, service: str, level: str) -> None:
        self._logger = Logger(service=service, level=level, location=None)

    def info(self, message: str, /, **fields: Any) -> None:
        self._logger.info(message, extra=fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._logger.warning(message, extra=fields)

    def exception(self, message: str, /, **fields: Any) -> None:
        self._logger.exception(message, extra=fields)


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

    def info(self, message: str, /, **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.info(message, **fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.warning(message, **fields)

    def exception(self, message: str, /, **fields: Any) -> None:
        self._keep(message, fields)
        self._logger.exception(message, **fields)

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
