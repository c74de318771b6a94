"""The queues of probes: one for recoveries, one for the sweeps of the schedule."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from understudy.errors import QueueError
from understudy.ports import CONFIRM_GAP, Due

MAX_DELAY = 900
"""Seconds, the longest delay of an SQS message (Amazon SQS API reference, SendMessage)."""
BATCH = 10
"""Messages of one SendMessageBatch (Amazon SQS API reference)."""
TRIES = 3
"""Times a message is sent that SQS failed to take through its own fault."""
PARALLEL = 8
"""Batches under way at once; fewer than the connections that a client keeps."""


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


class SqsConfirmQueue:
    """See `understudy.ports.ConfirmQueue`.  `url` is that of the queue of sweeps, whose workers buy the run."""

    def __init__(self, url: str, client: Callable[[str], Any]) -> None:
        self._url = url
        self._client = client

    def send(self, target: str, stream: str) -> None:
        body = {"target": target, "ask": "confirm", "set": stream}
        # A run that asks for a further one would otherwise find its own beginning too near.
        self._client("sqs").send_message(
            QueueUrl=self._url, MessageBody=json.dumps(body), DelaySeconds=math.ceil(CONFIRM_GAP)
        )


class SqsDueQueue:
    """See `understudy.ports.DueQueue`."""

    def __init__(self, url: str, client: Callable[[str], Any]) -> None:
        self._url = url
        self._client = client

    def send(self, messages: Sequence[Due]) -> None:
        if not messages:
            return
        client = self._client("sqs")
        batches = [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]
        with ThreadPoolExecutor(PARALLEL, "understudy-sweep") as threads:
            refused = [why for found in threads.map(lambda batch: self._send(client, batch), batches) for why in found]
        if refused:
            raise QueueError(f"{len(refused)} of {len(messages)} messages were refused, the first with {refused[0]}")

    def _send(self, client: Any, batch: Sequence[Due]) -> list[str]:
        """Why messages of a batch were refused; a good answer may still refuse some of them."""
        from botocore.exceptions import BotoCoreError, ClientError

        refused: list[str] = []
        left = {str(place): _entry(place, each) for place, each in enumerate(batch)}
        for _ in range(TRIES):
            try:
                answer = client.send_message_batch(QueueUrl=self._url, Entries=list(left.values()))
            except (BotoCoreError, ClientError) as error:
                # The client has tried again itself.
                return refused + [str(error)] * len(left)
            failed = {each["Id"]: each for each in answer.get("Failed", ())}
            refused += [each["Code"] for each in failed.values() if each["SenderFault"]]
            left = {ident: left[ident] for ident, each in failed.items() if not each["SenderFault"]}
            if not left:
                return refused
        return refused + [failed[ident]["Code"] for ident in left]


def _entry(place: int, message: Due) -> dict[str, Any]:
    return {"Id": str(place), "MessageBody": json.dumps(message.plain()), "DelaySeconds": message.delay}
