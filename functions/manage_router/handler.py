"""Administration.

Trigger: CloudFormation, while a stack with the parameter FirstDocument is deployed.  Reads: the document in S3, the
control document in force.  Writes: the first version and the pointer.  Time: 60 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from understudy import bootstrap
from understudy.runtime.custom_resource import respond
from understudy.services.manage_router import ManageRouter
from understudy.settings import settings
from understudy.telemetry import JsonLogger
from understudy.transport.callback import put


@cache
def service() -> ManageRouter:
    return bootstrap.manage_router(settings())


def handler(event: Mapping[str, Any], context: object) -> dict[str, str]:  # noqa: ARG001
    """What CloudFormation was told: a document that cannot be published fails the deployment, which rolls back."""
    return respond(event, _carry_out, put, JsonLogger("manage_router", settings().log_level))


def _carry_out(wanted: str, properties: Mapping[str, Any]) -> str:
    if wanted == "Delete":
        return "The control document belongs to the table and goes or stays with it."
    return service().first_document(properties["Document"])
