"""Both ways to a simulated provider, through the real handler and directly, and what DynamoDB is asked meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urljoin

import boto3
import httpx

from infra.local.aws import TABLE, LocalAws, start_aws
from infra.local.simulators import status_page
from infra.local.stack import DOCUMENT, SIMULATED_KEY
from infra.local.template import wiring
from understudy.keys import ClientKey, hash_key, new_key
from understudy.services.publish_control import publish
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
MODEL = "simulated-gpt"


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds until the last byte, processor seconds of this process, chunks, whether DynamoDB was asked meanwhile."""

    total: float
    cpu: float
    chunks: int
    table_call: bool


@dataclass(slots=True)
class TableCalls:
    """Counts DynamoDB API calls where botocore makes them; `under_way` are those not answered yet."""

    made: Counter[str] = field(default_factory=Counter)
    under_way: int = 0

    def watch(self) -> None:
        """Must come before the clients are built: they copy the session's hooks."""
        boto3.setup_default_session()
        events = boto3.DEFAULT_SESSION.events
        events.register("before-call.dynamodb", self._begin)
        for name in ("after-call.dynamodb", "after-call-error.dynamodb"):
            events.register(name, self._end)

    def _begin(self, model: Any, **_: Any) -> None:
        self.made[model.name] += 1
        self.under_way += 1

    def _end(self, **_: Any) -> None:
        self.under_way -= 1


@dataclass(slots=True)
class Bench:
    """Both ways to the same simulator: through the handler, and directly with the router's own client settings."""

    handler: Callable[[Any, Any], Any]
    key: str
    url: str
    calls: TableCalls
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    client: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
        self.client = httpx.AsyncClient(trust_env=False, follow_redirects=False, limits=limits)

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()

    def routed(self, prompt: str, stream: bool) -> Sample:
        """Through the handler, until its last byte is out."""
        event = proxy_event(self.key, prompt, stream)
        made, busy = self.calls.made.total(), self.calls.under_way > 0
        cpu, began = time.process_time(), time.perf_counter()
        answer = self.handler(event, None)
        chunks = 0
        for _ in answer.chunks or (answer.body,):
            chunks += 1
        total, cpu = time.perf_counter() - began, time.process_time() - cpu
        if (answer.status, answer.headers.get("x-understudy-target")) != (200, "lead"):
            raise SystemExit(f"not a healthy answer: {answer.status} {answer.headers} {answer.body!r}")
        return Sample(total, cpu, chunks, busy or self.calls.made.total() > made)

    def direct(self, prompt: str, stream: bool) -> Sample:
        return self.loop.run_until_complete(self._direct(prompt, stream))

    async def _direct(self, prompt: str, stream: bool) -> Sample:
        body: dict[str, Any] = {"model": MODEL, "messages": messages(prompt)}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if stream else "application/json",
            "accept-encoding": "identity",
            "authorization": f"Bearer {SIMULATED_KEY}",
        }
        content, timeout = json.dumps(body).encode(), httpx.Timeout(None, connect=5)
        made, busy = self.calls.made.total(), self.calls.under_way > 0
        cpu, began = time.process_time(), time.perf_counter()
        request = self.client.build_request("POST", self.url, headers=headers, content=content, timeout=timeout)
        response = await self.client.send(request, stream=True)
        chunks = 0
        try:
            async for _ in response.aiter_raw():
                chunks += 1
        finally:
            await response.aclose()
        total, cpu = time.perf_counter() - began, time.process_time() - cpu
        response.raise_for_status()
        return Sample(total, cpu, chunks, busy or self.calls.made.total() > made)


def messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def proxy_event(key: str, prompt: str, stream: bool) -> dict[str, Any]:
    """As API Gateway writes it (developer guide, "Input format of a Lambda function for proxy integration")."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Host": "bench.invalid"}
    return {
        "resource": "/{proxy+}",
        "path": "/chat/completions",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": "chat/completions"},
        "stageVariables": {"stream": "on"},
        "requestContext": {"requestId": str(uuid.uuid4()), "stage": "v1", "path": "/v1/chat/completions"},
        "body": json.dumps({"model": "chat", "messages": messages(prompt), "stream": stream}),
        "isBase64Encoded": False,
    }


@contextlib.contextmanager
def simulator(wire: str) -> Iterator[str]:
    """The base URL of a simulator in its own process."""
    command = [sys.executable, "-m", "infra.local.simulators", "--wire", wire, "--port", "0", "--token-delay", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a router finds: moto as AWS, one simulator a wire, a published control document, one client key."""

    urls: dict[str, str]
    aws: LocalAws
    key: str


@contextlib.contextmanager
def surroundings(watch: Callable[[], None] = lambda: None) -> Iterator[Surroundings]:
    """`watch` is called before the first AWS client is built."""
    with contextlib.ExitStack() as stack:
        urls = {wire: stack.enter_context(simulator(wire)) for wire in ("openai", "anthropic")}
        aws = start_aws(wiring().table, (), HOST, 0)
        stack.callback(aws.stop)
        watch()
        store, key = Store(DynamoTable(TABLE)), new_key()
        pages = {f"{wire}_status_page": urljoin(url, status_page.PATH) for wire, url in urls.items()}
        addresses = {f"{wire}_url": url for wire, url in urls.items()} | pages
        text = Template(DOCUMENT.read_text()).substitute(addresses)
        publish(store, text, now=time.time(), by="benchmark", filename=DOCUMENT.name)
        store.put_key(ClientKey(hash_key(key), "benchmark", time.time()))
        yield Surroundings(urls, aws, key)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    calls = TableCalls()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(surroundings(calls.watch))
        os.environ.update(
            UNDERSTUDY_TABLE=TABLE,
            UNDERSTUDY_STREAM="on",
            UNDERSTUDY_LOG_LEVEL="INFO",
            UNDERSTUDY_SIMULATED_KEY=SIMULATED_KEY,
        )
        room = importlib.import_module("route_request.handler")
        # The decision log is written, as it is in Lambda, but not here.
        with contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))):
            room.service()
        stack.callback(lambda: room.loop().stop())
        made = Bench(room.handler, found.key, f"{found.urls['openai']}/chat/completions", calls)
        stack.callback(made.close)
        yield made
