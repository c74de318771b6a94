"""The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """What the template gives a room; empty where a room does not need it."""

    table: str = ""
    topic_arn: str = ""
    event_bus: str = ""
    probe_queue_url: str = ""
    due_queue_url: str = ""
    stream: bool = False
    log_level: str = "INFO"
    decision_log: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def settings() -> Settings:
    """Read now.

    `UNDERSTUDY_STREAM=on` says that whoever calls the handler can take an answer piece by piece;
    `UNDERSTUDY_DECISION_LOG` names a file in which the data plane keeps its latest decisions (default: none).
    """
    env = os.environ
    return Settings(
        table=env.get("UNDERSTUDY_TABLE", ""),
        topic_arn=env.get("UNDERSTUDY_ALERT_TOPIC_ARN", ""),
        event_bus=env.get("UNDERSTUDY_EVENT_BUS", ""),
        probe_queue_url=env.get("UNDERSTUDY_PROBE_QUEUE_URL", ""),
        due_queue_url=env.get("UNDERSTUDY_DUE_QUEUE_URL", ""),
        stream=env.get("UNDERSTUDY_STREAM", "off") == "on",
        log_level=env.get("UNDERSTUDY_LOG_LEVEL", env.get("AWS_LAMBDA_LOG_LEVEL", "INFO")),
        decision_log=env.get("UNDERSTUDY_DECISION_LOG", ""),
        environ=env,
    )
