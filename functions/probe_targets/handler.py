"""Active health checks.

Trigger: a schedule, every minute; the queue of recovery probes; the queue of the sweeps that the schedule starts.
Reads: control document, health, incidents, heads of the audit, status pages of providers with trouble.  Writes: probe
observations, the lease in a target's health item, what status pages said, messages to the queue of sweeps; with a tick
incidents of what ends on a day known ahead, and the audit's daily seal.  Time: a tick a few seconds, a message 180 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.runtime.loop import LoopThread
from understudy.services.probe_targets import ProbeTargets
from understudy.settings import settings


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
    """A tick asks for the probes of its minute; each message of a queue is one probe, failed ones go back to it."""
    if "Records" not in event:
        return {"asked": loop().run(service().tick())}
    messages = {
        record["messageId"]: (record["body"], int(record["attributes"]["ApproximateReceiveCount"]))
        for record in event["Records"]
    }
    failed = loop().run(service().handle(messages))
    return {"batchItemFailures": [{"itemIdentifier": ident} for ident in failed]}
