"""CloudFormation custom resources: a request in, exactly one answer out, whatever happens in between.

Source: the AWS CloudFormation user guide, "Custom resource reference".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import UnderstudyError
from understudy.ports import Logger

REASON = 1500
"""Characters of an answer's reason; CloudFormation takes answers of 4,096 bytes and shows less."""


def respond(
    event: Mapping[str, Any],
    work: Callable[[str, Mapping[str, Any]], str],
    send: Callable[[str, bytes], None],
    logger: Logger,
) -> dict[str, str]:
    """Do `work(request type, properties)` and send CloudFormation what came of it; returns what was sent.

    Without an answer a stack waits for an hour, so every failure of the work is one too.  Raises what `send` raises:
    Lambda then tries the whole request again.
    """
    try:
        status, reason = "SUCCESS", work(event["RequestType"], event.get("ResourceProperties", {}))
    except UnderstudyError as error:
        status, reason = "FAILED", str(error)
    except Exception as error:
        logger.exception("a custom resource failed", request_id=event.get("RequestId", ""))
        status, reason = "FAILED", f"The function failed ({type(error).__name__}); its log says why."
    logger.info("custom resource", status=status, reason=reason)
    answer = {
        "Status": status,
        "Reason": reason[:REASON],
        # One for ever: a resource that seems to be replaced would be deleted after an update.
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    send(event["ResponseURL"], json.dumps(answer).encode())
    return answer
