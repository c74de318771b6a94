"""Pydantic AI: agents over OpenAIChatModel, OpenAIResponsesModel and AnthropicModel."""

from __future__ import annotations

import logging
from base64 import b64decode
from typing import Any

import anthropic
import checking as c
import openai
from checking import Cell, same, true
from objects import Person, get_time, get_weather
from pydantic_ai import Agent, BinaryContent, Embedder, NativeOutput, ThinkingPart, ToolOutput, UsageLimits
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

# One pool for all, because making one costs more than a check.
HTTP: dict[Any, Any] = {sdk: sdk.DefaultAsyncHttpxClient() for sdk in (openai, anthropic)}


def openai_sdk(cell: Cell, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=cell.base_url, http_client=HTTP[openai], **options)


def agent(cell: Cell, name: str = "", output: Any = str, tools: Any = (), **options: Any) -> Agent[Any, Any]:
    given: dict[str, Any] = {"api_key": cell.key, "max_retries": 0, "timeout": 20} | options
    name = name or cell.model
    model: Any
    if cell.front == "messages":
        sdk = anthropic.AsyncAnthropic(base_url=cell.url, http_client=HTTP[anthropic], **given)
        model = AnthropicModel(name, provider=AnthropicProvider(anthropic_client=sdk))
    else:
        provider = OpenAIProvider(openai_client=openai_sdk(cell, **given))
        kind = OpenAIChatModel if cell.front == "chat" else OpenAIResponsesModel
        model = kind(name, provider=provider)
    return Agent(model, output_type=output, tools=tools)


def used(usage: Any) -> None:
    true(usage.input_tokens > 0 and usage.output_tokens > 0, usage)


async def chat(cell: Cell) -> None:
    done = await agent(cell).run(c.QUESTION)
    cell.answered(done.output)
    used(done.usage)


async def streamed(asked: Agent[Any, Any], text: Any) -> tuple[str, Any]:
    async with asked.run_stream(text) as given:
        pieces = [piece async for piece in given.stream_text(delta=True, debounce_by=None)]
        return "".join(pieces), given


async def stream(cell: Cell) -> None:
    text, given = await streamed(agent(cell), c.QUESTION)
    cell.answered(text)
    used(given.usage)


async def asynchronous(cell: Cell) -> None:
    events = []
    async with agent(cell).run_stream_events(c.QUESTION) as given:
        events = [one async for one in given]
    cell.answered(events[-1].result.output)


async def tools(cell: Cell) -> None:
    done = await agent(cell, tools=[get_weather]).run(c.TOOL_QUESTION)
    cell.told(done.output, "sunny ☀")


async def tools_stream(cell: Cell) -> None:
    text, given = await streamed(agent(cell, tools=[get_weather, get_time]), c.TOOLS_QUESTION)
    cell.told(text, "sunny ☀", "noon")
    calls = [part for message in given.all_messages() for part in message.parts if part.part_kind == "tool-call"]
    same(["get_weather", "get_time"], [one.tool_name for one in calls])


async def structured(cell: Cell) -> None:
    # What it does with a schema on the Messages API depends on the name of the model.
    native = [] if cell.front == "messages" else [NativeOutput(Person)]
    for output in (ToolOutput(Person), *native):
        same(Person(**c.PERSON), (await agent(cell, output=output).run("Who?")).output)


async def image(cell: Cell) -> None:
    picture = BinaryContent(data=b64decode(c.IMAGE), media_type="image/png")
    cell.answered((await agent(cell).run([c.QUESTION, picture])).output, more=" (with 1 image)")


async def multibyte(cell: Cell) -> None:
    cell.answered((await agent(cell).run(c.MULTIBYTE)).output, c.MULTIBYTE)
    cell.answered((await streamed(agent(cell), c.MULTIBYTE))[0], c.MULTIBYTE)


async def refused(asked: Agent[Any, Any], status: int, **options: Any) -> None:
    try:
        done = await asked.run(c.QUESTION, **options)
    except ModelHTTPError as error:
        same(status, error.status_code)
        return
    raise AssertionError(f"nothing was raised, the answer is {done.output!r}")


async def unauthenticated(cell: Cell) -> None:
    await refused(agent(cell, api_key="wrong"), 401)


async def unknown_model(cell: Cell) -> None:
    await refused(agent(cell, "no-such-model"), 404)


async def invalid(cell: Cell) -> None:
    await refused(agent(cell), 400, model_settings={"max_tokens": "many"})


async def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        await refused(agent(cell, cell.faulty), 400)


def retry(fault: str, status: int) -> c.Check:
    async def check(cell: Cell) -> None:
        with cell.broken(fault):
            await refused(agent(cell, cell.faulty), status)
        with cell.broken(fault, 1):
            cell.answered((await agent(cell, cell.faulty, max_retries=2).run(c.QUESTION)).output)

    return check


async def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        try:
            await agent(cell, cell.faulty, timeout=0.4).run(c.QUESTION)
        except ModelAPIError as error:
            true("time" in str(error).lower(), error)
            return
    raise AssertionError("nothing was raised")


async def cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        try:
            text, _ = await streamed(agent(cell, cell.faulty), c.LONG)
        except (AgentRunError, openai.APIError, anthropic.APIError):
            return
    raise AssertionError(f"nothing was raised after {text!r}")


async def resume(cell: Cell) -> None:
    same(c.RECITED, (await streamed(agent(cell, cell.resumed), c.RECITE))[0])


async def embeddings(cell: Cell) -> None:
    provider = OpenAIProvider(openai_client=openai_sdk(cell, api_key=cell.key, max_retries=0))
    made = Embedder(OpenAIEmbeddingModel(cell.embeddings, provider=provider))
    done = await made.embed_documents([c.QUESTION, c.MULTIBYTE])
    same([len((await made.embed_query(c.QUESTION)).embeddings[0])] * 2, [len(one) for one in done.embeddings])


async def count_tokens(cell: Cell) -> None:
    limits = UsageLimits(input_tokens_limit=100_000, count_tokens_before_request=True)
    cell.answered((await agent(cell).run(c.QUESTION, usage_limits=limits)).output)


async def thinking(cell: Cell) -> None:
    settings: Any = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
    done = await agent(cell, tools=[get_weather]).run(c.TOOL_QUESTION, model_settings=settings)
    cell.told(done.output, "sunny ☀")
    parts = [part for message in done.all_messages() for part in message.parts]
    signed = [one for one in parts if isinstance(one, ThinkingPart) and one.content and one.signature]
    true(signed or not cell.thinks, parts)


CHECKS: dict[str, c.Check] = {
    "chat": chat,
    "stream": stream,
    "async": asynchronous,
    "tools": tools,
    "tools_stream": tools_stream,
    "structured": structured,
    "image": image,
    "multibyte": multibyte,
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
}

if __name__ == "__main__":
    logging.disable()
    c.main(dict.fromkeys(("chat", "responses", "messages"), CHECKS))
