"""Alerts and probe orders on moto, with queues that listen as subscribers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns import sns_backends

from understudy.alerts.eventbridge import EventBridgeSink
from understudy.alerts.sns import SnsSink
from understudy.incidents.incident import Incident, Notice
from understudy.incidents.wording import notice
from understudy.ports import AlertSink
from understudy.transport.sqs import SqsProbeQueue

REGION = "us-east-1"
NOW = 1_790_000_000.0
BUS = "contract"
Client = Callable[[str], Any]

OPEN = Incident(
    "claude-größer", "outage", "open", "critical", NOW, NOW, NOW, 1, "5 failures in a row", {"provider": "anthropic"}
)
RESOLVED = replace(OPEN, status="resolved", resolved_at=NOW + 60, notices=2)
NOTICES = {
    "open": notice(OPEN),
    "reminder": notice(replace(OPEN, notices=2)),
    "resolved": notice(RESOLVED),
    "credential": notice(replace(OPEN, kind="credential", severity="warning")),
    "long": notice(replace(OPEN, subject="x" * 300)),
    "no facts": notice(replace(OPEN, facts={})),
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """AWS clients by service name."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        yield cache(lambda service: boto3.client(service, region_name=REGION))


@pytest.fixture
def queue(client: Client) -> Callable[[str], tuple[str, str]]:
    """A new queue: its URL and its ARN."""

    def make(name: str) -> tuple[str, str]:
        url = client("sqs").create_queue(QueueName=name)["QueueUrl"]
        attributes = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, attributes["Attributes"]["QueueArn"]

    return make


Queue = Callable[[str], tuple[str, str]]


def received(client: Client, url: str) -> list[Any]:
    """The bodies of what lies in a queue."""
    messages = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


class TestSns:
    @pytest.fixture
    def topic(self, client: Client) -> str:
        arn: str = client("sns").create_topic(Name="contract")["TopicArn"]
        return arn

    @pytest.fixture
    def sink(self, topic: str, client: Client) -> AlertSink:
        return SnsSink(topic, client)

    @pytest.fixture
    def subscribe(self, topic: str, client: Client, queue: Queue) -> Callable[..., str]:
        """A queue's URL that listens to the topic."""

        def make(name: str, **attributes: str) -> str:
            url, arn = queue(name)
            client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
            return url

        return make

    @pytest.mark.parametrize("name", NOTICES)
    def test_machines_get_json(self, sink: AlertSink, client: Client, subscribe: Callable[..., str], name: str) -> None:
        """A machine gets the incident as one JSON object, with the words for people in it."""
        url = subscribe("machine")
        sent = NOTICES[name]
        sink.send(sent)
        (envelope,) = received(client, url)
        assert sent.subject == envelope["Subject"]
        expected = {**json.loads(json.dumps(sent.data)), "title": sent.subject, "text": sent.text}
        assert expected == json.loads(envelope["Message"])

    @pytest.mark.parametrize("name", NOTICES)
    def test_mailboxes_get_text(self, sink: AlertSink, topic: str, name: str) -> None:
        """A mailbox gets the plain text under a subject of one ASCII line, a telephone only that line."""
        sent = NOTICES[name]
        sink.send(sent)
        published = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[topic].sent_notifications
        ((_, message, subject, _, _),) = [each[:5] for each in published]
        by_protocol = json.loads(message)
        assert (sent.text, sent.subject) == (by_protocol["email"], by_protocol["sms"])
        assert sent.subject == subject
        assert True is (subject.isascii() and subject.isprintable() and len(subject) <= 100)

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ({"severity": ["critical"]}, ["open", "resolved"]),
            ({"severity": ["warning"]}, ["credential"]),
            ({"kind": ["outage"], "status": ["open"]}, ["open"]),
            ({"status": [{"anything-but": "open"}]}, ["resolved"]),
            ({"target": [{"prefix": "claude-"}]}, ["open", "resolved", "credential"]),
            ({"provider": ["openai"]}, []),
            ({"provider": ["anthropic"]}, ["open", "resolved", "credential"]),
        ],
    )
    def test_a_filter_policy_can_choose(
        self,
        sink: AlertSink,
        client: Client,
        subscribe: Callable[..., str],
        policy: dict[str, Any],
        expected: list[str],
    ) -> None:
        """A subscriber with a filter policy gets what its attributes choose, and nothing else."""
        url = subscribe("choosy", FilterPolicy=json.dumps(policy))
        for name in ("open", "resolved", "credential"):
            sink.send(NOTICES[name])
        subjects = [envelope["Subject"] for envelope in received(client, url)]
        assert sorted(NOTICES[name].subject for name in expected) == sorted(subjects)

    def test_a_missing_topic_is_an_error(self, client: Client, topic: str) -> None:
        """An alert that SNS does not take raises, so that it is tried again."""
        with pytest.raises(client("sns").exceptions.NotFoundException):
            SnsSink(f"{topic}-gone", client).send(NOTICES["open"])


class TestEventBridge:
    @pytest.fixture
    def listen(self, client: Client, queue: Queue) -> Callable[[str, dict[str, Any]], str]:
        """A queue's URL that gets the bus's events of a pattern."""
        client("events").create_event_bus(Name=BUS)

        def make(name: str, pattern: dict[str, Any]) -> str:
            url, arn = queue(name)
            client("events").put_rule(Name=name, EventBusName=BUS, EventPattern=json.dumps(pattern))
            client("events").put_targets(Rule=name, EventBusName=BUS, Targets=[{"Id": "1", "Arn": arn}])
            return url

        return make

    def test_every_transition_is_an_event(self, client: Client, listen: Callable[[str, dict[str, Any]], str]) -> None:
        """Each notice is one event of the router's own source whose detail is the incident."""
        url = listen("all", {"source": ["understudy"]})
        for name in ("open", "resolved"):
            EventBridgeSink(BUS, client).send(NOTICES[name])
        events = sorted(received(client, url), key=lambda event: str(event["detail-type"]))
        assert ["incident open", "incident resolved"] == [event["detail-type"] for event in events]
        assert [json.loads(json.dumps(NOTICES[n].data)) for n in ("open", "resolved")] == [e["detail"] for e in events]

    def test_a_rule_can_choose(self, client: Client, listen: Callable[[str, dict[str, Any]], str]) -> None:
        """A rule can choose by what happened and by the incident's own fields."""
        url = listen("some", {"detail-type": ["incident open"], "detail": {"kind": ["credential"]}})
        for name in ("open", "resolved", "credential"):
            EventBridgeSink(BUS, client).send(NOTICES[name])
        assert ["credential"] == [event["detail"]["kind"] for event in received(client, url)]

    def test_a_refused_event_is_an_error(self, client: Client) -> None:
        """An event that EventBridge refuses inside a good answer raises, so that it is tried again."""
        client("events").create_event_bus(Name=BUS)

        def refuse(parsed: dict[str, Any], **_: Any) -> None:
            parsed.update(FailedEntryCount=1, Entries=[{"ErrorCode": "InternalFailure", "ErrorMessage": "x"}])

        client("events").meta.events.register("after-call.events.PutEvents", refuse)
        with pytest.raises(RuntimeError, match="InternalFailure"):
            EventBridgeSink(BUS, client).send(NOTICES["open"])


class TestProbeQueue:
    @pytest.fixture
    def asked(self, client: Client) -> list[dict[str, Any]]:
        """The parameters of every message sent."""
        found: list[dict[str, Any]] = []
        client("sqs").meta.events.register(
            "provide-client-params.sqs.SendMessage", lambda params, **_: found.append(dict(params))
        )
        return found

    @pytest.mark.parametrize(
        ("delay", "seconds"),
        [
            (-5.0, 0),
            (0.0, 0),
            (0.999, 0),
            (1.0, 1),
            (8.5, 8),
            (29.9, 29),
            (899.5, 899),
            (900.0, 900),
            (900.1, 900),
            (1e9, 900),
        ],
    )
    def test_the_delay_is_rounded_down_and_capped(
        self, client: Client, queue: Queue, asked: list[dict[str, Any]], delay: float, seconds: int
    ) -> None:
        """A message is never late: its delay is rounded down to seconds (whoever it wakes waits for the rest), and cut
        to what SQS takes."""
        url, _ = queue("probes")
        SqsProbeQueue(url, client).send("a", delay)
        assert [seconds] == [params["DelaySeconds"] for params in asked]

    def test_a_probe_names_its_target(self, client: Client, queue: Queue) -> None:
        """A message that is due names the target; one that is not due yet does not show."""
        url, _ = queue("probes")
        SqsProbeQueue(url, client).send("größer", 0)
        SqsProbeQueue(url, client).send("later", 60)
        assert [{"target": "größer"}] == received(client, url)

    def test_a_missing_queue_is_an_error(self, client: Client, queue: Queue) -> None:
        """A probe that cannot be ordered raises, so that the change behind it is handled again."""
        url, _ = queue("probes")
        with pytest.raises(client("sqs").exceptions.QueueDoesNotExist):
            SqsProbeQueue(f"{url}-gone", client).send("a", 0)


def test_every_notice_can_be_filtered() -> None:
    """No attribute is empty: SNS refuses a message with an empty one."""
    empty = [(name, key) for name, each in NOTICES.items() for key, value in each.attributes.items() if not value]
    assert [] == empty


def test_notices_of_one_incident_are_told_apart() -> None:
    """The opening, the reminder and the resolution have ids of their own; telling one again has the same."""
    told: list[Notice] = [NOTICES["open"], NOTICES["reminder"], notice(replace(RESOLVED, notices=3))]
    assert 3 == len({each.id for each in told})
    assert NOTICES["open"].id == notice(OPEN).id
