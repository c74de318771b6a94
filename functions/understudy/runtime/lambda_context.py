"""What a handler may ask about its invocation.

Source: the AWS Lambda developer guide, "Using the Lambda context object to retrieve Python function information".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Context:
    """The members of the managed runtime's context, without those of mobile clients, which are None.

    `deadline` is the moment the invocation ends, in milliseconds since the epoch.
    """

    aws_request_id: str
    invoked_function_arn: str
    deadline: int
    function_name: str
    function_version: str
    memory_limit_in_mb: str
    log_group_name: str
    log_stream_name: str
    tenant_id: str | None = None
    client_context: None = None
    identity: None = None
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.deadline - int(self.clock() * 1000))


def context_from(headers: Mapping[str, str], environ: Mapping[str, str]) -> Context:
    """The context of one invocation; header names are lower case.  Without a deadline no time is left."""
    deadline = headers.get("lambda-runtime-deadline-ms", "")
    return Context(
        aws_request_id=headers.get("lambda-runtime-aws-request-id", ""),
        invoked_function_arn=headers.get("lambda-runtime-invoked-function-arn", ""),
        deadline=int(deadline) if deadline.isdecimal() else 0,
        function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        function_version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
        memory_limit_in_mb=environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
        log_group_name=environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
        log_stream_name=environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
        tenant_id=headers.get("lambda-runtime-aws-tenant-id"),
    )
