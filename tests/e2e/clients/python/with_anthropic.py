"""The Anthropic SDK for Python."""

from __future__ import annotations

import os
from typing import Any

import anthropic
import checking as c
from checking import Cell, raised, same, true
from objects import Person

TOOLS: list[Any] = [{"name": name, "description": f"The {name}.", "input_schema": c.PLACE} for name in c.TOOL_RESULTS]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
# One pool for all, because making one costs more than a check.
HTTP, ASYNC_HTTP = anthropic.DefaultHttpxClient(), anthropic.DefaultAsyncHttpxClient()
OPTIONS: dict[str, Any] = {"max_retries": 0, "timeout": 20}
SENDS_BEARER = anthropic.Anthropic(api_key="x").auth_headers.get("Authorization") is not None


def client(cell: Cell, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(**OPTIONS | {"base_url": cell.url, "api_key": cell.key, "http_client": HTTP} | options)


def asked(cell: Cell, text: Any = c.QUESTION, **options: Any) -> Any:
    return {"model": cell.model, "max_tokens": 2048, "messages": [{"role": "user", "content": text}]} | options


def text_of(message: Any) -> str:
    return "".join(one.text for one in message.content if one.type == "text")


def ask(cell: Cell, text: Any = c.QUESTION, **options: Any) -> Any:
    return client(cell).messages.create(**asked(cell, text, **options))


def models(cell: Cell) -> None:
    true(cell.model in {one.id for one in client(cell).models.list()}, "the route is not in the list")
    same(cell.model, client(cell).models.retrieve(cell.model).id)


def whole(cell: Cell) -> None:
    checked(cell, ask(cell, system=[{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]))


def checked(cell: Cell, message: Any) -> None:
    cell.answered(text_of(message))
    same(("message", "assistant", "end_turn"), (message.type, message.role, message.stop_reason))
    true(message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message.usage)


def stream(cell: Cell) -> None:
    events = list(ask(cell, stream=True))
    kinds = [one.type for one in events if one.type != "ping"]
    same(["message_start", "content_block_start", "content_block_delta"], kinds[:3])
    same(["content_block_stop", "message_delta", "message_stop"], kinds[-3:])
    with client(cell).messages.stream(**asked(cell)) as given:
        cell.answered("".join(given.text_stream))
        checked(cell, given.get_final_message())


async def asynchronous(cell: Cell) -> None:
    one = anthropic.AsyncAnthropic(**OPTIONS, base_url=cell.url, api_key=cell.key, http_client=ASYNC_HTTP)
    checked(cell, await one.messages.create(**asked(cell)))
    async with one.messages.stream(**asked(cell)) as given:
        cell.answered("".join([text async for text in given.text_stream]))
        checked(cell, await given.get_final_message())


def uses(message: Any) -> list[Any]:
    same("tool_use", message.stop_reason)
    return [one for one in message.content if one.type == "tool_use"]


def results(calls: list[Any]) -> dict[str, Any]:
    parts = [{"type": "tool_result", "tool_use_id": one.id, "content": c.TOOL_RESULTS[one.name]} for one in calls]
    return {"role": "user", "content": parts}


def tools(cell: Cell) -> None:
    first = [{"role": "user", "content": c.TOOL_QUESTION}]
    message = ask(cell, messages=first, tools=TOOLS)
    calls = uses(message)
    same([("get_weather", {"city": "simulated city"})], [(one.name, one.input) for one in calls])
    history = [*first, {"role": "assistant", "content": message.content}, results(calls)]
    cell.told(text_of(ask(cell, messages=history, tools=TOOLS)), "sunny ☀")


def tools_stream(cell: Cell) -> None:
    first = [{"role": "user", "content": c.TOOLS_QUESTION}]
    with client(cell).messages.stream(**asked(cell, messages=first, tools=TOOLS)) as given:
        message = given.get_final_message()
    calls = uses(message)
    same(["get_weather", "get_time"], [one.name for one in calls])
    same([{"city": "simulated city"}] * 2, [one.input for one in calls])
    plain = [{"type": "tool_use", "id": one.id, "name": one.name, "input": one.input} for one in calls]
    history = [*first, {"role": "assistant", "content": plain}, results(calls)]
    with client(cell).messages.stream(**asked(cell, messages=history, tools=TOOLS)) as given:
        cell.told("".join(given.text_stream), "sunny ☀", "noon")


def structured(cell: Cell) -> None:
    parsed = client(cell).messages.parse(**asked(cell, "Who?"), output_format=Person)
    same(Person(**c.PERSON), parsed.parsed_output)


def image(cell: Cell) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": c.IMAGE}
    parts = [{"type": "text", "text": c.QUESTION}, {"type": "image", "source": source}]
    cell.answered(text_of(ask(cell, parts)), more=" (with 1 image)")


def multibyte(cell: Cell) -> None:
    cell.answered(text_of(ask(cell, c.MULTIBYTE)), c.MULTIBYTE)
    with client(cell).messages.stream(**asked(cell, c.MULTIBYTE)) as given:
        cell.answered("".join(given.text_stream), c.MULTIBYTE)


def headers(cell: Cell) -> None:
    raw = client(cell).messages.with_raw_response.create(**asked(cell))
    true(all(raw.headers.get(name) for name in ("request-id", "x-understudy-target")), dict(raw.headers))
    same(raw.headers["request-id"], raw.parse()._request_id)


def unauthenticated(cell: Cell) -> None:
    wrong = client(cell, api_key="wrong")
    error = raised(anthropic.AuthenticationError, lambda: wrong.messages.create(**asked(cell)))
    same("authentication_error", error.body["error"]["type"])
    true(error.request_id, error)


def unknown_model(cell: Cell) -> None:
    error = raised(anthropic.NotFoundError, lambda: ask(cell, model="no-such-model"))
    same(("error", "not_found_error"), (error.body["type"], error.body["error"]["type"]))


def invalid(cell: Cell) -> None:
    error = raised(anthropic.BadRequestError, lambda: ask(cell, max_tokens="many"))
    same("invalid_request_error", error.body["error"]["type"])


def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        error = raised(anthropic.BadRequestError, lambda: ask(cell, model=cell.faulty))
    same("invalid_request_error", error.body["error"]["type"])


def retry(fault: str, kind: type[Exception]) -> c.Check:
    def check(cell: Cell) -> None:
        with cell.broken(fault):
            raised(kind, lambda: ask(cell, model=cell.faulty))
        with cell.broken(fault, 1):
            again = client(cell, max_retries=2)
            cell.answered(text_of(again.messages.create(**asked(cell, model=cell.faulty))))

    return check


def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        hasty = client(cell, timeout=0.4)
        raised(anthropic.APITimeoutError, lambda: hasty.messages.create(**asked(cell, model=cell.faulty)))


def cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        given = ask(cell, c.LONG, model=cell.faulty, stream=True)
        raised(anthropic.APIStatusError, lambda: list(given))


def resume(cell: Cell) -> None:
    with client(cell).messages.stream(**asked(cell, c.RECITE, model=cell.resumed)) as given:
        same(c.RECITED, "".join(given.text_stream))
        same("end_turn", given.get_final_message().stop_reason)


def count_tokens(cell: Cell) -> None:
    messages: list[Any] = [{"role": "user", "content": c.QUESTION}]
    true(client(cell).messages.count_tokens(model=cell.model, messages=messages).input_tokens > 0, "no tokens")


def thinking(cell: Cell) -> None:
    first = [{"role": "user", "content": c.TOOL_QUESTION}]
    message = ask(cell, messages=first, tools=TOOLS, thinking=THINKING)
    thoughts = [one for one in message.content if one.type == "thinking"]
    true(thoughts and thoughts[0].thinking and thoughts[0].signature if cell.thinks else True, message.content)
    history = [*first, {"role": "assistant", "content": message.content}, results(uses(message))]
    with client(cell).messages.stream(**asked(cell, messages=history, tools=TOOLS, thinking=THINKING)) as given:
        again = given.get_final_message()
    cell.told(text_of(again), "sunny ☀")
    true(all(one.signature for one in again.content if one.type == "thinking"), again.content)


def other_key_header(cell: Cell) -> None:
    """The key in `x-api-key` where this SDK sends a bearer, and the other way round."""
    if SENDS_BEARER:
        other = client(cell, api_key="", default_headers={"x-api-key": cell.key, "Authorization": anthropic.Omit()})
    else:
        other = client(cell, api_key=None, auth_token=cell.key)
    cell.answered(text_of(other.messages.create(**asked(cell))))


CHECKS = {
    "models": models,
    "chat": whole,
    "stream": stream,
    "async": asynchronous,
    "tools": tools,
    "tools_stream": tools_stream,
    "structured": structured,
    "image": image,
    "multibyte": multibyte,
    "headers": headers,
    "unauthenticated": unauthenticated,
    "unknown_model": unknown_model,
    "invalid": invalid,
    "context_length": context_length,
    "retry_429": retry("http_429_bare", anthropic.RateLimitError),
    "retry_503": retry("http_503", anthropic.InternalServerError),
    "timeout": timeout,
    "cut": cut,
    "resume": resume,
    "count_tokens": count_tokens,
    "thinking": thinking,
    "other_key_header": other_key_header,
}

if __name__ == "__main__":
    os.environ.pop("ANTHROPIC_API_KEY", None)
    c.main({"messages": CHECKS})
