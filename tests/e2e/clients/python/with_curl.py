"""curl: what goes over the line, without a package that reads it kindly."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import checking as c
from checking import Cell, same, true

PATHS = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
MEGABYTES_7 = b'{"model": "' + b"x" * 7 * 1024 * 1024 + b'"}'
TIMED_OUT = 28


@dataclass(frozen=True)
class Answer:
    code: int
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def curl(cell: Cell, path: str, *arguments: str, body: Any = None, key: str | None = None) -> Answer:
    """One call; `body` is JSON or bytes, `key` the bearer's."""
    command = ["curl", "-sSN", "-D", "/dev/stderr", "--max-time", "20", f"{cell.base_url}{path}"]
    command += ["-H", f"authorization: Bearer {cell.key if key is None else key}", "-H", "expect:", *arguments]
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    if body is not None:
        command += ["-H", "content-type: application/json", "--data-binary", "@-"]
    done = subprocess.run(command, input=data, capture_output=True)
    *_, last = done.stderr.decode().strip().split("HTTP/1.1 ")
    first, *lines = last.splitlines() or [""]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[0]) if first[:3].isdigit() else 0
    return Answer(done.returncode, status, headers, done.stdout.decode())


# How each API says it: a body that asks, the text of an answer, and the text of the events of one.


def body_of(cell: Cell, content: Any = c.QUESTION, **options: Any) -> Any:
    messages = content if isinstance(content, list) and "role" in content[0] else [{"role": "user", "content": content}]
    field = "input" if cell.front == "responses" else "messages"
    limit = {"max_tokens": 2048} if cell.front == "messages" else {}
    return {"model": cell.model, field: messages} | limit | options


def text_of(cell: Cell, answer: Any) -> str:
    if cell.front == "chat":
        return answer["choices"][0]["message"]["content"]
    if cell.front == "messages":
        return "".join(one["text"] for one in answer["content"] if one["type"] == "text")
    parts = [part for one in answer["output"] if one["type"] == "message" for part in one["content"]]
    return "".join(part["text"] for part in parts)


def ask(cell: Cell, *arguments: str, **options: Any) -> Answer:
    return curl(cell, PATHS[cell.front], *arguments, body=body_of(cell, **options))


def good(answer: Answer) -> Any:
    same((0, 200, "application/json"), (answer.code, answer.status, answer.headers.get("content-type")))
    return answer.json


def events(cell: Cell, answer: Answer) -> list[Any]:
    """The JSON of a stream's events, each checked for its form."""
    same(200, answer.status)
    true(answer.headers["content-type"].startswith("text/event-stream"), answer.headers)
    blocks = [block for block in answer.body.split("\n\n") if block and not block.startswith(":")]
    if cell.front == "chat":
        true(all(block.startswith("data: ") and "\n" not in block for block in blocks), blocks)
        return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]
    found = []
    for block in blocks:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        same(f"event: {found[-1]['type']}", name)
    return found


def said(cell: Cell, found: list[Any]) -> str:
    if cell.front == "chat":
        deltas = [one["choices"][0]["delta"] for one in found if isinstance(one, dict) and one.get("choices")]
        return "".join(one.get("content") or "" for one in deltas)
    if cell.front == "messages":
        deltas = [one["delta"] for one in found if one["type"] == "content_block_delta"]
        return "".join(one.get("text", "") for one in deltas)
    return "".join(one["delta"] for one in found if one["type"] == "response.output_text.delta")


ENDS = {"chat": "[DONE]", "responses": "response.completed", "messages": "message_stop"}
USAGE = {
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
    "messages": ("input_tokens", "output_tokens"),
}


def kind(event: Any) -> str:
    return event if isinstance(event, str) else event.get("type", "chunk")


def models(cell: Cell) -> None:
    true(cell.model in {one["id"] for one in good(curl(cell, "/models"))["data"]}, "the route is not in the list")
    same(cell.model, good(curl(cell, f"/models/{cell.model}"))["id"])
    same(401, curl(cell, "/models", key="wrong").status)


def chat(cell: Cell) -> None:
    answer = good(ask(cell))
    cell.answered(text_of(cell, answer))
    true(all(answer["usage"][name] > 0 for name in USAGE[cell.front]), answer["usage"])


def stream(cell: Cell) -> None:
    options = {"stream_options": {"include_usage": True}} if cell.front == "chat" else {}
    answer = ask(cell, stream=True, **options)
    found = events(cell, answer)
    cell.answered(said(cell, found))
    same((0, ENDS[cell.front]), (answer.code, kind(found[-1])))
    same(1, sum(kind(one) == ENDS[cell.front] for one in found))
    if cell.front == "chat":
        same([], found[-2]["choices"])
        true(all(found[-2]["usage"][name] > 0 for name in USAGE["chat"]), found[-2])
        true(all(one["usage"] is None for one in found[:-2]), "a usage before the last chunk")


def tools(cell: Cell) -> None:
    answer = good(ask(cell, content=c.TOOL_QUESTION, tools=[tool(cell, "get_weather")]))
    asked = {"role": "user", "content": c.TOOL_QUESTION}
    if cell.front == "chat":
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny ☀"}
        history = [asked, answer["choices"][0]["message"], result]
    elif cell.front == "messages":
        (call,) = [one for one in answer["content"] if one["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny ☀"}
        history = [asked, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
    else:
        (call,) = [one for one in answer["output"] if one["type"] == "function_call"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny ☀"}
        history = [asked, *answer["output"], result]
    cell.told(text_of(cell, good(ask(cell, content=history, tools=[tool(cell, "get_weather")]))), "sunny ☀")


def tool(cell: Cell, name: str) -> Any:
    if cell.front == "chat":
        return {"type": "function", "function": {"name": name, "parameters": c.PLACE}}
    if cell.front == "messages":
        return {"name": name, "input_schema": c.PLACE}
    return {"type": "function", "name": name, "parameters": c.PLACE, "strict": True}


def tools_stream(cell: Cell) -> None:
    both = [tool(cell, name) for name in c.TOOL_RESULTS]
    found = events(cell, ask(cell, content=c.TOOLS_QUESTION, tools=both, stream=True))
    arguments: dict[int, str] = {}
    for one in found:
        for index, piece in pieces(cell, one):
            arguments[index] = arguments.get(index, "") + piece
    same([{"city": "simulated city"}] * 2, [json.loads(one) for one in arguments.values()])


def pieces(cell: Cell, event: Any) -> list[tuple[int, str]]:
    """The parts of calls' arguments in an event, each with its call's index."""
    if cell.front == "chat":
        choices = event["choices"] if isinstance(event, dict) else []
        calls = [call for one in choices for call in one["delta"].get("tool_calls") or []]
        return [(call["index"], call["function"].get("arguments", "")) for call in calls]
    if cell.front == "messages":
        given = event.get("delta", {}).get("partial_json") if event["type"] == "content_block_delta" else None
        return [] if given is None else [(event["index"], given)]
    wanted = event["type"] == "response.function_call_arguments.delta"
    return [(event["output_index"], event["delta"])] if wanted else []


def image(cell: Cell) -> None:
    url = f"data:image/png;base64,{c.IMAGE}"
    source = {"type": "base64", "media_type": "image/png", "data": c.IMAGE}
    parts: dict[str, list[Any]] = {
        "chat": [{"type": "text", "text": c.QUESTION}, {"type": "image_url", "image_url": {"url": url}}],
        "responses": [{"type": "input_text", "text": c.QUESTION}, {"type": "input_image", "image_url": url}],
        "messages": [{"type": "text", "text": c.QUESTION}, {"type": "image", "source": source}],
    }
    cell.answered(text_of(cell, good(ask(cell, content=parts[cell.front]))), more=" (with 1 image)")


def multibyte(cell: Cell) -> None:
    cell.answered(text_of(cell, good(ask(cell, content=c.MULTIBYTE))), c.MULTIBYTE)
    cell.answered(said(cell, events(cell, ask(cell, content=c.MULTIBYTE, stream=True))), c.MULTIBYTE)


def headers(cell: Cell) -> None:
    shown = ask(cell).headers
    true(all(shown.get(name) for name in ("x-request-id", "request-id", "x-understudy-target")), shown)
    same("*", shown.get("access-control-allow-origin"))


def refused(cell: Cell, answer: Answer, status: int, type_: str = "") -> Any:
    """The error of an answer, in the API's own shape."""
    same((0, status, "application/json"), (answer.code, answer.status, answer.headers.get("content-type")))
    true(answer.headers.get("x-request-id"), answer.headers)
    body = answer.json
    error = body["error"]
    true(error["message"], body)
    if cell.front == "messages":
        same(("error", type_ or error["type"]), (body["type"], error["type"]))
    else:
        same({"message", "type", "param", "code"}, error.keys())
    return error


def unauthenticated(cell: Cell) -> None:
    for key in ("wrong", "", cell.key[:-1], f"{cell.key}x"):
        answer = curl(cell, PATHS[cell.front], body=body_of(cell), key=key)
        refused(cell, answer, 401, "authentication_error")


def unknown_model(cell: Cell) -> None:
    error = refused(cell, ask(cell, model="no-such-model"), 404, "not_found_error")
    same("model_not_found", error.get("code", "model_not_found"))


def invalid(cell: Cell) -> None:
    for options in ({"stream": "yes"}, {"model": 7}, {"tools": "none"}):
        refused(cell, ask(cell, **options), 400, "invalid_request_error")


def not_json(cell: Cell) -> None:
    for body in (b"{", b"", b"[]", b"\xff", b"[" * 100_000):
        refused(cell, curl(cell, PATHS[cell.front], body=body), 400, "invalid_request_error")


def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        refused(cell, ask(cell, model=cell.faulty), 400, "invalid_request_error")


def retry(fault: str, status: int) -> c.Check:
    def check(cell: Cell) -> None:
        with cell.broken(fault):
            refused(cell, ask(cell, model=cell.faulty), status)
        with cell.broken(fault, 1):
            answer = ask(cell, "--retry", "2", "--retry-delay", "0", model=cell.faulty)
            cell.answered(text_of(cell, last(answer)))

    return check


def last(answer: Answer) -> Any:
    """The last body: a refused attempt may have printed its own before."""
    rest, found = answer.body, None
    while rest:
        found, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:]
    return found


def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        same(TIMED_OUT, ask(cell, "--max-time", "0.4", model=cell.faulty).code)


def cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        found = events(cell, ask(cell, content=c.LONG, model=cell.faulty, stream=True))
    true(kind(found[-1]) in ("chunk", "error", "response.failed"), found[-1])
    true(ENDS[cell.front] not in {kind(one) for one in found}, "the stream says that it is complete")
    if cell.front == "chat":
        same({"message", "type", "param", "code"}, found[-1]["error"].keys())
        true(all(choice["finish_reason"] is None for one in found[:-1] for choice in one["choices"]), found)


def resume(cell: Cell) -> None:
    found = events(cell, ask(cell, content=c.RECITE, model=cell.resumed, stream=True))
    same((c.RECITED, ENDS[cell.front]), (said(cell, found), kind(found[-1])))
    true(any("understudy" in json.dumps(one) for one in found), "the stream does not say that it was resumed")


def embeddings(cell: Cell) -> None:
    answer = good(curl(cell, "/embeddings", body={"model": cell.embeddings, "input": [c.QUESTION, c.MULTIBYTE]}))
    same(("list", [0, 1]), (answer["object"], [one["index"] for one in answer["data"]]))
    refused(cell, curl(cell, "/embeddings", body={"model": cell.embeddings}), 400)


def count_tokens(cell: Cell) -> None:
    body = {"model": cell.model, "messages": [{"role": "user", "content": c.QUESTION}]}
    true(good(curl(cell, "/messages/count_tokens", body=body))["input_tokens"] > 0, "no tokens")


def thinking(cell: Cell) -> None:
    found = events(cell, ask(cell, stream=True, thinking={"type": "enabled", "budget_tokens": 1024}))
    kinds = {one["delta"]["type"] for one in found if one["type"] == "content_block_delta"}
    same({"text_delta"} | ({"thinking_delta", "signature_delta"} if cell.thinks else set()), kinds)


def other_key_header(cell: Cell) -> None:
    answer = curl(
        cell, PATHS[cell.front], "-H", "authorization;", "-H", f"x-api-key: {cell.key}", body=body_of(cell), key=""
    )
    cell.answered(text_of(cell, good(answer)))


def preflight(cell: Cell) -> None:
    asked = ["-H", "origin: https://app.example", "-H", "access-control-request-method: POST"]
    answer = curl(cell, PATHS[cell.front], "-X", "OPTIONS", *asked, key="")
    same((204, "*"), (answer.status, answer.headers.get("access-control-allow-origin")))
    true("POST" in answer.headers["access-control-allow-methods"], answer.headers)
    true("authorization" in answer.headers["access-control-allow-headers"], answer.headers)


def wrong_method(cell: Cell) -> None:
    refused(cell, curl(cell, PATHS[cell.front]), 405)


def unknown_path(cell: Cell) -> None:
    refused(cell, curl(cell, f"{PATHS[cell.front]}/nothing", body={}), 404, "not_found_error")


def too_large(cell: Cell) -> None:
    refused(cell, curl(cell, PATHS[cell.front], body=MEGABYTES_7), 413, "request_too_large")


CHECKS = {
    "models": models,
    "chat": chat,
    "stream": stream,
    "tools": tools,
    "tools_stream": tools_stream,
    "image": image,
    "multibyte": multibyte,
    "headers": headers,
    "unauthenticated": unauthenticated,
    "unknown_model": unknown_model,
    "invalid": invalid,
    "context_length": context_length,
    "retry_429": retry("http_429_bare", 429),
    "retry_503": retry("http_503", 503),
    "timeout": timeout,
    "cut": cut,
    "resume": resume,
    "embeddings": embeddings,
    "count_tokens": count_tokens,
    "thinking": thinking,
    "other_key_header": other_key_header,
    "preflight": preflight,
    "wrong_method": wrong_method,
    "unknown_path": unknown_path,
    "too_large": too_large,
    "not_json": not_json,
}

if __name__ == "__main__":
    c.main(dict.fromkeys(PATHS, CHECKS))
