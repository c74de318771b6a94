"""What the Lambda platform is promised by our runtime loop: the real one, as a process, against a Runtime API."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime_api import ROOT, WRAPPER, Posted, Runtime, RuntimeApi, running

DEMO = "tests.demo_room.handler"
API_EVENT = {"httpMethod": "POST", "requestContext": {"requestId": "api-1"}, "stageVariables": {"stream": "on"}}
ERROR = {
    "message": "The router failed. The request id names this failure in its log.",
    "type": "server_error",
    "param": None,
    "code": "router_failed",
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[RuntimeApi, Runtime]]:
    """One runtime that serves the demo room through many tests, as an environment does through many invocations."""
    with RuntimeApi() as api, running(api.address, DEMO, environ={"AWS_LAMBDA_FUNCTION_NAME": "demo"}) as runtime:
        yield api, runtime


@pytest.fixture
def api(served: tuple[RuntimeApi, Runtime]) -> RuntimeApi:
    return served[0]


@pytest.fixture
def runtime(served: tuple[RuntimeApi, Runtime]) -> Runtime:
    return served[1]


def from_api(**event: Any) -> dict[str, Any]:
    """An API Gateway event whose body is an event of the demo room."""
    return {**API_EVENT, "body": json.dumps(event)}


def asked(api: RuntimeApi, **how: Any) -> dict[str, Any]:
    """What the room sees of an invocation."""
    return dict(json.loads(api.invoke({"do": "asked"}, **how).body))


def lateness(answer: Posted) -> list[float]:
    """Milliseconds between the making and the arrival of each chunk."""
    return [(at - int(data.split()[0])) / 1e6 for at, data in answer.chunks[1:]]


def test_an_answer_is_posted_as_the_platform_wants_it(api: RuntimeApi) -> None:
    """A streamed answer has the headers of a streaming response, its prelude first, and an end."""
    answer = api.invoke({"do": "said", "status": 201, "headers": {"a": "b"}, "chunks": ["one", "two"]})
    wanted = {
        "content-type": "application/vnd.awslambda.http-integration-response",
        "lambda-runtime-function-response-mode": "streaming",
        "transfer-encoding": "chunked",
        "trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
    }
    assert wanted == {name: answer.headers[name] for name in wanted}
    prelude = b'{"statusCode": 201, "headers": {"a": "b"}}' + b"\0" * 8
    assert [prelude, b"one", b"two"] == [data for _, data in answer.chunks]
    assert ("/invocation/", "/response", True, {}) == (answer.path[:12], answer.path[-9:], answer.ended, {})


@pytest.mark.parametrize("how", ["stream", "looped"])
def test_chunks_arrive_as_they_are_produced(api: RuntimeApi, how: str) -> None:
    """The median chunk is at most 5 ms late, also from the event loop's thread, and none waits for the others."""
    late = lateness(api.invoke({"do": how, "count": 60, "gap": 0.005}))
    assert 60 == len(late)
    assert (True, True) == (statistics.median(late) <= 5, max(late) <= 250), late


@pytest.mark.parametrize(
    ("given", "status", "body"),
    [
        ({"do": "said", "text": '{"a": 1}', "headers": {"content-type": "application/json"}}, 200, b'{"a": 1}'),
        ({"do": "said", "text": "{}", "status": 401}, 401, b"{}"),
        ({"do": "said", "text": "", "status": 404}, 404, b""),
        ({"do": "said", "chunks": []}, 200, b""),
        ({"do": "said", "chunks": ["", "a", "", "", "b", ""]}, 200, b"ab"),
        ({"do": "said", "chunks": ["größer 👍", "\0" * 8]}, 200, "größer 👍".encode() + b"\0" * 8),
        ({"do": "said", "text": "x" * 6_000_000}, 200, b"x" * 6_000_000),
        ({"do": "said", "chunks": ["x" * 3_000_000] * 3}, 200, b"x" * 9_000_000),
    ],
    ids=["json", "401", "404 without a body", "no chunk", "empty chunks", "unicode", "6 MB whole", "9 MB in 3 chunks"],
)
@pytest.mark.parametrize("event", [dict, from_api], ids=["bare", "from the API"])
def test_every_answer_has_a_prelude(api: RuntimeApi, event: Any, given: Any, status: int, body: bytes) -> None:
    """Whole or in chunks, good or bad, large or empty: status and headers come first, then the body to its end."""
    answer = api.invoke(event(**given))
    assert ({"statusCode": status, "headers": given.get("headers", {})}, body) == (answer.prelude, answer.body)
    assert (True, None, True) == (answer.ended, answer.error, all(data for _, data in answer.chunks))


@pytest.mark.parametrize("value", ["größer 👍", "\0\n", "\ud800", 'a"b\\'])
def test_any_header_value_survives_the_prelude(api: RuntimeApi, value: str) -> None:
    """A prelude is ASCII and holds no NUL, so that no header ends it; what a header held is what is read from it."""
    answer = api.invoke({"do": "said", "headers": {"x-a": value}})
    assert {"x-a": value} == answer.prelude["headers"]


def test_what_is_no_answer_is_given_as_json(api: RuntimeApi) -> None:
    """A result that is no answer is posted as the managed loop would: whole, as JSON, without a prelude."""
    for result in ({"statusCode": 200, "body": "größer"}, [1, None], "text", None):
        answer = api.invoke({"do": "plain", "result": result})
        assert ("application/json", False, result) == (
            answer.headers["content-type"],
            answer.streamed,
            json.loads(answer.body),
        )


@pytest.mark.parametrize(("do", "name"), [("fail", "KeyError"), ("unfit", "TypeError")])
def test_a_handler_that_raises_is_a_500_of_the_api(api: RuntimeApi, runtime: Runtime, do: str, name: str) -> None:
    """Before the prelude an error is a 500 that OpenAI clients can read, and counts as an error by its trailers."""
    answer = api.invoke(from_api(do=do))
    headers = {"content-type": "application/json", "x-request-id": "api-1"}
    assert {"statusCode": 500, "headers": headers} == answer.prelude
    assert {"error": ERROR} == json.loads(answer.body)
    assert answer.error is not None
    assert (f"Runtime.{name}", name, True) == (answer.error[0], answer.error[1]["errorType"], answer.ended)
    assert "Traceback" in runtime.logged("the handler failed")["exception"]


@pytest.mark.parametrize("event", [{"do": "fail"}, {"do": "unfit"}, b"no json", {"body": 1}])
def test_a_handler_that_raises_is_an_error_to_any_other_invoker(api: RuntimeApi, event: Any) -> None:
    """An event that is none of API Gateway's gets the platform's own error, as from the managed loop."""
    answer = api.invoke(event)
    kind = answer.headers["lambda-runtime-function-error-type"]
    assert ("/error", f"Runtime.{json.loads(answer.body)['errorType']}") == (answer.path[-6:], kind)


def test_a_bug_in_the_middle_ends_with_error_trailers(api: RuntimeApi, runtime: Runtime) -> None:
    """What was said before a bug arrives, the trailers name it, and the log has its traceback and the request id."""
    answer = api.invoke(from_api(do="stream", count=5, fail_at=2))
    error = {"errorType": "ValueError", "errorMessage": "a bug, mid-stream: größer"}
    assert (3, True, ("Runtime.ValueError", error)) == (len(answer.chunks), answer.ended, answer.error)
    line = runtime.logged("an answer broke off")
    assert answer.path.split("/")[2] == line["function_request_id"]
    assert "ValueError: a bug" in line["exception"]


def test_the_invocation_id_is_echoed(api: RuntimeApi) -> None:
    """Whatever is posted for an invocation carries the id that came with it, and none where none came."""
    name = "Lambda-Runtime-Invocation-Id"
    for number, event in enumerate(({"do": "stream"}, {"do": "plain"}, {"do": "fail"}, from_api(do="fail"))):
        assert f"i-{number}" == api.invoke(event, headers={name: f"i-{number}"}).headers[name.lower()]
        assert name.lower() not in api.invoke(event).headers


def test_the_trace_id_is_that_of_the_invocation(api: RuntimeApi) -> None:
    """The tracing variable is set for each invocation, and not left from the one before."""
    given = [{"Lambda-Runtime-Trace-Id": "Root=1-a"}, {}, {"Lambda-Runtime-Trace-Id": "Root=1-b"}]
    assert ["Root=1-a", None, "Root=1-b"] == [asked(api, headers=headers)["trace"] for headers in given]


def test_the_context_tells_the_invocation(api: RuntimeApi) -> None:
    """A handler can ask for the request id, the function and the time that is left."""
    seen = asked(api, seconds=30)
    assert ("arn:aws:lambda:eu-west-1:123456789012:function:demo:live", "demo") == (seen["arn"], seen["function"])
    assert seen["request_id"].startswith("request-")
    assert 10_000 < seen["left"] <= 30_000
    assert 0 == asked(api, seconds=-5)["left"]


@pytest.mark.parametrize("how", ["stream", "looped"])
def test_a_platform_that_hangs_up_ends_the_work(how: str) -> None:
    """When the connection of an answer breaks, the work behind it ends, and the next invocation is served."""
    with RuntimeApi() as api, running(api.address, DEMO) as runtime:
        answer = api.invoke({"do": how, "count": 100_000, "gap": 0.002}, hang_up=3)
        request = answer.path.split("/")[2]
        assert request == runtime.logged("the platform hung up on an answer")["function_request_id"]
        # The event loop's own work ends a moment after it was told to.
        until = time.monotonic() + 5
        while not (ended := asked(api)["ended"]) and time.monotonic() < until:
            time.sleep(0.01)
        assert (False, [request]) == (answer.ended, ended)
        # A caller that leaves is nobody's fault.
        assert {"WARNING"} == {line["level"] for line in runtime.log}


def test_many_invocations_are_one_process_and_one_polling_connection(api: RuntimeApi) -> None:
    """Environments are reused: process and polling connection stay, whatever the answers were like."""
    before = asked(api)["pid"]
    api.polls.clear()
    for number in range(60):
        assert b"x" * number == api.invoke({"do": "said", "chunks": ["x"] * number}).body
    assert (before, 1) == (asked(api)["pid"], len(set(api.polls)))


def test_a_broken_polling_connection_is_made_again() -> None:
    """A poll that fails is repeated, so that a connection that was closed meanwhile costs no environment."""
    with RuntimeApi() as api:
        api.refusals = [None, None, None]
        with running(api.address, DEMO):
            assert b"a" == api.invoke({"do": "said", "text": "a"}).body
        assert 4 <= len(api.polls)


@pytest.mark.parametrize("refusal", [[500], [403], [None] * 7], ids=["500", "403", "seven broken polls"])
def test_a_platform_that_has_no_invocations_ends_the_process(refusal: list[int | None]) -> None:
    """A state that the platform calls final, or a poll that never works, ends the process, so that a new one starts."""
    with RuntimeApi() as api:
        api.refusals = list(refusal)
        with running(api.address, DEMO) as runtime:
            assert 1 == runtime.ended()
            assert "ApiFailed" == runtime.logged("the runtime ends")["exception_name"]


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        ("broken.handler", "Runtime.ZeroDivisionError"),
        ("tests.demo_room.nothing", "Runtime.AttributeError"),
        ("no_such_room.handler", "Runtime.ModuleNotFoundError"),
        ("handler", "Runtime.ValueError"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_an_init_error(tmp_path: Path, handler: str, kind: str) -> None:
    """The platform is told what is wrong with the handler, the log as well, and the process ends with 1."""
    (tmp_path / "broken.py").write_text("1 / 0")
    path = f"{tmp_path}:{ROOT / 'functions'}:{ROOT}"
    with RuntimeApi() as api, running(api.address, handler, environ={"PYTHONPATH": path}) as runtime:
        told = api.posted()
        assert ("/init/error", kind) == (told.path, told.headers["lambda-runtime-function-error-type"])
        assert (1, kind) == (runtime.ended(), f"Runtime.{json.loads(told.body)['errorType']}")
        assert "Traceback" in runtime.logged("the handler could not be loaded")["exception"]


READY = """
said = []
def ready():
    said.append("ready")
    {then}
def handler(event, context):
    return said
"""


@pytest.mark.parametrize(("then", "logged"), [("pass", False), ("1 / 0", True)], ids=["well", "badly"])
def test_a_room_is_made_ready_before_its_first_event(tmp_path: Path, then: str, logged: bool) -> None:
    """What the room wants to be done beforehand is done once; its failure is logged and costs no event."""
    (tmp_path / "early.py").write_text(READY.format(then=then))
    environ = {"LAMBDA_TASK_ROOT": str(tmp_path)}
    with RuntimeApi() as api, running(api.address, "early.handler", environ=environ) as runtime:
        assert [["ready"], ["ready"]] == [json.loads(api.invoke({}).body) for _ in range(2)]
        assert logged is ("the room could not be made ready" in runtime.text)


HOOKED = """
import time
import snapshot_restore_py as snapshots

said = []

def say(name):
    said.append([name, time.monotonic_ns()])

for name in ("first", "second"):
    snapshots.register_before_snapshot(say, "before " + name)
    snapshots.register_after_restore(say, "after " + name)

def handler(event, context):
    return said
"""


def in_snapshot(api: RuntimeApi, tmp_path: Path, source: str) -> Any:
    """A runtime that goes through a snapshot with the module `hooked`."""
    (tmp_path / "hooked.py").write_text(source)
    environ = {"LAMBDA_TASK_ROOT": str(tmp_path), "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    return running(api.address, "hooked.handler", environ=environ)


def test_a_snapshot_is_taken_between_the_hooks(tmp_path: Path) -> None:
    """Before-hooks run, the last one first; the platform takes its snapshot; after-hooks run; then events come."""
    with RuntimeApi() as api, in_snapshot(api, tmp_path, HOOKED):
        said = json.loads(api.invoke({}).body)
        assert ["GET /restore/next", "GET /invocation/next"] == api.paths[:2]
    assert ["before second", "before first", "after first", "after second"] == [name for name, _ in said]
    moments = [at for _, at in said]
    assert sorted(moments) == moments
    assert (True, True) == (moments[1] < api.seen[0][0] < moments[2], moments[3] < api.seen[1][0])


@pytest.mark.parametrize(
    ("hook", "path", "kind", "code"),
    [
        ("register_before_snapshot", "/init/error", "Runtime.BeforeSnapshotError", 64),
        ("register_after_restore", "/restore/error", "Runtime.AfterRestoreError", 65),
    ],
)
def test_a_hook_that_raises_ends_the_process(tmp_path: Path, hook: str, path: str, kind: str, code: int) -> None:
    """The platform is told which side of the snapshot failed; the exit codes are those of the managed runtime."""
    source = f"import snapshot_restore_py as s\ns.{hook}(lambda: 1 / 0)\ndef handler(event, context): ..."
    with RuntimeApi() as api, in_snapshot(api, tmp_path, source) as runtime:
        told = api.posted()
        assert (path, kind) == (told.path, told.headers["lambda-runtime-function-error-type"])
        assert code == runtime.ended()


def test_imports_are_found_in_the_managed_order(tmp_path: Path) -> None:
    """The function's own folder comes first, then layers or the operator's path, then the runtime's; nothing else."""
    for folder in ("task", "layer", "image", "here"):
        (tmp_path / folder).mkdir()
        for name in ("everywhere", f"only_{folder}"):
            (tmp_path / folder / f"{name}.py").write_text(f"where = {folder!r}")
    (tmp_path / "task" / "room.py").write_text(
        "import everywhere, only_task, only_layer, only_image, importlib.util as u\n"
        "def handler(event, context): return [everywhere.where, u.find_spec('only_here') is None]"
    )
    environ = {
        "LAMBDA_TASK_ROOT": str(tmp_path / "task"),
        "LAMBDA_RUNTIME_DIR": str(tmp_path / "image"),
        "PYTHONPATH": f"{tmp_path / 'layer'}:{ROOT / 'functions'}",
    }
    command = [str(WRAPPER), sys.executable, "bootstrap.py"]
    with RuntimeApi() as api, running(api.address, "room.handler", environ=environ, command=command):
        assert ["task", True] == json.loads(api.invoke({}).body)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "/var/task:/opt/python/lib/python3.13/site-packages:/opt/python:/var/runtime"),
        ({"PYTHONPATH": "/own"}, "/var/task:/own:/var/runtime"),
        ({"LAMBDA_TASK_ROOT": "/a b", "LAMBDA_RUNTIME_DIR": "/r"}, None),
    ],
)
def test_the_wrapper_keeps_the_interpreter(tmp_path: Path, given: dict[str, str], expected: str | None) -> None:
    """The interpreter that the managed runtime names runs our loop, unbuffered, with the paths of the managed one."""
    python = tmp_path / "python3.13"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH"\necho "$@"\n')
    python.chmod(0o755)
    expected = expected or "/a b:/opt/python/lib/python3.13/site-packages:/opt/python:/r"
    command = [str(WRAPPER), str(python), "/var/runtime/bootstrap.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=given, check=True)
    assert f"{expected}\n-u -P -m understudy.runtime.lambda_loop\n" == done.stdout


def test_the_wrapper_says_when_it_is_misused() -> None:
    """Without the interpreter that the managed runtime gives it, the wrapper ends with a message."""
    done = subprocess.run([str(WRAPPER)], capture_output=True, text=True, env={**os.environ}, check=False)
    assert (True, True) == (done.returncode != 0, "interpreter is missing" in done.stderr)
    assert os.access(WRAPPER, os.X_OK)


def test_what_is_printed_is_not_buffered(tmp_path: Path) -> None:
    """A line that a handler prints is out before the answer ends: a freeze must not swallow metrics."""
    (tmp_path / "room.py").write_text("def handler(event, context): print('a metric')")
    with RuntimeApi() as api, running(api.address, "room.handler", environ={"LAMBDA_TASK_ROOT": str(tmp_path)}) as loop:
        api.invoke({})
        assert "a metric\n" == loop.text
