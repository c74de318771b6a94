"""Every transition of an incident as an event on the router's own bus."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from understudy.incidents.incident import Notice

SOURCE = "understudy"


class EventBridgeSink:
    """See `understudy.ports.AlertSink`."""

    def __init__(self, bus: str, client: Callable[[str], Any]) -> None:
        self._bus = bus
        self._client = client

    def send(self, notice: Notice) -> None:
        answer = self._client("events").put_events(
            Entries=[
                {
                    "EventBusName": self._bus,
                    "Source": SOURCE,
                    "DetailType": f"incident {notice.attributes['status']}",
                    "Detail": json.dumps(notice.data),
                }
            ]
        )
        if answer.get("FailedEntryCount"):
            # PutEvents reports a refused entry in a 200 answer; raising it makes the stream try again.
            raise RuntimeError(f"EventBridge refused the event: {answer['Entries'][0].get('ErrorCode')}")
