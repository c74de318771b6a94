"""The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.metrics import NAMESPACE


@dataclass(frozen=True, slots=True)
class Settings:
    """What the template gives a room; empty where a room does not need it."""

    table: str = ""
    topic_arn: str = ""
    event_bus: str = ""
    probe_queue_url: str = ""
    due_queue_url: str = ""
    log_level: str = "INFO"
    decision_log: str = ""
    audit_file: str = ""
    namespace: str = NAMESPACE
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def settings() -> Settings:
    """Read now.

    `UNDERSTUDY_DECISION_LOG` names a file in which the data plane keeps its latest decisions (default: none),
    `UNDERSTUDY_AUDIT_FILE` one to which it adds its audit records (default: none, they go to the log);
    `POWERTOOLS_METRICS_NAMESPACE` is where the metrics go.
    """
    env = os.environ
    return Settings(
        table=env.get("UNDERSTUDY_TABLE", ""),
        topic_arn=env.get("UNDERSTUDY_ALERT_TOPIC_ARN", ""),
        event_bus=env.get("UNDERSTUDY_EVENT_BUS", ""),
        probe_queue_url=env.get("UNDERSTUDY_PROBE_QUEUE_URL", ""),
        due_queue_url=env.get("UNDERSTUDY_DUE_QUEUE_URL", ""),
        log_level=env.get("UNDERSTUDY_LOG_LEVEL", env.get("AWS_LAMBDA_LOG_LEVEL", "INFO")),
        decision_log=env.get("UNDERSTUDY_DECISION_LOG", ""),
        audit_file=env.get("UNDERSTUDY_AUDIT_FILE", ""),
        namespace=env.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE,
        environ=env,
    )
