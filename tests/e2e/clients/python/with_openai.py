"""The OpenAI SDK for Python, chat completions and responses."""

from __future__ import annotations

import json
from typing import Any

import checking as c
import openai
from checking import Cell, raised, same, true
from objects import Person

# One pool for all, because making one costs more than a check.
HTTP, ASYNC_HTTP = openai.DefaultHttpxClient(), openai.DefaultAsyncHttpxClient()
OPTIONS: dict[str, Any] = {"max_retries": 0, "timeout": 20}
HEADERS = ("x-request-id", "x-understudy-target")


def client(cell: Cell, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(**OPTIONS | {"base_url": cell.base_url, "api_key": cell.key, "http_client": HTTP} | options)


def async_client(cell: Cell) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**OPTIONS, base_url=cell.base_url, api_key=cell.key, http_client=ASYNC_HTTP)


def user(text: Any) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat(cell: Cell, text: Any = c.QUESTION, **options: Any) -> Any:
    asked = {"model": cell.model, "messages": user(text)} | options
    return client(cell).chat.completions.create(**asked)


def tool(name: str, nested: bool) -> Any:
    function = {"name": name, "description": f"The {name}.", "parameters": c.PLACE}
    return {"type": "function", "function": function} if nested else {"type": "function", **function}


CHAT_TOOLS = [tool(name, True) for name in c.TOOL_RESULTS]
TOOLS = [tool(name, False) for name in c.TOOL_RESULTS]


# Chat completions


def models(cell: Cell) -> None:
    true(cell.model in {one.id for one in client(cell).models.list()}, "the route is not in the list")
    same(cell.model, client(cell).models.retrieve(cell.model).id)


def chat_whole(cell: Cell) -> None:
    done = chat(cell)
    cell.answered(done.choices[0].message.content)
    same("stop", done.choices[0].finish_reason)
    usage(done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens)


def usage(given: int, made: int, total: int) -> None:
    true(given > 0 and made > 0, f"{given} and {made} tokens")
    same(given + made, total)


def chat_stream(cell: Cell) -> None:
    chunks = list(chat(cell, stream=True, stream_options={"include_usage": True}))
    chunks_checked(cell, chunks)


def chunks_checked(cell: Cell, chunks: list[Any]) -> None:
    cell.answered("".join(one.choices[0].delta.content or "" for one in chunks if one.choices))
    same("assistant", chunks[0].choices[0].delta.role)
    same(["stop"], [one.choices[0].finish_reason for one in chunks if one.choices and one.choices[0].finish_reason])
    same(1, len({one.id for one in chunks}))
    same([len(chunks) - 1], [index for index, one in enumerate(chunks) if one.usage])
    used = chunks[-1].usage
    usage(used.prompt_tokens, used.completion_tokens, used.total_tokens)


async def chat_async(cell: Cell) -> None:
    create = async_client(cell).chat.completions.create
    done = await create(model=cell.model, messages=user(c.QUESTION))
    cell.answered(done.choices[0].message.content)
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    stream = await create(model=cell.model, messages=user(c.QUESTION), **options)
    chunks_checked(cell, [one async for one in stream])


def chat_tools(cell: Cell) -> None:
    asked = user(c.TOOL_QUESTION)
    done = chat(cell, messages=asked, tools=CHAT_TOOLS)
    same("tool_calls", done.choices[0].finish_reason)
    message = done.choices[0].message
    same(["get_weather"], [one.function.name for one in message.tool_calls])
    same({"city": "simulated city"}, json.loads(message.tool_calls[0].function.arguments))
    # Its nulls are part of what applications send back.
    history = [*asked, message.model_dump(), *results(message.tool_calls)]
    cell.told(chat(cell, messages=history, tools=CHAT_TOOLS).choices[0].message.content, "sunny ☀")


def results(calls: Any) -> list[Any]:
    return [{"role": "tool", "tool_call_id": one.id, "content": c.TOOL_RESULTS[one.function.name]} for one in calls]


def chat_tools_stream(cell: Cell) -> None:
    asked = user(c.TOOLS_QUESTION)
    with client(cell).chat.completions.stream(model=cell.model, messages=asked, tools=CHAT_TOOLS) as stream:
        done = stream.get_final_completion()
    calls = done.choices[0].message.tool_calls
    same("tool_calls", done.choices[0].finish_reason)
    same(["get_weather", "get_time"], [one.function.name for one in calls])
    same([{"city": "simulated city"}] * 2, [json.loads(one.function.arguments) for one in calls])
    same(2, len({one.id for one in calls}))
    plain = [
        {"id": one.id, "type": "function", "function": {"name": one.function.name, "arguments": one.function.arguments}}
        for one in calls
    ]
    history = [*asked, {"role": "assistant", "content": None, "tool_calls": plain}, *results(calls)]
    chunks = chat(cell, messages=history, tools=CHAT_TOOLS, stream=True)
    cell.told("".join(one.choices[0].delta.content or "" for one in chunks if one.choices), "sunny ☀", "noon")


def chat_structured(cell: Cell) -> None:
    asked = {"model": cell.model, "messages": user("Who?"), "response_format": Person}
    parsed = client(cell).chat.completions.parse(**asked).choices[0].message.parsed
    same(Person(**c.PERSON), parsed)
    with client(cell).chat.completions.stream(**asked) as stream:
        same(Person(**c.PERSON), stream.get_final_completion().choices[0].message.parsed)


def chat_image(cell: Cell) -> None:
    url = {"url": f"data:image/png;base64,{c.IMAGE}"}
    parts = [{"type": "text", "text": c.QUESTION}, {"type": "image_url", "image_url": url}]
    cell.answered(chat(cell, parts).choices[0].message.content, more=" (with 1 image)")


def chat_multibyte(cell: Cell) -> None:
    cell.answered(chat(cell, c.MULTIBYTE).choices[0].message.content, c.MULTIBYTE)
    chunks = chat(cell, c.MULTIBYTE, stream=True)
    cell.answered("".join(one.choices[0].delta.content or "" for one in chunks if one.choices), c.MULTIBYTE)


def chat_headers(cell: Cell) -> None:
    raw = client(cell).chat.completions.with_raw_response.create(model=cell.model, messages=user(c.QUESTION))
    true(all(raw.headers.get(name) for name in HEADERS), dict(raw.headers))
    same(cell.wire, raw.headers["x-understudy-route"])
    same(raw.headers["x-request-id"], raw.parse()._request_id)


def chat_embeddings(cell: Cell) -> None:
    one = client(cell).embeddings.create(model=cell.embeddings, input=c.QUESTION)
    true(one.data[0].embedding and all(isinstance(value, float) for value in one.data[0].embedding), one)
    true(one.usage.total_tokens > 0, one.usage)
    two = client(cell).embeddings.create(
        model=cell.embeddings, input=[c.QUESTION, c.MULTIBYTE], encoding_format="float"
    )
    same([0, 1], [each.index for each in two.data])
    same(len(one.data[0].embedding), len(two.data[1].embedding))


# Responses


def respond(cell: Cell, text: Any = c.QUESTION, **options: Any) -> Any:
    return client(cell).responses.create(**{"model": cell.model, "input": text} | options)


def responses_whole(cell: Cell) -> None:
    done = respond(cell, instructions="Be short.")
    cell.answered(done.output_text)
    same("completed", done.status)
    usage(done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens)


def responses_stream(cell: Cell) -> None:
    events_checked(cell, list(respond(cell, stream=True)))


def events_checked(cell: Cell, events: list[Any]) -> None:
    cell.answered(deltas(events))
    same("response.created", events[0].type)
    same("response.completed", events[-1].type)
    same(list(range(len(events))), [one.sequence_number for one in events])
    done = events[-1].response
    cell.answered(done.output_text)
    usage(done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens)


def deltas(events: Any) -> str:
    return "".join(one.delta for one in events if one.type == "response.output_text.delta")


async def responses_async(cell: Cell) -> None:
    create = async_client(cell).responses.create
    cell.answered((await create(model=cell.model, input=c.QUESTION)).output_text)
    stream = await create(model=cell.model, input=c.QUESTION, stream=True)
    events_checked(cell, [one async for one in stream])


def outputs(calls: list[Any]) -> list[Any]:
    return [
        {"type": "function_call_output", "call_id": one.call_id, "output": c.TOOL_RESULTS[one.name]} for one in calls
    ]


def responses_tools(cell: Cell) -> None:
    asked = user(c.TOOL_QUESTION)
    done = respond(cell, asked, tools=TOOLS)
    calls = [one for one in done.output if one.type == "function_call"]
    same([("get_weather", {"city": "simulated city"})], [(one.name, json.loads(one.arguments)) for one in calls])
    again = respond(cell, [*asked, *done.output, *outputs(calls)], tools=TOOLS)
    cell.told(again.output_text, "sunny ☀")


def responses_tools_stream(cell: Cell) -> None:
    asked = user(c.TOOLS_QUESTION)
    with client(cell).responses.stream(model=cell.model, input=asked, tools=TOOLS) as stream:
        done = stream.get_final_response()
    calls = [one for one in done.output if one.type == "function_call"]
    same(["get_weather", "get_time"], [one.name for one in calls])
    same([{"city": "simulated city"}] * 2, [json.loads(one.arguments) for one in calls])
    plain = [
        {"type": "function_call", "call_id": one.call_id, "name": one.name, "arguments": one.arguments} for one in calls
    ]
    events = list(respond(cell, [*asked, *plain, *outputs(calls)], tools=TOOLS, stream=True))
    cell.told(deltas(events), "sunny ☀", "noon")


def responses_structured(cell: Cell) -> None:
    asked = {"model": cell.model, "input": "Who?", "text_format": Person}
    same(Person(**c.PERSON), client(cell).responses.parse(**asked).output_parsed)
    with client(cell).responses.stream(**asked) as stream:
        same(Person(**c.PERSON), stream.get_final_response().output_parsed)


def responses_image(cell: Cell) -> None:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{c.IMAGE}", "detail": "auto"}
    done = respond(cell, user([{"type": "input_text", "text": c.QUESTION}, image]))
    cell.answered(done.output_text, more=" (with 1 image)")


def responses_multibyte(cell: Cell) -> None:
    cell.answered(respond(cell, c.MULTIBYTE).output_text, c.MULTIBYTE)
    cell.answered(deltas(respond(cell, c.MULTIBYTE, stream=True)), c.MULTIBYTE)


def responses_headers(cell: Cell) -> None:
    raw = client(cell).responses.with_raw_response.create(model=cell.model, input=c.QUESTION)
    true(all(raw.headers.get(name) for name in HEADERS), dict(raw.headers))
    same(raw.headers["x-request-id"], raw.parse()._request_id)


def responses_cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        try:
            kinds = [one.type for one in respond(cell, c.LONG, model=cell.faulty, stream=True)]
        except openai.APIError:
            return
    true(kinds[-1] in ("error", "response.failed"), f"the stream ends with {kinds[-1]}")
    true("response.completed" not in kinds, "the stream says that it is complete")


# Both


def ask(cell: Cell, asked: openai.OpenAI, model: str, **options: Any) -> str:
    if cell.front == "chat":
        done = asked.chat.completions.create(model=model, messages=user(c.QUESTION), **options)
        return done.choices[0].message.content
    return asked.responses.create(model=model, input=c.QUESTION, **options).output_text


def unauthenticated(cell: Cell) -> None:
    error = raised(openai.AuthenticationError, lambda: ask(cell, client(cell, api_key="wrong"), cell.model))
    true(error.request_id and error.message and "wrong" not in error.message, error)


def unknown_model(cell: Cell) -> None:
    error = raised(openai.NotFoundError, lambda: ask(cell, client(cell), "no-such-model"))
    same("model_not_found", error.code)


def invalid(cell: Cell) -> None:
    error = raised(openai.BadRequestError, lambda: ask(cell, client(cell), cell.model, temperature="hot"))
    same("temperature", error.param)


def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        error = raised(openai.BadRequestError, lambda: ask(cell, client(cell), cell.faulty))
    same("context_length_exceeded", error.code)


def retry(fault: str, kind: type[Exception]) -> c.Check:
    def check(cell: Cell) -> None:
        with cell.broken(fault):
            raised(kind, lambda: ask(cell, client(cell), cell.faulty))
        with cell.broken(fault, 1):
            cell.answered(ask(cell, client(cell, max_retries=2), cell.faulty))

    return check


def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        raised(openai.APITimeoutError, lambda: ask(cell, client(cell, timeout=0.4), cell.faulty))


def chat_cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        stream = chat(cell, c.LONG, model=cell.faulty, stream=True)
        raised(openai.APIError, lambda: list(stream))


def chat_resume(cell: Cell) -> None:
    chunks = list(chat(cell, c.RECITE, model=cell.resumed, stream=True))
    same(c.RECITED, "".join(one.choices[0].delta.content or "" for one in chunks if one.choices))
    same("stop", chunks[-1].choices[0].finish_reason)


def responses_resume(cell: Cell) -> None:
    events = list(respond(cell, c.RECITE, model=cell.resumed, stream=True))
    same(c.RECITED, deltas(events))
    same("response.completed", events[-1].type)
    same(c.RECITED, events[-1].response.output_text)


BOTH = {
    "unauthenticated": unauthenticated,
    "unknown_model": unknown_model,
    "invalid": invalid,
    "context_length": context_length,
    "retry_429": retry("http_429_bare", openai.RateLimitError),
    "retry_503": retry("http_503", openai.InternalServerError),
    "timeout": timeout,
}
CHAT = {
    "models": models,
    "chat": chat_whole,
    "stream": chat_stream,
    "async": chat_async,
    "tools": chat_tools,
    "tools_stream": chat_tools_stream,
    "structured": chat_structured,
    "image": chat_image,
    "multibyte": chat_multibyte,
    "headers": chat_headers,
    "cut": chat_cut,
    "resume": chat_resume,
    "embeddings": chat_embeddings,
}
RESPONSES = {
    "chat": responses_whole,
    "stream": responses_stream,
    "async": responses_async,
    "tools": responses_tools,
    "tools_stream": responses_tools_stream,
    "structured": responses_structured,
    "image": responses_image,
    "multibyte": responses_multibyte,
    "headers": responses_headers,
    "cut": responses_cut,
    "resume": responses_resume,
}

if __name__ == "__main__":
    c.main({"chat": BOTH | CHAT, "responses": BOTH | RESPONSES})
