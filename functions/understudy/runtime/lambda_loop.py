"""A Lambda runtime that can stream: asks for invocations, calls the handler, gives its answers as they are produced.

It takes the place of the managed loop, which cannot (infra/decisions/0008-own-runtime-loop.md), and is started by
`functions/exec_wrapper`.  An `Answer` goes out piece by piece behind the prelude that API Gateway asks for, everything
else as JSON.
The standard library only, and of Understudy nothing but `runtime.gateway`, so that it can be deleted with the wrapper.

Source of the prelude: the Amazon API Gateway developer guide, "Set up a Lambda proxy integration with payload response
streaming".
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from understudy.runtime.gateway import Answer, takes_pieces
from understudy.runtime.lambda_api import ApiFailed, HungUp, Invocation, RuntimeApi, error_type
from understudy.runtime.lambda_context import context_from

Handler = Callable[[Any, Any], Any]

END_OF_PRELUDE = b"\0" * 8
TRACE = "_X_AMZN_TRACE_ID"
# Exit codes of the managed runtime around a snapshot.
NO_SNAPSHOT, NOT_RESTORED = 64, 65


def main(environ: MutableMapping[str, str]) -> int:
    """Serve until the platform ends the process; returns an exit code where there is nothing to be served."""
    api = RuntimeApi(environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler, ready = load(environ["_HANDLER"])
    except Exception as error:  # noqa: BLE001 - told to the platform and to the log
        _log("ERROR", "the handler could not be loaded", error)
        _tell(None, api.fail_at, "init", error, error_type(error))
        return 1
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        _get(ready)
    elif code := through_snapshot(api):
        return code
    while True:
        try:
            invocation = api.next()
        except ApiFailed as error:
            _log("ERROR", "the runtime ends", error)
            return 1
        serve(api, handler, invocation, environ)


def load(name: str) -> tuple[Handler, Callable[[], object]]:
    """The handler called `package.module.function`, and what its module wants to be done before the first event."""
    module, _, function = name.rpartition(".")
    room = importlib.import_module(module.replace("/", "."))
    return getattr(room, function), getattr(room, "ready", _nothing)


def _nothing() -> None:
    """What most rooms do before their first event."""


def _get(ready: Callable[[], object]) -> None:
    """Do what a room wants done beforehand; where that fails, the first event will say so to its caller."""
    try:
        ready()
    except Exception as error:  # noqa: BLE001 - told to the log
        _log("ERROR", "the room could not be made ready", error)


def through_snapshot(api: RuntimeApi) -> int:
    """Go through the platform's snapshot, with what was registered to run before and after; 0, or an exit code."""
    try:
        # Of the managed image; the only one that knows in which order the registered ones run.
        hooks = importlib.import_module("awslambdaric.lambda_runtime_hooks_runner")
        hooks.run_before_snapshot()
        api.wait_for_restore()
    except Exception as error:  # noqa: BLE001 - told to the platform and to the log
        _log("ERROR", "what runs before the snapshot failed", error)
        _tell(None, api.fail_at, "init", error, "Runtime.BeforeSnapshotError")
        return NO_SNAPSHOT
    try:
        hooks.run_after_restore()
    except Exception as error:  # noqa: BLE001 - told to the platform and to the log
        _log("ERROR", "what runs after the restore failed", error)
        _tell(None, api.fail_at, "restore", error, "Runtime.AfterRestoreError")
        return NOT_RESTORED
    return 0


def serve(api: RuntimeApi, handler: Handler, invocation: Invocation, environ: MutableMapping[str, str]) -> None:
    """One invocation, from its event to the end of its answer."""
    if trace := invocation.headers.get("lambda-runtime-trace-id"):
        environ[TRACE] = trace
    else:
        environ.pop(TRACE, None)
    event: Any = None
    try:
        event = json.loads(invocation.body)
        result = handler(event, context_from(invocation.headers, environ))
        whole = b"" if isinstance(result, Answer) else json.dumps(result, ensure_ascii=False).encode()
    except Exception as error:  # noqa: BLE001 - becomes the answer
        _log("ERROR", "the handler failed", error, invocation)
        _fail(api, invocation, event, error)
        return
    if isinstance(result, Answer):
        send(api, invocation, result)
    else:
        _tell(invocation, api.answer, invocation, whole)


def _fail(api: RuntimeApi, invocation: Invocation, event: Any, error: Exception) -> None:
    """The answer of an invocation whose handler raised before it had any.

    An API that streams would break off at the platform's own error answer, so it is given a 500 that OpenAI clients
    can read.  The error trailers come behind it.  The platform copies the body to the invoker first and looks
    at the trailers only then (core/directinvoke in the published sources of its emulator): the caller has its answer,
    and the invocation still counts as an error.  Any other invoker gets the error as from the managed loop.
    """
    if not takes_pieces(event):
        _tell(invocation, api.fail, invocation, error)
        return
    message = "The router failed. The request id names this failure in its log."
    problem = {"message": message, "type": "server_error", "param": None, "code": "router_failed"}
    headers = {"content-type": "application/json", "x-request-id": _request_id(event, invocation)}
    send(api, invocation, Answer(500, headers, json.dumps({"error": problem}).encode(), fault=error))


def _request_id(event: Mapping[str, Any], invocation: Invocation) -> str:
    context = event.get("requestContext")
    return str(context.get("requestId") or invocation.id) if isinstance(context, dict) else invocation.id


def prelude(answer: Answer) -> bytes:
    """Status and headers as API Gateway wants them ahead of the body, in ASCII whatever the headers hold."""
    return json.dumps({"statusCode": answer.status, "headers": answer.headers}, default=str).encode() + END_OF_PRELUDE


def send(api: RuntimeApi, invocation: Invocation, answer: Answer) -> None:
    """Give an answer piece by piece.

    What its pieces raise is a fault of ours, as is what it brings: what a provider does wrong is said in the stream
    itself.  The status is out by then, so the error trailers tell the platform, and the log tells us.  Where the
    platform hangs up, the work behind the answer ends.
    """
    try:
        pieces = api.in_pieces(invocation)
        try:
            pieces.write(prelude(answer))
            fault = _pass_on(pieces.write, answer, invocation) or answer.fault
            _expect_accepted(pieces.end(fault), invocation)
        finally:
            pieces.close()
    except HungUp as error:
        _log("WARNING", "the platform hung up on an answer", error, invocation)
    finally:
        answer.close()


def _pass_on(write: Callable[[bytes], None], answer: Answer, invocation: Invocation) -> Exception | None:
    """Write the body; what its pieces raised, if they did."""
    try:
        for data in (answer.body,) if answer.chunks is None else answer.chunks:
            write(data)
    except HungUp:
        raise
    except Exception as error:  # noqa: BLE001 - told to the platform and to the log
        _log("ERROR", "an answer broke off", error, invocation)
        return error
    return None


def _tell(invocation: Invocation | None, call: Callable[..., int], *arguments: object) -> None:
    """Tell the platform something.  Where it does not listen the loop goes on: asking for the next invocation shows."""
    try:
        _expect_accepted(call(*arguments), invocation)
    except HungUp as error:
        _log("WARNING", "the platform hung up on an answer", error, invocation)


def _expect_accepted(status: int, invocation: Invocation | None) -> None:
    if status != 202:
        _log("WARNING", f"the platform did not accept an answer ({status})", None, invocation)


def _log(level: str, message: str, error: BaseException | None, invocation: Invocation | None = None) -> None:
    """One JSON line, with the names that the rooms' own logs have."""
    now = time.time()
    line: dict[str, Any] = {
        "level": level,
        "message": message,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z",
        "service": "runtime",
    }
    if invocation is not None:
        line["function_request_id"] = invocation.id
    if error is not None:
        line |= {"exception_name": type(error).__name__, "cause": str(error)}
    if error is not None and level == "ERROR":
        line["exception"] = "".join(traceback.format_exception(error))
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(os.environ))
