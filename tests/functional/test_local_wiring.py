"""What the local stack plays is what template.yaml says: handlers, schedules, stream filters, queues."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.aws import LocalAws, start_aws
from infra.local.sources import Sources
from infra.local.template import Queue, Room, Schedule, Stream, rate, wiring
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    aws = start_aws(wiring().table, ("ProbeQueue", "DeadLetterQueue"), "127.0.0.1", 0)
    yield aws
    aws.stop()


class Recorder:
    """A handler that keeps its events and answers as it is told."""

    def __init__(self, answers: list[Any] | None = None) -> None:
        self.events: list[Any] = []
        self.answers = answers or []
        self.called = threading.Event()

    def __call__(self, event: Any, context: Any) -> Any:
        self.events.append(event)
        self.called.set()
        answer = self.answers.pop(0) if self.answers else {"batchItemFailures": []}
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def records(self) -> list[Any]:
        return [record for event in self.events for record in event["Records"]]


def until(condition: Any, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def playing(aws: LocalAws, recorder: Recorder, **triggers: Any) -> Sources:
    sources = Sources(aws)
    sources.start(Room("Room", "room.handler", **triggers), recorder)
    return sources


def stream_of(room: str) -> Stream:
    return next(r for r in wiring().rooms if r.name == room).streams[0]


def test_the_template_is_what_is_played() -> None:
    """Every room of the template is played, with its own triggers."""
    rooms = {room.name: room for room in wiring().rooms}
    assert {"RouteRequest", "ProbeTargets", "UpdateHealth", "PublishAlerts", "ManageRouter"} == set(rooms)
    assert {(method, "/{proxy+}") for method in ("GET", "POST", "OPTIONS")} == set(wiring().api)
    assert (Schedule(60.0, {"source": "understudy.tick"}),) == rooms["ProbeTargets"].schedules
    assert (Queue("ProbeQueue", 1), Queue("DueQueue", 10)) == rooms["ProbeTargets"].queues
    assert (2, 1) == (len(stream_of("UpdateHealth").patterns), len(stream_of("PublishAlerts").patterns))


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(2 hours)", 7200)]
)
def test_rates_are_read(expression: str, seconds: float) -> None:
    """A rate expression is its length in seconds."""
    assert seconds == rate(expression)


def test_a_schedule_that_is_not_played_is_refused() -> None:
    """An expression the local stack cannot play stops it instead of being left out."""
    with pytest.raises(ValueError, match="cron"):
        rate("cron(0 12 * * ? *)")


def test_a_schedule_fires_with_its_input(aws: LocalAws) -> None:
    """The handler is called each period with the template's payload, and an error does not end the schedule."""
    recorder = Recorder([RuntimeError("boom")])
    sources = playing(aws, recorder, schedules=(Schedule(0.05, {"source": "x"}),))
    assert until(lambda: len(recorder.events) >= 3)
    sources.stop()
    assert {"source": "x"} == recorder.events[0]


def test_filters_let_pass_what_the_template_says(aws: LocalAws) -> None:
    """update_health sees new observations and health items, and nothing else of the table."""
    recorder = Recorder()
    sources = playing(aws, recorder, streams=(stream_of("UpdateHealth"),))
    store = Store(DynamoTable("understudy-local"))
    store.add_observation(Observation("lead", 1.0, ok=1))
    health = store.put_health(Health("lead"))
    store.put_health(health)
    store.claim("n", 1.0, 60)
    assert until(lambda: len(recorder.records) >= 3)
    time.sleep(0.3)
    sources.stop()
    seen = [(r["eventName"], r["dynamodb"]["Keys"]["sk"]["S"].partition("#")[0]) for r in recorder.records]
    assert [("INSERT", "observation"), ("INSERT", "health"), ("MODIFY", "health")] == seen
    assert {"NewImage", "OldImage"} <= set(recorder.records[-1]["dynamodb"])


def test_a_failed_record_is_delivered_again_and_then_buried(aws: LocalAws) -> None:
    """A record that fails every time goes to the dead letter queue after its retries; the next one is handled."""
    stream = Stream(stream_of("UpdateHealth").patterns, 100, 1)
    store = Store(DynamoTable("understudy-local"))
    store.add_observation(Observation("bad", 1.0, ok=1))
    store.add_observation(Observation("good", 2.0, ok=1))
    handled: list[str] = []

    def handler(event: Any, context: Any) -> Any:
        for record in event["Records"]:
            if record["dynamodb"]["Keys"]["pk"]["S"] == "target#bad":
                return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
            handled.append(record["dynamodb"]["Keys"]["pk"]["S"])
        return {"batchItemFailures": []}

    sources = Sources(aws)
    sources.start(Room("Room", "room.handler", streams=(stream,)), handler)
    assert until(lambda: handled)
    sources.stop()
    dead = aws.client("sqs").receive_message(QueueUrl=aws.queues["DeadLetterQueue"])["Messages"]
    assert ["target#good"] == handled
    assert "target#bad" == json.loads(dead[0]["Body"])["dynamodb"]["Keys"]["pk"]["S"]


def test_messages_are_delivered_and_failed_ones_kept(aws: LocalAws) -> None:
    """A handled message is deleted; one that the handler reports as failed stays in the queue."""
    sqs, url = aws.client("sqs"), aws.queues["ProbeQueue"]
    kept = sqs.send_message(QueueUrl=url, MessageBody='{"target": "kept"}')["MessageId"]
    recorder = Recorder([{"batchItemFailures": [{"itemIdentifier": kept}]}])
    sources = playing(aws, recorder, queues=(Queue("ProbeQueue", 1),))
    assert recorder.called.wait(5)
    sqs.send_message(QueueUrl=url, MessageBody='{"target": "done"}')
    assert until(lambda: len(recorder.records) == 2)
    time.sleep(0.2)
    sources.stop()
    left = sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    assert ("0", "1") == tuple(left.values())
