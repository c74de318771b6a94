"""The composition root: one function a room.  The only place where adapters are named.

Each function imports what its room alone needs, so that no room's cold start pays for another's: without httpx and
asyncio those of the table's stream are ready in half the time.
"""

from __future__ import annotations

import random
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy import __version__
from understudy.ports import AlertSink, Logger
from understudy.settings import Settings
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store
from understudy.telemetry import DecisionLog, JsonLogger

if TYPE_CHECKING:
    from understudy.services.guarding import Guarding
    from understudy.services.manage_router import ManageRouter
    from understudy.services.probe_targets import ProbeTargets
    from understudy.services.publish_alerts import PublishAlerts
    from understudy.services.route_request import RouteRequest
    from understudy.services.update_health import UpdateHealth
    from understudy.services.upstream import Upstream


@cache
def aws(service: str) -> Any:
    """One client for a service and process, built at its first use."""
    import boto3
    from botocore.config import Config

    return boto3.client(service, config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 2}))


@cache
def aws_credentials() -> Any:
    """The process's own AWS credentials, found at their first use; None where there are none.  They refresh themselves
    where they come from something that gives out new ones."""
    import botocore.session

    return botocore.session.get_session().get_credentials()


def prepare() -> None:
    """Import what the first use of AWS would import; nothing is read, and no client built."""
    import boto3  # noqa: F401


def renew() -> None:
    """Forget the clients of AWS, and the session that keeps their credentials."""
    aws.cache_clear()
    aws_credentials.cache_clear()
    boto3: Any = sys.modules.get("boto3")
    if boto3 is not None:
        boto3.DEFAULT_SESSION = None


def route_request(settings: Settings) -> RouteRequest:
    from understudy.services.admission import Admissions
    from understudy.services.feedback import Feedback
    from understudy.services.keepsakes import Keepsakes
    from understudy.services.metering import Metering
    from understudy.services.outcomes import LocalOutcomes
    from understudy.services.read_model import ReadModel
    from understudy.services.route_request import RouteRequest

    # Exceptions of this room may carry what a caller wrote.
    logger: Logger = _logger("route_request", settings, discreet=True)
    if settings.decision_log:
        logger = DecisionLog(logger, Path(settings.decision_log), time.time)
    store = Store(DynamoTable(settings.table))
    rng = random.SystemRandom()
    metering = Metering(store, time.time, logger)
    outcomes = LocalOutcomes(store, time.time, logger, rng)
    return RouteRequest(
        ReadModel(store, time.time, logger),
        outcomes,
        _upstream(settings),
        Keepsakes(store, time.time, logger),
        Feedback(store, outcomes, time.time, logger),
        clock=time.time,
        logger=logger,
        rng=rng,
        admissions=Admissions(store, time.time, logger, written=metering.written),
        metering=metering,
        guarding=cache(partial(_guarding, logger)),
    )


def _guarding(logger: Logger) -> Guarding:
    """Loaded by the first request of a route that guards personal data, and its library after it."""
    from understudy.pii.checked import load
    from understudy.services.guarding import Guarding

    return Guarding(load, time.monotonic, logger)


def probe_targets(settings: Settings) -> ProbeTargets:
    from understudy.services.metering import Metering
    from understudy.services.probe_targets import ProbeTargets
    from understudy.transport.http import HttpTransport
    from understudy.transport.sqs import SqsDueQueue

    logger = _logger("probe_targets", settings)
    store = Store(DynamoTable(settings.table))
    due, upstream = SqsDueQueue(settings.due_queue_url, aws), _upstream(settings)
    rng = random.SystemRandom()
    return ProbeTargets(
        store,
        upstream,
        due,
        clock=time.time,
        logger=logger,
        rng=rng,
        salt=settings.table,
        pages=HttpTransport(),
        metering=Metering(store, time.time, logger),
    )


def update_health(settings: Settings) -> UpdateHealth:
    from understudy.services.golden_sets import GoldenSets
    from understudy.services.update_health import UpdateHealth
    from understudy.transport.sqs import SqsConfirmQueue, SqsProbeQueue

    logger = _logger("update_health", settings)
    probes, confirms = SqsProbeQueue(settings.probe_queue_url, aws), SqsConfirmQueue(settings.due_queue_url, aws)
    store = Store(DynamoTable(settings.table))
    rng = random.SystemRandom()
    return UpdateHealth(
        store, probes, clock=time.time, logger=logger, rng=rng, confirms=confirms, find=GoldenSets().find
    )


def publish_alerts(settings: Settings) -> PublishAlerts:
    from understudy.alerts.eventbridge import EventBridgeSink
    from understudy.alerts.sns import SnsSink
    from understudy.services.publish_alerts import PublishAlerts

    logger = _logger("publish_alerts", settings)
    sinks: list[tuple[str, AlertSink]] = [
        ("sns", SnsSink(settings.topic_arn, aws)),
        ("eventbridge", EventBridgeSink(settings.event_bus, aws)),
    ]
    return PublishAlerts(Store(DynamoTable(settings.table)), sinks, clock=time.time, logger=logger)


def manage_router(settings: Settings) -> ManageRouter:
    from understudy.services.manage_router import ManageRouter
    from understudy.transport.s3 import S3Documents

    return ManageRouter(Store(DynamoTable(settings.table)), S3Documents(aws).read, clock=time.time)


def operator_store(table: str, *, endpoint: str | None = None, region: str | None = None) -> Store:
    """The store as the operator's command line uses it, with the operator's own AWS credentials."""
    return Store(DynamoTable(table, endpoint=endpoint, region=region))


def _logger(room: str, settings: Settings, *, discreet: bool = False) -> JsonLogger:
    return JsonLogger(room, settings.log_level, namespace=settings.namespace, discreet=discreet)


def _upstream(settings: Settings) -> Upstream:
    from understudy.services.upstream import Upstream
    from understudy.transport.eventstream import EventStream
    from understudy.transport.http import HttpTransport
    from understudy.transport.secrets import ReferencedSecrets
    from understudy.transport.sigv4 import SigV4Signer
    from understudy.wire.base import Event
    from understudy.wire.bedrock import EVENT_STREAM

    return Upstream(
        HttpTransport(),
        ReferencedSecrets(settings.environ, aws, time.time),
        f"understudy/{__version__}",
        time.time,
        signer=SigV4Signer(aws_credentials, aws_credentials.cache_clear, time.time),
        framings={EVENT_STREAM: partial(EventStream, Event)},
    )
