"""What AWS does between the rooms: schedules, table streams and queues call the rooms' handlers."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from moto.events.models import EventPattern

from infra.local.aws import LocalAws
from infra.local.template import Queue, Room, Schedule, Stream

Handler = Callable[[Any, Any], Any]
POLL = 0.1
"""Seconds between two looks at a stream or a queue."""
VISIBILITY = 300
"""Seconds until a message that was taken and not handled comes again."""


class Sources:
    """One daemon thread for each trigger of each room."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, room: Room, handler: Handler) -> None:
        """Begin to play every trigger of a room except its API."""
        for schedule in room.schedules:
            self._run(f"{room.name} schedule", self._schedule, schedule, handler)
        for stream in room.streams:
            self._run(f"{room.name} stream", self._stream, stream, handler)
        for queue in room.queues:
            self._run(f"{room.name} queue", self._queue, queue, handler)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self, name: str, play: Callable[[Any, Handler], None], trigger: object, handler: Handler) -> None:
        thread = threading.Thread(target=play, args=(trigger, handler), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _schedule(self, schedule: Schedule, handler: Handler) -> None:
        while not self._stopping.wait(schedule.seconds):
            _invoke(handler, schedule.payload, self._stopping)

    def _stream(self, stream: Stream, handler: Handler) -> None:
        patterns = [EventPattern.load(json.dumps(pattern)) for pattern in stream.patterns]
        for records in self._batches(stream.batch):
            left = [r for r in records if any(p.matches_event(cast(Any, r)) for p in patterns)]
            tries = 0
            while left and not self._stopping.is_set():
                after = _after_failure(left, _invoke(handler, {"Records": left}, self._stopping))
                tries = tries + 1 if len(after) == len(left) else 0
                if tries > stream.retries:
                    self._bury(after.pop(0))
                    tries = 0
                left = after
                if left:
                    self._stopping.wait(0.5)

    def _batches(self, size: int) -> Iterator[list[dict[str, Any]]]:
        streams = self._aws.client("dynamodbstreams")
        arn = self._aws.stream_arn
        shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        position = iterator["ShardIterator"]
        while not self._stopping.wait(POLL):
            answer = streams.get_records(ShardIterator=position, Limit=1000)
            position = answer["NextShardIterator"]
            records = [_lambda_record(record) for record in answer["Records"]]
            for start in range(0, len(records), size):
                yield records[start : start + size]

    def _queue(self, queue: Queue, handler: Handler) -> None:
        """Each batch is handled by itself, as Lambda scales with its queue: one that takes long delays no other."""
        sqs = self._aws.client("sqs")
        url = self._aws.queues[queue.logical_id]
        while not self._stopping.wait(POLL):
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(10, queue.batch),
                VisibilityTimeout=VISIBILITY,
                AttributeNames=["ApproximateReceiveCount"],
            )
            if messages := answer.get("Messages", []):
                threading.Thread(
                    target=self._batch, args=(url, messages, handler), name="queue batch", daemon=True
                ).start()

    def _batch(self, url: str, messages: Sequence[Mapping[str, Any]], handler: Handler) -> None:
        names = {"messageId": "MessageId", "receiptHandle": "ReceiptHandle", "body": "Body", "attributes": "Attributes"}
        records = [{ours: message[theirs] for ours, theirs in names.items()} for message in messages]
        answer = _invoke(handler, {"Records": records}, self._stopping)
        if self._stopping.is_set():
            return
        failed = {m["MessageId"] for m in messages} if answer is None else _failures(answer)
        for message in messages:
            if message["MessageId"] not in failed:
                self._aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _bury(self, record: Mapping[str, Any]) -> None:
        url = self._aws.queues["DeadLetterQueue"]
        self._aws.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(record))


def _invoke(handler: Handler, event: object, stopping: threading.Event) -> Any:
    """Call a handler as Lambda does: with plain JSON, and without dying of its errors (None)."""
    try:
        return handler(json.loads(json.dumps(event)), None)
    except Exception:  # noqa: BLE001 - Lambda logs it and goes on
        if not stopping.is_set():
            traceback.print_exc()
        return None


def _failures(answer: Mapping[str, Any]) -> set[str]:
    return {failure["itemIdentifier"] for failure in answer.get("batchItemFailures", ())}


def _after_failure(records: Sequence[dict[str, Any]], answer: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What is to be delivered again: everything from the first failed record on; all of it after a crash."""
    if answer is None:
        return list(records)
    failed = _failures(answer)
    for place, record in enumerate(records):
        if record["dynamodb"]["SequenceNumber"] in failed:
            return list(records[place:])
    return []


def _lambda_record(record: dict[str, Any]) -> dict[str, Any]:
    """A stream record in the form in which Lambda hands it on: plain JSON, times as epoch seconds."""
    change = dict(record["dynamodb"])
    created = change.get("ApproximateCreationDateTime")
    if isinstance(created, datetime):
        change["ApproximateCreationDateTime"] = created.timestamp()
    return {**record, "dynamodb": change}
