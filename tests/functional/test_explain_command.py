"""`understudy explain` over the local stack: real requests, told afterwards."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local.stack import LocalStack, Options
from understudy.cli import main


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    stack = LocalStack(Options(port=0, api_key="us-test"), on_alert=lambda alert: None)
    stack.start()
    for simulator in stack.simulators.values():
        simulator.token_delay = 0
    kept = Path(os.environ["UNDERSTUDY_DECISION_LOG"])
    yield stack
    stack.stop()
    assert (False, None) == (kept.parent.exists(), os.environ.get("UNDERSTUDY_DECISION_LOG"))


def ask(stack: LocalStack, *, key: str = "us-test", **more: object) -> str:
    """The id of a request that has been answered."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "my secret plan"}], **more}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{stack.base_url}/chat/completions", json=body, headers=headers, timeout=15)
    return answer.headers["x-understudy-request-id"]


def told(stack: LocalStack, request_id: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints, once the request is there: a stream is logged when its last byte is out."""
    end = time.monotonic() + 2
    while main(["explain", request_id, "--local-url", stack.url]) != 0 and time.monotonic() < end:
        time.sleep(0.01)
    return capsys.readouterr().out


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_failover_is_told(stack: LocalStack, stream: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Who was asked, why, what the lead said and who answered; never what the caller said."""
    stack.simulators["openai"].set_fault("simulated-gpt", "garbage")
    request_id = ask(stack, stream=stream)
    stack.simulators["openai"].set_fault("simulated-gpt", None)
    words = told(stack, request_id, capsys)
    lines = words.splitlines()
    assert f"request {request_id}  route chat  20" == lines[0][: len(f"request {request_id}  route chat  20")]
    assert "answered by understudy after 3 attempts in " in lines[0]
    assert ("control document version 1, client local", stream) == (lines[1][:40], "streamed" in lines[1])
    assert "candidates:  1.  lead        place 1, healthy" in lines
    attempts = [line for line in lines if " garbage" in line or " answered, first token after" in line]
    assert ["lead", "lead", "understudy"] == [line[13:].split()[1] for line in attempts]
    assert "its breaker opened for 8." in words
    assert (True, False) == ("$0.0" in words, "secret plan" in words)


def test_a_refused_request_is_told(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that was never decided on says why; a wrong key is not repeated."""
    words = told(stack, ask(stack, key="wrong-key"), capsys)
    assert "refused:     status 401, code invalid_api_key, unauthenticated" in words.splitlines()
    assert False is ("wrong-key" in words)
    assert "field model" in told(stack, ask(stack, model="none"), capsys)


@pytest.mark.parametrize("request_id", ["unknown", "../info", "a b/ü?x=1", "%2e"])
def test_an_unknown_request_is_said_so(stack: LocalStack, request_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that is not there gives exit code 1 and one line that says so."""
    code = main(["explain", request_id, "--local-url", stack.url])
    out, err = capsys.readouterr()
    assert (1, "", 1) == (code, out, len(err.splitlines()))
    assert f"there is no request {request_id!r} among the last 1000" in err


def test_the_records_are_served(stack: LocalStack) -> None:
    """GET /_local/decisions/ID gives the log records of one request as JSON."""
    request_id = ask(stack)
    records = json.loads(httpx.get(f"{stack.url}/_local/decisions/{request_id}").text)["records"]
    assert [("decision", request_id)] == [(record["message"], record["request_id"]) for record in records]


DEAF = """\
schema: 1
providers: {nobody: {preset: ollama, base_url: "http://127.0.0.1:9/v1"}}
targets: {plain: {provider: nobody, model: m, capabilities: {tools: false}}}
routes: {chat: {targets: [plain]}}
"""


def test_a_request_that_no_target_can_carry_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which target stood in the way and what it declares, its preset's part included, although nobody was asked."""
    config = tmp_path / "router.yaml"
    config.write_text(DEAF)
    stack = LocalStack(Options(port=0, api_key="us-test", config=config, simulators=False), on_alert=lambda alert: None)
    stack.start()
    try:
        words = told(stack, ask(stack, tools=[{"type": "function", "function": {"name": "f"}}]), capsys)
    finally:
        stack.stop()
    declared = "[it declares: no tools, no image urls, refuses logit_bias, n, tool_choice]"
    assert f"because:     plain  it does not take tools  {declared}" == words.splitlines()[-1]
