"""The room of probes between its queues: the tick asks, workers probe, what cannot be done is kept aside."""

import importlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from infra.local.aws import REGION, TABLE
from infra.local.stack import LocalStack
from understudy.store.dynamodb import DynamoTable


@pytest.fixture
def handler(stack: LocalStack) -> Callable[[Any, Any], Any]:
    found: Callable[[Any, Any], Any] = importlib.import_module("probe_targets.handler").handler
    return found


@pytest.fixture
def sqs(stack: LocalStack) -> Any:
    return boto3.client("sqs", region_name=REGION)


@pytest.fixture
def queues(sqs: Any) -> Iterator[tuple[str, str]]:
    """The URLs of a queue whose messages come again at once, three times at most, and of the queue they go to then."""
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})}
    url = sqs.create_queue(QueueName="redriven", Attributes={"VisibilityTimeout": "0", **redrive})["QueueUrl"]
    yield url, dead
    for each in (url, dead):
        sqs.delete_queue(QueueUrl=each)


def probed() -> Counter[str]:
    """Observations of probes so far."""
    table = DynamoTable(TABLE)
    found = {name: table.query(f"target#{name}", prefix="observation#") for name in ("lead", "understudy")}
    return Counter({name: sum(i.body["source"] == "probe" for i in items) for name, items in found.items()})


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_a_tick_is_answered_by_workers(handler: Callable[[Any, Any], Any]) -> None:
    """The schedule's event asks for a probe of each target; the queue's trigger probes them; and the next tick finds
    them proved."""
    assert {"asked": 2} == handler({"source": "understudy.tick"}, None)
    assert until(lambda: probed() == {"lead": 1, "understudy": 1}), probed()
    assert until(lambda: {"asked": 0} == handler({"source": "understudy.tick"}, None))


POISON = ["not json", "{}", '{"target": 1, "due": 2}']


@pytest.mark.parametrize("body", POISON)
def test_poison_lands_in_the_dead_letter_queue(
    handler: Callable[[Any, Any], Any], sqs: Any, queues: tuple[str, str], body: str
) -> None:
    """A message that cannot be handled is tried three times and then kept aside; its neighbours in the batch, of either
    kind, are done at the first time."""
    url, dead = queues
    for each in (body, '{"target": "lead", "due": 1}', '{"target": "gone", "due": 9e9}', '{"target": "lead"}'):
        sqs.send_message(QueueUrl=url, MessageBody=each)
    receipts: Counter[str] = Counter()
    while messages := _receive(sqs, url):
        receipts.update(message["Body"] for message in messages)
        failed = {each["itemIdentifier"] for each in handler(_event(messages), None)["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert (3, [1, 1, 1]) == (receipts.pop(body), list(receipts.values()))
    assert [body] == [message["Body"] for message in _receive(sqs, dead)]


def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"])
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def _event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """As Lambda hands messages on (developer guide, "Using Lambda with Amazon SQS")."""
    return {
        "Records": [
            {"messageId": m["MessageId"], "body": m["Body"], "attributes": m["Attributes"], "eventSource": "aws:sqs"}
            for m in messages
        ]
    }
