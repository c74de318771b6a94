"""The queue of recovery probes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

MAX_DELAY = 900
"""Seconds, the longest delay of an SQS message (Amazon SQS API reference, SendMessage)."""


class SqsProbeQueue:
    """See `understudy.ports.ProbeQueue`."""

    def __init__(self, url: str, client: Callable[[str], Any]) -> None:
        self._url = url
        self._client = client

    def send(self, target: str, delay: float) -> None:
        # Whole seconds only: rather too early, the one who is woken waits for the rest.
        seconds = min(MAX_DELAY, max(0, math.floor(delay)))
        self._client("sqs").send_message(
            QueueUrl=self._url, MessageBody=json.dumps({"target": target}), DelaySeconds=seconds
        )
