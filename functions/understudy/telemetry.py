"""The only constructor of Powertools objects: structured JSON logs, without prompts, answers or keys."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.logging import Logger


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
