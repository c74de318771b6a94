"""A client of one simulated provider over real sockets, as raw as a test needs it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx

from infra.local.simulators import SeenRequest, SimulatedProvider

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
CREDENTIALS = {
    "openai": {"authorization": "Bearer simulated"},
    "anthropic": {"x-api-key": "simulated", "anthropic-version": "2023-06-01"},
}
PLACE = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
PROPERTIES = {
    "city": {"type": "string"},
    "days": {"type": "integer", "minimum": 3},
    "note": {"type": "string"},
}
SCHEMA = {
    "type": "object",
    "properties": {**PROPERTIES, "unit": {"enum": ["celsius", "kelvin"]}, "place": {"$ref": "#/$defs/place"}},
    "required": ["city", "days", "unit", "place"],
    "$defs": {"place": PLACE},
}
FILLED = {"city": "simulated city", "days": 3, "unit": "celsius", "place": {"ok": True}}
USER = {"role": "user", "content": "count to 8"}


class Client:
    """Speaks to one simulated provider, as raw as the test needs it."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self.provider = provider
        self.wire = provider.wire.name
        self.path = PATHS[self.wire]
        self.address = ("127.0.0.1", provider.port)
        self.headers = {**CREDENTIALS[self.wire], "content-type": "application/json"}
        self.http = httpx.Client(timeout=5, verify=False)  # noqa: S501 - loading certificates takes longer than a test

    def pick(self, openai: Any, anthropic: Any) -> Any:
        return {"openai": openai, "anthropic": anthropic}[self.wire]

    def body(self, text: str = "count to 8", **more: Any) -> dict[str, Any]:
        limit = self.pick({}, {"max_tokens": 1000})
        return {"model": "m", "messages": [{"role": "user", "content": text}], **limit, **more}

    def tools(self) -> list[dict[str, Any]]:
        function = {"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}
        return [self.pick(function, {"name": "forecast", "input_schema": SCHEMA})]

    def send(self, body: Any, **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.provider.port}{self.path}"
        return self.http.post(url, json=body, headers={**self.headers, **headers})

    def post(self, **more: Any) -> httpx.Response:
        return self.send(self.body(**more))

    def stream(self, **more: Any) -> list[dict[str, Any]]:
        return events(self.post(stream=True, **more).text)

    def raw(self, **more: Any) -> socket.socket:
        """A socket on which a request has been sent."""
        connection = socket.create_connection(self.address, timeout=5)
        body = json.dumps(self.body(**more)).encode()
        lines = [f"POST {self.path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return connection

    def says(self, tail: str) -> str:
        return f"[simulated {self.wire} provider, model m] You said: {tail}"

    def text(self, response: httpx.Response) -> str:
        body = response.json()
        if self.wire == "openai":
            return str(body["choices"][0]["message"]["content"])
        return "".join(block["text"] for block in body["content"])

    def streamed(self, received: list[dict[str, Any]]) -> tuple[str, list[str]]:
        """The text and the stop reasons of a stream."""
        if self.wire == "openai":
            choices = [one["choices"][0] for one in received if one.get("choices")]
            text = "".join(choice["delta"].get("content") or "" for choice in choices)
            return text, [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
        deltas = [one["delta"] for one in received if "delta" in one]
        text = "".join(delta.get("text", "") for delta in deltas)
        return text, [delta["stop_reason"] for delta in deltas if "stop_reason" in delta]

    def aborted(self) -> SeenRequest:
        """The last request of the log, once it is marked as aborted (or after a second, as it is)."""
        end = time.monotonic() + 1
        while time.monotonic() < end and not self.provider.requests[-1].aborted:
            time.sleep(0.005)
        return self.provider.requests[-1]


def events(text: str | bytes) -> list[dict[str, Any]]:
    """The JSON events of a stream; `[DONE]` is `{"done": True}`, an unreadable one `{"bad": True}`."""
    lines = (text if isinstance(text, str) else text.decode()).splitlines()
    return [_event(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def _event(data: str) -> Any:
    try:
        return {"done": True} if data == "[DONE]" else json.loads(data)
    except ValueError:
        return {"bad": True}


def drained(connection: socket.socket) -> bytes:
    """Everything up to the end of the connection; ConnectionResetError when it is reset."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def before_silence(connection: socket.socket) -> bytes:
    """Everything that comes before 0.15 s of silence; fails when the connection ends."""
    connection.settimeout(0.15)
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except TimeoutError:
        connection.settimeout(5)
        return received
    raise AssertionError("the connection was closed")


def started(wire: Any) -> Iterator[Client]:
    provider = SimulatedProvider(wire, token_delay=0)
    provider.start()
    one = Client(provider)
    with one.http:
        yield one
    provider.stop()
