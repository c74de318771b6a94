"""LlamaIndex: OpenAILike and OpenAILikeEmbedding."""

from __future__ import annotations

import asyncio
from typing import Any

import checking as c
import openai
from checking import Cell, raised, same, true
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from objects import Person, get_time, get_weather

# One pool for all, because making one costs more than a check.
HTTP, ASYNC_HTTP = openai.DefaultHttpxClient(), openai.DefaultAsyncHttpxClient()


TOOLS = {one.metadata.name: one for one in map(FunctionTool.from_defaults, (get_weather, get_time))}


def llm(cell: Cell, name: str = "", **options: Any) -> OpenAILike:
    common: dict[str, Any] = {
        "model": name or cell.model,
        "api_base": cell.base_url,
        "api_key": cell.key,
        "max_retries": 0,
        "timeout": 20.0,
        "http_client": HTTP,
        "async_http_client": ASYNC_HTTP,
        "is_chat_model": True,
        "is_function_calling_model": True,
        "should_use_structured_outputs": True,
    }
    return OpenAILike(**common | options)


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def usage(response: Any) -> None:
    told = response.raw.usage
    true(told.prompt_tokens > 0 and told.completion_tokens > 0, told)
    same(told.prompt_tokens + told.completion_tokens, told.total_tokens)


def chat(cell: Cell) -> None:
    response = llm(cell).chat(user(c.QUESTION))
    cell.answered(response.message.content)
    usage(response)
    cell.answered(llm(cell).complete(c.QUESTION).text)


def stream(cell: Cell) -> None:
    options = {"stream_options": {"include_usage": True}}
    pieces = list(llm(cell, additional_kwargs=options).stream_chat(user(c.QUESTION)))
    cell.answered("".join(one.delta or "" for one in pieces))
    usage(pieces[-1])


async def asynchronous(cell: Cell) -> None:
    cell.answered((await llm(cell).achat(user(c.QUESTION))).message.content)
    given = await llm(cell).astream_chat(user(c.QUESTION))
    cell.answered("".join([one.delta or "" async for one in given]))


def results(model: OpenAILike, response: Any) -> list[ChatMessage]:
    calls = model.get_tool_calls_from_response(response)
    told = [(one, TOOLS[one.tool_name](**one.tool_kwargs)) for one in calls]
    return [
        ChatMessage(role="tool", content=result.content, additional_kwargs={"tool_call_id": one.tool_id})
        for one, result in told
    ]


def tools(cell: Cell) -> None:
    model, asked = llm(cell), user(c.TOOL_QUESTION)
    response = model.chat_with_tools(list(TOOLS.values()), chat_history=asked)
    called = [(one.tool_name, one.tool_kwargs) for one in model.get_tool_calls_from_response(response)]
    same([("get_weather", {"city": "simulated city"})], called)
    history = [*asked, response.message, *results(model, response)]
    cell.told(model.chat_with_tools(list(TOOLS.values()), chat_history=history).message.content, "sunny ☀")


def tools_stream(cell: Cell) -> None:
    model, asked = llm(cell), user(c.TOOLS_QUESTION)
    response = list(
        model.stream_chat_with_tools(list(TOOLS.values()), chat_history=asked, allow_parallel_tool_calls=True)
    )[-1]
    called = [(one.tool_name, one.tool_kwargs) for one in model.get_tool_calls_from_response(response)]
    same([(name, {"city": "simulated city"}) for name in TOOLS], called)
    history = [*asked, response.message, *results(model, response)]
    pieces = model.stream_chat_with_tools(list(TOOLS.values()), chat_history=history)
    cell.told("".join(one.delta or "" for one in pieces), "sunny ☀", "noon")


def structured(cell: Cell) -> None:
    for schemas in (True, False):
        made = llm(cell, should_use_structured_outputs=schemas).as_structured_llm(Person).chat(user("Who?"))
        same(Person(**c.PERSON), made.raw)


def image(cell: Cell) -> None:
    blocks = [TextBlock(text=c.QUESTION), ImageBlock(image=c.IMAGE.encode(), image_mimetype="image/png")]
    response = llm(cell).chat([ChatMessage(role="user", blocks=blocks)])
    cell.answered(response.message.content, more=" (with 1 image)")


def multibyte(cell: Cell) -> None:
    cell.answered(llm(cell).chat(user(c.MULTIBYTE)).message.content, c.MULTIBYTE)
    cell.answered("".join(one.delta or "" for one in llm(cell).stream_chat(user(c.MULTIBYTE))), c.MULTIBYTE)


def unauthenticated(cell: Cell) -> None:
    raised(openai.AuthenticationError, lambda: llm(cell, api_key="wrong").chat(user(c.QUESTION)))


def unknown_model(cell: Cell) -> None:
    raised(openai.NotFoundError, lambda: llm(cell, "no-such-model").chat(user(c.QUESTION)))


def invalid(cell: Cell) -> None:
    raised(openai.BadRequestError, lambda: llm(cell).chat(user(c.QUESTION), top_p="high"))


def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        raised(openai.BadRequestError, lambda: llm(cell, cell.faulty).chat(user(c.QUESTION)))


def retry(fault: str, kind: type[Exception]) -> c.Check:
    def check(cell: Cell) -> None:
        with cell.broken(fault):
            raised(kind, lambda: llm(cell, cell.faulty).chat(user(c.QUESTION)))
        with cell.broken(fault, 1):
            cell.answered(llm(cell, cell.faulty, max_retries=2).chat(user(c.QUESTION)).message.content)

    return check


def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        raised(openai.APITimeoutError, lambda: llm(cell, cell.faulty, timeout=0.4).chat(user(c.QUESTION)))


def cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        raised(openai.APIError, lambda: list(llm(cell, cell.faulty).stream_chat(user(c.LONG))))


def resume(cell: Cell) -> None:
    same(c.RECITED, "".join(one.delta or "" for one in llm(cell, cell.resumed).stream_chat(user(c.RECITE))))


def embeddings(cell: Cell) -> None:
    made = OpenAILikeEmbedding(model_name=cell.embeddings, api_base=cell.base_url, api_key=cell.key, max_retries=0)
    vectors = made.get_text_embedding_batch([c.QUESTION, c.MULTIBYTE])
    same([len(made.get_query_embedding(c.QUESTION))] * 2, [len(one) for one in vectors])


CHECKS = {
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
    "retry_429": retry("http_429_bare", openai.RateLimitError),
    "retry_503": retry("http_503", openai.InternalServerError),
    "timeout": timeout,
    "cut": cut,
    "resume": resume,
    "embeddings": embeddings,
}

if __name__ == "__main__":
    # Its threads look for one, and the first to ask makes it.
    asyncio.set_event_loop(asyncio.new_event_loop())
    c.main({"chat": CHECKS})
