"""Alerts.

Trigger: the table stream (new and changed incidents).  Reads and writes: notices.  Calls: SNS, EventBridge.  Time: 30 s
for a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.incidents.incident import incident_from
from understudy.runtime.stream import Images, in_order
from understudy.services.publish_alerts import PublishAlerts
from understudy.settings import settings
from understudy.telemetry import JsonLogger


@cache
def service() -> PublishAlerts:
    return bootstrap.publish_alerts(settings())


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    return in_order(event, _handle, JsonLogger("publish_alerts", settings().log_level))


def _handle(change: Images) -> None:
    before, after = change
    if after is not None:
        old = incident_from(before.body, before.rev) if before else None
        service().publish(old, incident_from(after.body, after.rev))
