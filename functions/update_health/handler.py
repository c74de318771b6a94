"""Health and incidents.

Trigger: the table stream (new observations; changed health items).  Reads: control document, health, detectors,
incidents, what status pages said.  Writes: health, detectors, incidents; recovery probes and runs that confirm an alarm
to their queues.  Time: 30 s for a batch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.health.item import health_from
from understudy.health.observation import observation_from
from understudy.runtime.stream import Images, in_order
from understudy.services.update_health import UpdateHealth
from understudy.settings import settings
from understudy.store import keys
from understudy.telemetry import JsonLogger


@cache
def service() -> UpdateHealth:
    return bootstrap.update_health(settings())


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    began = time.time()
    done = in_order(event, _handle, JsonLogger("update_health", settings().log_level))
    service().learn(began)
    service().tidy()
    return done


def _handle(change: Images) -> None:
    before, after = change
    if after is None:
        return
    if after.key[1].startswith(keys.OBSERVATION):
        service().observe(observation_from(after.body))
    elif after.key[1] == keys.HEALTH:
        old = health_from(before.body, before.rev) if before else None
        service().react(old, health_from(after.body, after.rev))
