"""Instructor: objects by tools and by schemas, over both SDKs."""

from __future__ import annotations

from typing import Any

import anthropic
import checking as c
import instructor
import openai
from checking import Cell, raised, same, true
from instructor import Mode
from instructor.core import InstructorRetryException
from pydantic import BaseModel

MODES = {
    "chat": (Mode.TOOLS, Mode.JSON_SCHEMA),
    "messages": (Mode.ANTHROPIC_TOOLS, Mode.ANTHROPIC_JSON),
    "responses": (Mode.RESPONSES_TOOLS,),
}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int
    tags: list[str]


def client(cell: Cell, mode: Mode | None = None, **options: Any) -> Any:
    given: dict[str, Any] = {"api_key": cell.key, "max_retries": 0, "timeout": 20} | options
    mode = mode or MODES[cell.front][0]
    if cell.front == "messages":
        return instructor.from_anthropic(anthropic.Anthropic(base_url=cell.url, **given), mode=mode)
    return instructor.from_openai(openai.OpenAI(base_url=cell.base_url, **given), mode=mode)


def asked(cell: Cell, text: Any = "Who?", **options: Any) -> Any:
    limit = {"max_tokens": 2048} if cell.front == "messages" else {}
    messages = [{"role": "user", "content": text}]
    common = {"model": cell.model, "messages": messages, "response_model": Person, "max_retries": 0}
    return common | limit | options


def structured(cell: Cell) -> None:
    for mode in MODES[cell.front]:
        person, raw = client(cell, mode).create_with_completion(**asked(cell))
        same(Person(**c.PERSON), person)
        true(raw.usage, raw)


def stream(cell: Cell) -> None:
    *_, last = client(cell).create_partial(**asked(cell))
    same(c.PERSON, last.model_dump())
    same([Person(**c.PERSON)], list(client(cell).create_iterable(**asked(cell)))[:1])


async def asynchronous(cell: Cell) -> None:
    given: dict[str, Any] = {"api_key": cell.key, "max_retries": 0, "timeout": 20}
    mode = MODES[cell.front][0]
    if cell.front == "messages":
        one: Any = instructor.from_anthropic(anthropic.AsyncAnthropic(base_url=cell.url, **given), mode=mode)
    else:
        one = instructor.from_openai(openai.AsyncOpenAI(base_url=cell.base_url, **given), mode=mode)
    same(Person(**c.PERSON), await one.create(**asked(cell)))


def image(cell: Cell) -> None:
    picture = instructor.Image.from_base64(f"data:image/png;base64,{c.IMAGE}")
    same(Person(**c.PERSON), client(cell).create(**asked(cell, ["Who?", picture])))


def multibyte(cell: Cell) -> None:
    same(Person(**c.PERSON), client(cell).create(**asked(cell, c.MULTIBYTE)))


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
        sdk = anthropic if cell.front == "messages" else openai
        true(isinstance(error, getattr(sdk, name)), f"{type(error).__name__}: {error}")

    return check


def broken(fault: str, times: int | None, check: c.Check) -> c.Check:
    def run(cell: Cell) -> None:
        with cell.broken(fault, times):
            check(cell)

    return run


def retry(fault: str, name: str) -> c.Check:
    def check(cell: Cell) -> None:
        broken(fault, 1, expected(name, model="@faulty"))(cell)
        with cell.broken(fault, 1):
            same(Person(**c.PERSON), client(cell, max_retries=2).create(**asked(cell, model=cell.faulty)))

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
    "context_length": broken("context_length", 1, expected("BadRequestError", model="@faulty")),
    "retry_429": retry("http_429_bare", "RateLimitError"),
    "retry_503": retry("http_503", "InternalServerError"),
    "timeout": broken("hang", None, expected("APITimeoutError", model="@faulty", timeout=0.4)),
}

if __name__ == "__main__":
    c.main(dict.fromkeys(MODES, CHECKS))
