"""Active health checks.

Trigger: a schedule, every minute; the queue of recovery probes.  Reads: control document, health.  Writes: probe
observations, the lease in a target's health item.  Time: 180 s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.runtime.loop import LoopThread
from understudy.services.probe_targets import ProbeTargets
from understudy.settings import settings
from understudy.telemetry import JsonLogger


@cache
def loop() -> LoopThread:
    return LoopThread()


@cache
def service() -> ProbeTargets:
    """Built on the loop, once for each execution environment."""

    async def build() -> ProbeTargets:
        return bootstrap.probe_targets(settings())

    return loop().run(build())


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """A tick probes what is due; each queue message is one recovery probe, failed ones go back to the queue."""
    if "Records" not in event:
        return {"probed": loop().run(service().tick())}
    failed = []
    for record in event["Records"]:
        try:
            loop().run(service().recover(json.loads(record["body"])["target"]))
        except Exception:  # noqa: BLE001 - reported to Lambda, which delivers the message again
            JsonLogger("probe_targets", settings().log_level).exception("a recovery probe failed")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
