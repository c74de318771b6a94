"""What every client that knows types asks for and offers: somebody to be described, and two tools."""

from __future__ import annotations

import checking as c
from pydantic import BaseModel


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int
    tags: list[str]


def get_weather(city: str) -> str:
    """The weather of a city."""
    return c.TOOL_RESULTS["get_weather"]


def get_time(city: str) -> str:
    """The time in a city."""
    return c.TOOL_RESULTS["get_time"]
