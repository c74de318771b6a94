"""The queue of sweeps on moto, and before a client that refuses messages inside good answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from understudy.errors import QueueError
from understudy.ports import Due
from understudy.services.sweep import call_from
from understudy.transport.sqs import SqsConfirmQueue, SqsDueQueue

NOW = 1_790_000_000.0


def due(count: int, delay: int = 0) -> list[Due]:
    return [Due(f"t{number}", NOW + delay, delay) for number in range(count)]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.client("sqs", region_name="us-east-1")


@pytest.fixture
def url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="due")["QueueUrl"])


@pytest.fixture
def sent(sqs: Any) -> list[list[dict[str, Any]]]:
    """The entries of every batch sent."""
    found: list[list[dict[str, Any]]] = []
    sqs.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch", lambda params, **_: found.append(list(params["Entries"]))
    )
    return found


def received(sqs: Any, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [json.loads(message["Body"]) for message in messages]
    return found


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (10, [10]), (11, [1, 10]), (95, [5] + [10] * 9)])
def test_messages_travel_ten_at_a_time(sqs: Any, url: str, sent: list[Any], count: int, sizes: list[int]) -> None:
    """Each message is sent once, in as few batches as SQS allows, and names its target and its time."""
    SqsDueQueue(url, lambda _: sqs).send(due(count))
    assert sizes == sorted(map(len, sent))
    found = sorted(received(sqs, url), key=lambda body: int(body["target"][1:]))
    assert [{"target": f"t{number}", "due": NOW} for number in range(count)] == found


class Ordered:
    """Keeps what SQS was told to send."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def send_message(self, **order: Any) -> None:
        self.orders.append(order)


def test_runs_say_what_they_ask(sqs: Any, url: str) -> None:
    """A run names its stream; a confirmation has no time of its own."""
    SqsDueQueue(url, lambda _: sqs).send([Due("a", NOW, 0, "quality", "core")])
    ordered = Ordered()
    SqsConfirmQueue(url, lambda _: ordered).send("a", "core")
    # It comes when a run that has just asked for it is no longer too near.
    assert [30] == [order.pop("DelaySeconds") for order in ordered.orders]
    sqs.send_message(**ordered.orders[0])
    found = sorted(received(sqs, url), key=lambda body: str(body["ask"]))
    confirm = {"target": "a", "ask": "confirm", "set": "core"}
    assert [confirm, {"target": "a", "due": NOW, "ask": "quality", "set": "core"}] == found
    assert [("confirm", None), ("quality", NOW)] == [
        (c.ask, c.due) for c in (call_from(json.dumps(f), 1) for f in found)
    ]


def test_each_message_has_its_own_delay(sqs: Any, url: str, sent: list[Any]) -> None:
    """A batch may carry messages of several rounds; what is delayed does not show yet."""
    SqsDueQueue(url, lambda _: sqs).send([*due(2), *due(2, 15), *due(1, 45)])
    assert Counter({0: 2, 15: 2, 45: 1}) == Counter(entry["DelaySeconds"] for batch in sent for entry in batch)
    assert ["t0", "t1"] == sorted(body["target"] for body in received(sqs, url))


def test_a_missing_queue_is_an_error(sqs: Any, url: str) -> None:
    """Probes that cannot be asked for raise, and the message says how many they are and why."""
    with pytest.raises(QueueError, match=r"11 of 11 messages .*NonExistentQueue"):
        SqsDueQueue(f"{url}-gone", lambda _: sqs).send(due(11))


class Refusing:
    """A client that refuses messages inside good answers: `refuse` has, for a target, the codes of its next refusals;
    a capital letter means the sender's fault.  `tries` counts how often each target was sent."""

    def __init__(self, **refuse: list[str]) -> None:
        self.refuse = refuse
        self.tries: Counter[str] = Counter()

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        failed = []
        for entry in Entries:
            name = json.loads(entry["MessageBody"])["target"]
            self.tries[name] += 1
            if codes := self.refuse.get(name):
                code = codes.pop(0)
                failed.append({"Id": entry["Id"], "Code": code, "SenderFault": code[0].isupper()})
        return {"Successful": [], "Failed": failed} if failed else {"Successful": []}


@pytest.mark.parametrize(
    ("codes", "tries", "error"),
    [
        (["busy"], 2, None),
        (["busy", "busy"], 3, None),
        (["busy", "busy", "busy"], 3, "1 of 12 messages were refused, the first with busy"),
        (["Wrong"], 1, "1 of 12 messages were refused, the first with Wrong"),
        (["busy", "Wrong"], 2, "1 of 12 messages were refused, the first with Wrong"),
    ],
)
def test_what_a_good_answer_refuses_is_sent_again(codes: list[str], tries: int, error: str | None) -> None:
    """A message that SQS failed to take is sent again, and it alone; one that stays refused, or is wrong, raises."""
    client = Refusing(t3=codes)
    told = None
    try:
        SqsDueQueue("url", lambda _: client).send(due(12))
    except QueueError as refused:
        told = str(refused)
    assert (error, {**{f"t{n}": 1 for n in range(12)}, "t3": tries}) == (told, client.tries)


def test_one_failed_batch_stops_no_other() -> None:
    """A batch whose call fails is told after all others were sent."""

    class Broken(Refusing):
        def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
            if "t15" in Entries[5]["MessageBody"]:
                raise ClientError({"Error": {"Code": "Throttled", "Message": "slow"}}, "SendMessageBatch")
            return super().send_message_batch(QueueUrl, Entries)

    client = Broken()
    with pytest.raises(QueueError, match=r"10 of 30 messages were refused, the first with .*Throttled"):
        SqsDueQueue("url", lambda _: client).send(due(30))
    assert 20 == client.tries.total()
