"""CloudWatch Logs, as far as the operator asks it for audit records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from understudy.errors import UnderstudyError

PATTERN = '{ $.message = "audit*" }'
"""A filter pattern (Amazon CloudWatch Logs user guide, "Filter pattern syntax"): records and seals."""
LONGEST = 300.0
"""Seconds that a query may take."""
PAUSE = 1.0


class LogsError(UnderstudyError):
    """The logs cannot be read."""


class CloudWatchLogs:
    """`client` makes the client of a service; `sleep` waits."""

    def __init__(self, client: Callable[[str], Any], sleep: Callable[[float], None]) -> None:
        self._client = client
        self._sleep = sleep

    def lines(self, group: str, start: float, end: float) -> Iterator[str]:
        """The audit's lines between two moments (epoch seconds).  Raises LogsError."""
        ask: dict[str, Any] = {"logGroupName": group, "startTime": int(start * 1000), "endTime": int(end * 1000)}
        ask["filterPattern"] = PATTERN
        while True:
            answer = self._call("filter_log_events", **ask)
            yield from (event["message"] for event in answer.get("events", ()))
            if not answer.get("nextToken"):
                return
            ask["nextToken"] = answer["nextToken"]

    def query(self, group: str, query: str, start: float, end: float) -> Iterator[str]:
        """The lines that a Logs Insights query with the one field `@message` finds.  Raises LogsError."""
        asked = self._call(
            "start_query", logGroupName=group, queryString=query, startTime=int(start), endTime=int(end)
        )["queryId"]
        for _ in range(int(LONGEST / PAUSE)):
            answer = self._call("get_query_results", queryId=asked)
            if answer["status"] == "Complete":
                for row in answer["results"]:
                    yield from (column["value"] for column in row if column["field"] == "@message")
                return
            if answer["status"] not in ("Scheduled", "Running"):
                raise LogsError(f"the query of log group {group!r} ended as {answer['status']}")
            self._sleep(PAUSE)
        raise LogsError(f"the query of log group {group!r} took longer than {LONGEST:g} s; ask for a shorter time")

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client("logs"), operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise LogsError(f"CloudWatch Logs {operation} failed: {error}") from error
        return answer
