"""Alerts by SNS: plain text for mailboxes, JSON for machines, attributes for filter policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from understudy.incidents.incident import Notice


class SnsSink:
    """See `understudy.ports.AlertSink`."""

    def __init__(self, topic_arn: str, client: Callable[[str], Any]) -> None:
        self._topic = topic_arn
        self._client = client

    def send(self, notice: Notice) -> None:
        machine = json.dumps({**notice.data, "title": notice.subject, "text": notice.text})
        message = {"default": machine, "email": notice.text, "sms": notice.subject}
        self._client("sns").publish(
            TopicArn=self._topic,
            Subject=notice.subject,
            Message=json.dumps(message),
            MessageStructure="json",
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in notice.attributes.items()
            },
        )
