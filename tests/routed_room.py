"""The real data plane over a table in memory, for a runtime in a process of its own: no AWS, no provider, no network.

Importing this changes how the data plane is put together, so no test process does.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from route_request.handler import handler as routed
from tests.one_router import Router, document
from tests.played import PROVIDERS, THINKING, Playing
from understudy import bootstrap
from understudy.runtime import gateway
from understudy.services.route_request import RouteRequest
from understudy.settings import Settings

PATIENT = {"first_token_s": 5, "stall_s": 5}
"""A busy machine is no fault of the provider that is played."""
built: list[RouteRequest] = []


def build(settings: Settings) -> RouteRequest:
    made = Router(document(PROVIDERS, limits=PATIENT), transport=Playing())
    built.append(made.service)
    return made.service


bootstrap.route_request = build  # the composition root: the only place where adapters are named
gateway.PING_AFTER = THINKING / 4


def handler(event: Any, context: Any) -> Any:
    if event.get("inside"):
        loops = sum(thread.name == "understudy-loop" for thread in threading.enumerate())
        return {"built": len(built), "loops": loops, "boto3": "boto3" in sys.modules}
    return routed(event, context)
