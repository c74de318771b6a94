"""Instructor: objects by tools and (where the API has them) by schemas, over both SDKs."""

from __future__ import annotations

from typing import Any

import anthropic
import checking as c
import instructor
import openai
from checking import Cell, raised, same, true
from instructor import Mode
from instructor.core import InstructorRetryException
from objects import Person

MODES = {
    "chat": (Mode.TOOLS, Mode.JSON_SCHEMA),
    "messages": (Mode.ANTHROPIC_TOOLS,),
    "responses": (Mode.RESPONSES_TOOLS,),
}


SDKS: dict[str, Any] = {"chat": openai, "responses": openai, "messages": anthropic}
# One pool for all, because making one costs more than a check.
HTTP = {sdk: sdk.DefaultHttpxClient() for sdk in (openai, anthropic)}
ASYNC_HTTP = {sdk: sdk.DefaultAsyncHttpxClient() for sdk in (openai, anthropic)}


def client(cell: Cell, mode: Mode | None = None, *, asynchronous: bool = False, **options: Any) -> Any:
    sdk = SDKS[cell.front]
    http = ASYNC_HTTP if asynchronous else HTTP
    given: dict[str, Any] = {"api_key": cell.key, "max_retries": 0, "timeout": 20, "http_client": http[sdk]} | options
    mode = mode or MODES[cell.front][0]
    if sdk is anthropic:
        made: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return instructor.from_anthropic(made(base_url=cell.url, **given), mode=mode)
    made = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return instructor.from_openai(made(base_url=cell.base_url, **given), mode=mode)


def asked(cell: Cell, text: Any = "Who?", **options: Any) -> Any:
    limit = {"max_tokens": 2048} if cell.front == "messages" else {}
    messages = [{"role": "user", "content": text}]
    common = {"model": cell.model, "messages": messages, "response_model": Person, "max_retries": 0}
    return common | limit | options


def structured(cell: Cell) -> None:
    for mode in MODES[cell.front]:
        person, raw = client(cell, mode).create_with_completion(**asked(cell))
        same(c.PERSON, person.model_dump())
        true(raw.usage, raw)


def stream(cell: Cell) -> None:
    *_, last = client(cell).create_partial(**asked(cell))
    same(c.PERSON, last.model_dump())


async def asynchronous(cell: Cell) -> None:
    person = await client(cell, asynchronous=True).create(**asked(cell))
    same(c.PERSON, person.model_dump())


def image(cell: Cell) -> None:
    picture = instructor.Image.from_base64(f"data:image/png;base64,{c.IMAGE}")
    same(c.PERSON, client(cell).create(**asked(cell, ["Who?", picture])).model_dump())


def multibyte(cell: Cell) -> None:
    same(c.PERSON, client(cell).create(**asked(cell, c.MULTIBYTE)).model_dump())


def failed(cell: Cell, run: Any) -> Any:
    """What the package raises: its own error, around the SDK's."""
    error = raised((InstructorRetryException, openai.APIError, anthropic.APIError), run)
    while isinstance(error, InstructorRetryException) and error.__cause__ is not None:
        error = error.__cause__
    last = getattr(error, "last_attempt", None)
    return last.exception() if last is not None else error


def expected(name: str, **options: Any) -> c.Check:
    def check(cell: Cell) -> None:
        connection = {key: options[key] for key in ("api_key", "timeout") if key in options}
        body = {key: value for key, value in options.items() if key not in connection}
        body = {key: getattr(cell, value[1:]) if str(value)[:1] == "@" else value for key, value in body.items()}
        error = failed(cell, lambda: client(cell, **connection).create(**asked(cell, **body)))
        true(isinstance(error, getattr(SDKS[cell.front], name)), f"{type(error).__name__}: {error}")

    return check


def broken(fault: str, times: int | None, check: c.Check) -> c.Check:
    def run(cell: Cell) -> None:
        with cell.broken(fault, times):
            check(cell)

    return run


def retry(fault: str, name: str) -> c.Check:
    def check(cell: Cell) -> None:
        broken(fault, None, expected(name, model="@faulty"))(cell)
        with cell.broken(fault, 1):
            same(c.PERSON, client(cell, max_retries=2).create(**asked(cell, model=cell.faulty)).model_dump())

    return check


CHECKS = {
    "structured": structured,
    "stream": stream,
    "async": asynchronous,
    "image": image,
    "multibyte": multibyte,
    "unauthenticated": expected("AuthenticationError", api_key="wrong"),
    "unknown_model": expected("NotFoundError", model="no-such-model"),
    "invalid": expected("BadRequestError", temperature="hot"),
    "context_length": broken("context_length", None, expected("BadRequestError", model="@faulty")),
    "retry_429": retry("http_429_bare", "RateLimitError"),
    "retry_503": retry("http_503", "InternalServerError"),
    "timeout": broken("hang", None, expected("APITimeoutError", model="@faulty", timeout=0.4)),
}

if __name__ == "__main__":
    c.main(dict.fromkeys(MODES, CHECKS))
