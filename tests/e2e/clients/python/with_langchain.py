"""LangChain: ChatOpenAI (chat completions and responses), ChatAnthropic, OpenAIEmbeddings."""

from __future__ import annotations

import os
from typing import Any

import anthropic
import checking as c
import openai
from checking import Cell, raised, same, true
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from objects import Person, get_time, get_weather

THINKING = {"type": "enabled", "budget_tokens": 1024}


TOOLS = {one.name: one for one in map(tool, (get_weather, get_time))}


def model(cell: Cell, name: str = "", **options: Any) -> Any:
    common: dict[str, Any] = {
        "model": name or cell.model,
        "api_key": cell.key,
        "max_retries": 0,
        "timeout": 20,
    } | options
    if cell.front == "messages":
        return ChatAnthropic(base_url=cell.url, max_tokens=2048, **common)
    return ChatOpenAI(base_url=cell.base_url, use_responses_api=cell.front == "responses", stream_usage=True, **common)


def errors(cell: Cell) -> Any:
    return anthropic if cell.front == "messages" else openai


def used(message: AIMessage) -> None:
    usage = message.usage_metadata
    true(usage and usage["input_tokens"] > 0 and usage["output_tokens"] > 0, usage)
    same(usage["input_tokens"] + usage["output_tokens"], usage["total_tokens"])


def joined(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for one in chunks[1:]:
        whole += one
    return whole


def chat(cell: Cell) -> None:
    message = model(cell).invoke([("system", "Be short."), ("user", c.QUESTION)])
    cell.answered(message.text)
    used(message)


def stream(cell: Cell) -> None:
    whole = joined(list(model(cell).stream(c.QUESTION)))
    cell.answered(whole.text)
    used(whole)


async def asynchronous(cell: Cell) -> None:
    cell.answered((await model(cell).ainvoke(c.QUESTION)).text)
    cell.answered(joined([one async for one in model(cell).astream(c.QUESTION)]).text)


def results(message: AIMessage) -> list[ToolMessage]:
    return [TOOLS[call["name"]].invoke(call) for call in message.tool_calls]


def tools(cell: Cell) -> None:
    bound = model(cell).bind_tools(list(TOOLS.values()))
    asked = [HumanMessage(c.TOOL_QUESTION)]
    message = bound.invoke(asked)
    called = [(call["name"], call["args"]) for call in message.tool_calls]
    same([("get_weather", {"city": "simulated city"})], called)
    cell.told(bound.invoke([*asked, message, *results(message)]).text, "sunny ☀")


def tools_stream(cell: Cell) -> None:
    bound = model(cell).bind_tools(list(TOOLS.values()))
    asked = [HumanMessage(c.TOOLS_QUESTION)]
    message = joined(list(bound.stream(asked)))
    same(["get_weather", "get_time"], [call["name"] for call in message.tool_calls])
    same([{"city": "simulated city"}] * 2, [call["args"] for call in message.tool_calls])
    cell.told(joined(list(bound.stream([*asked, message, *results(message)]))).text, "sunny ☀", "noon")


def structured(cell: Cell) -> None:
    for method in ("json_schema", "function_calling"):
        same(Person(**c.PERSON), model(cell).with_structured_output(Person, method=method).invoke("Who?"))


def image(cell: Cell) -> None:
    part = {"type": "image", "base64": c.IMAGE, "mime_type": "image/png"}
    message = HumanMessage([{"type": "text", "text": c.QUESTION}, part])
    cell.answered(model(cell).invoke([message]).text, more=" (with 1 image)")


def multibyte(cell: Cell) -> None:
    cell.answered(model(cell).invoke(c.MULTIBYTE).text, c.MULTIBYTE)
    cell.answered(joined(list(model(cell).stream(c.MULTIBYTE))).text, c.MULTIBYTE)


def headers(cell: Cell) -> None:
    told = model(cell, include_response_headers=True).invoke(c.QUESTION).response_metadata["headers"]
    true(told.get("x-request-id") and told.get("x-understudy-target"), told)


def unauthenticated(cell: Cell) -> None:
    raised(errors(cell).AuthenticationError, lambda: model(cell, api_key="wrong").invoke(c.QUESTION))


def unknown_model(cell: Cell) -> None:
    raised(errors(cell).NotFoundError, lambda: model(cell, "no-such-model").invoke(c.QUESTION))


def invalid(cell: Cell) -> None:
    bad = {"tool_choice": 7} if cell.front == "messages" else {"temperature": "hot"}
    raised(errors(cell).BadRequestError, lambda: model(cell).invoke(c.QUESTION, **bad))


def context_length(cell: Cell) -> None:
    with cell.broken("context_length"):
        raised(errors(cell).BadRequestError, lambda: model(cell, cell.faulty).invoke(c.QUESTION))


def retry(fault: str, name: str) -> c.Check:
    def check(cell: Cell) -> None:
        with cell.broken(fault):
            raised(getattr(errors(cell), name), lambda: model(cell, cell.faulty).invoke(c.QUESTION))
        with cell.broken(fault, 1):
            cell.answered(model(cell, cell.faulty, max_retries=2).invoke(c.QUESTION).text)

    return check


def timeout(cell: Cell) -> None:
    with cell.broken("hang"):
        raised(errors(cell).APITimeoutError, lambda: model(cell, cell.faulty, timeout=0.4).invoke(c.QUESTION))


def cut(cell: Cell) -> None:
    with cell.broken("cut_midstream"):
        raised(errors(cell).APIError, lambda: list(model(cell, cell.faulty).stream(c.LONG)))


def resume(cell: Cell) -> None:
    same(c.RECITED, joined(list(model(cell, cell.resumed).stream(c.RECITE))).text)


def embeddings(cell: Cell) -> None:
    # Without its own tokenizer it sends text, as to every server that is not the vendor's.
    made = OpenAIEmbeddings(
        model=cell.embeddings, api_key=cell.key, base_url=cell.base_url, check_embedding_ctx_length=False, max_retries=0
    )
    vectors = made.embed_documents([c.QUESTION, c.MULTIBYTE])
    same([len(made.embed_query(c.QUESTION))] * 2, [len(one) for one in vectors])


def count_tokens(cell: Cell) -> None:
    true(model(cell).get_num_tokens_from_messages([HumanMessage(c.QUESTION)]) > 0, "no tokens")


def thinking(cell: Cell) -> None:
    bound = model(cell, thinking=THINKING).bind_tools(list(TOOLS.values()))
    asked = [HumanMessage(c.TOOL_QUESTION)]
    message = bound.invoke(asked)
    signed = [one for one in message.content if one["type"] == "thinking" and one["signature"]]
    true(signed or not cell.thinks, message.content)
    cell.told(joined(list(bound.stream([*asked, message, *results(message)]))).text, "sunny ☀")


CHECKS = {
    "chat": chat,
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
    "retry_429": retry("http_429_bare", "RateLimitError"),
    "retry_503": retry("http_503", "InternalServerError"),
    "timeout": timeout,
    "cut": cut,
    "resume": resume,
    "embeddings": embeddings,
    "count_tokens": count_tokens,
    "thinking": thinking,
}

if __name__ == "__main__":
    os.environ["LANGSMITH_TRACING"] = "false"
    c.main(dict.fromkeys(("chat", "responses", "messages"), CHECKS))
