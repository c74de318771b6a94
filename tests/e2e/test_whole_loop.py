"""The whole loop as a user meets it: `understudy up` as a process, the openai SDK as the client, over real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import openai
import pytest

ROOT = Path(__file__).parents[2]
UNDERSTUDY = [sys.executable, "-m", "understudy.cli"]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1"}
MESSAGES = [{"role": "user", "content": "Are you there?"}]
LEAD = "[simulated openai provider, model simulated-gpt] You said: Are you there?"
STAND_IN = "[simulated anthropic provider, model simulated-claude] You said: Are you there?"


class Subscriber:
    """An HTTP endpoint of the user's own that receives alerts."""

    def __init__(self) -> None:
        self.messages: list[dict] = []
        received = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if body["Type"] == "Notification":
                    received.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/alerts"


class Stack:
    """A running `understudy up` and what it has printed."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*UNDERSTUDY, "up", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENV,
            cwd=ROOT,
        )
        threading.Thread(target=self._read, daemon=True).start()
        wait(lambda: any("is up" in line for line in self.lines) or self.process.poll() is not None, 20)
        ready = re.search(r"base_url=(\S+) api_key=(\S+)", "".join(self.lines))
        assert ready is not None, "".join(self.lines)
        self.base_url, self.api_key = ready[1], ready[2]
        self.url = self.base_url.removesuffix("/v1")
        self.client = openai.OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0, timeout=20)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def cli(self, *arguments: str) -> str:
        done = subprocess.run(
            [*UNDERSTUDY, *arguments, "--local-url", self.url], capture_output=True, text=True, env=ENV, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict:
        return json.loads(self.cli("status", "--local", "--json"))

    def alerts(self) -> list[dict]:
        with urllib.request.urlopen(f"{self.url}/_local/alerts", timeout=5) as answer:
            return json.load(answer)["alerts"]

    def ask(self) -> str:
        done = self.client.chat.completions.create(model="chat", messages=MESSAGES)
        return done.choices[0].message.content

    def stream(self) -> str:
        chunks = self.client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def wait(until: Callable[[], bool], seconds: float) -> None:
    """Wait for something the stack does on its own."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def subscriber() -> Iterator[Subscriber]:
    subscriber = Subscriber()
    yield subscriber
    subscriber.server.shutdown()
    subscriber.server.server_close()


@pytest.fixture(scope="module")
def stack(subscriber: Subscriber) -> Iterator[Stack]:
    stack = Stack("--alert-url", subscriber.url)
    yield stack
    stack.process.kill()
    stack.process.wait()


def test_the_whole_loop(stack: Stack, subscriber: Subscriber) -> None:
    """The lead answers; broken, the understudy does, unseen, with one alert; healed, one resolve, and it is back."""
    assert LEAD == stack.ask()
    assert LEAD == stack.stream()

    stack.cli("break", "lead", "http_500")
    assert [STAND_IN] * 6 == [call() for call in (stack.ask, stack.stream) * 3]
    wait(lambda: stack.status()["targets"]["lead"]["breaker"]["state"] == "open", 5)
    wait(lambda: len(stack.alerts()) == 1, 5)
    assert ["lead/outage"] == [f"{i['subject']}/{i['kind']}" for i in stack.status()["incidents"]]
    assert "[critical] lead is down" == stack.alerts()[0]["title"]

    stack.cli("heal", "lead")
    wait(lambda: len(stack.alerts()) == 2, 30)
    assert [] == stack.status()["incidents"]
    wait(lambda: stack.ask() == LEAD and stack.stream() == LEAD, 10)

    time.sleep(1)
    titles = ["[critical] lead is down", "[resolved] lead is back"]
    assert titles == [alert["title"] for alert in stack.alerts()]
    assert titles == [message["Subject"] for message in subscriber.messages]
    assert titles == [line.removeprefix("ALERT ").strip() for line in stack.lines if line.startswith("ALERT")]


def test_a_published_document_is_in_force_within_two_seconds(stack: Stack, tmp_path: Path) -> None:
    """A running router serves a new version two seconds after `publish`, and the old one after `rollback`."""
    version = stack.status()["document_version"]
    text = (ROOT / "infra/local/router.local.yaml").read_text()
    info = json.load(urllib.request.urlopen(f"{stack.url}/_local/document", timeout=5))["source"]
    assert text.splitlines()[0] == info.splitlines()[0]
    document = tmp_path / "router.yaml"
    document.write_text(info.replace("  chat:\n", "  chat-2:\n"))

    assert "chat-2" in stack.cli("diff", str(document), "--local")
    stack.cli("publish", str(document), "--local", "--note", "rename the route")
    assert "\n  chat-2:\n" in stack.cli("show", "--local")
    assert "\n  chat:\n" in stack.cli("show", "--local", "--version", str(version))
    wait(lambda: [m.id for m in stack.client.models.list()] == ["chat-2"], 2.5)
    with pytest.raises(openai.NotFoundError):
        stack.ask()

    stack.cli("rollback", str(version), "--local")
    wait(lambda: [m.id for m in stack.client.models.list()] == ["chat"], 2.5)


def test_when_every_target_is_down_the_error_names_each(stack: Stack) -> None:
    """With nobody left the caller gets a bounded 503 that says of each candidate why it was not used."""
    stack.cli("break", "lead", "http_500")
    stack.cli("break", "understudy", "reset")
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        stack.ask()
    stack.cli("heal", "lead")
    stack.cli("heal", "understudy")
    assert 503 == caught.value.status_code
    assert "no_target_answered" == caught.value.code
    assert {"lead", "understudy"} <= set(re.findall(r"lead|understudy", caught.value.body["message"]))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the stack with exit code 0 within seconds, without a traceback."""
    stack = Stack()
    assert LEAD == stack.ask()
    stack.process.send_signal(number)
    assert 0 == stack.process.wait(timeout=15)
    assert "Traceback" not in "".join(stack.lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--host", "0.0.0.0"], "loopback only"),
        (["up", "--no-simulators", "--port", "0"], "--config"),
        (["status"], "--local"),
        (["validate", "/nonexistent.yaml"], "No such file"),
        (["status", "--local", "--local-url", "http://127.0.0.1:9"], "understudy up"),
    ],
)
def test_a_refused_command_says_what_to_do(arguments: list[str], words: str) -> None:
    """A command that cannot be carried out exits with 1 and says why on one line, without a traceback."""
    done = subprocess.run([*UNDERSTUDY, *arguments], capture_output=True, text=True, env=ENV, cwd=ROOT)
    assert (1, 1) == (done.returncode, len(done.stderr.strip().splitlines()))
    assert words in done.stderr


def test_the_router_goes_on_without_its_table() -> None:
    """With DynamoDB gone the router answers, whole and streaming, from what it knows."""
    stack = Stack()
    try:
        assert LEAD == stack.ask()
        with urllib.request.urlopen(f"{stack.url}/_local/info", timeout=5) as answer:
            info = json.load(answer)
        credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        table = boto3.client("dynamodb", endpoint_url=info["aws_endpoint"], region_name=info["region"], **credentials)
        table.delete_table(TableName=info["table"])
        time.sleep(2.2)
        began = time.monotonic()
        assert [LEAD, LEAD, LEAD] == [stack.ask(), stack.stream(), stack.ask()]
        assert time.monotonic() - began < 2
    finally:
        stack.process.kill()
        stack.process.wait()
