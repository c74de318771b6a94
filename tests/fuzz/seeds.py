"""What is damaged: one rich request for each front, and what the simulated providers answer to such requests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from infra.local.simulators.answers import answer
from infra.local.simulators.openai_responses import Memory
from infra.local.simulators.provider import WIRES as SIMULATED
from infra.local.simulators.replies import Reply
from understudy.chat.request import ChatRequest, chat_request
from understudy.wire import WIRES
from understudy.wire.base import Quirks

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "look_up", "description": "looks up", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "add_all", "parameters": SCHEMA, "strict": True}},
]
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city":"Bern","days":2}'}},
    {"id": "call_2", "type": "function", "function": {"name": "add_all", "arguments": ""}},
]
HISTORY = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "look_up and add_all, größer 👍"}]},
    {"role": "assistant", "content": None, "tool_calls": CALLS, "refusal": None},
    {"role": "tool", "tool_call_id": "call_1", "content": "fine"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": ""}]},
]
ASK = [{"role": "user", "content": "look_up and add_all, count to 9"}]
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}

CHAT: tuple[dict[str, Any], ...] = (
    {
        "model": "chat",
        "messages": [{"role": "user", "content": "count to 30 👍"}],
        "max_tokens": 100,
        "temperature": 0.3,
    },
    {"model": "chat", "messages": HISTORY, "tools": TOOLS, "tool_choice": "auto", "stop": ["END"], "top_p": 0.9},
    {"model": "chat", "messages": ASK, "tools": TOOLS, "parallel_tool_calls": True},
    {"model": "chat", "messages": [{"role": "user", "content": [{"type": "text", "text": "what"}, IMAGE]}]},
    {"model": "chat", "messages": ASK, "response_format": FORMAT, "seed": 7, "user": "u1", "metadata": {"a": "b"}},
)
_TOOL = {"name": "look_up", "description": "looks up", "input_schema": SCHEMA}
MESSAGES: tuple[dict[str, Any], ...] = (
    {
        "model": "chat",
        "max_tokens": 500,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "tools": [_TOOL],
        "tool_choice": {"type": "auto"},
        "messages": [
            {"role": "user", "content": "look_up größer 👍"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"city": "Bern", "days": 2}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "fine"}]},
        ],
    },
    {"model": "chat", "max_tokens": 50, "messages": ASK, "stop_sequences": ["END"], "metadata": {"user_id": "u"}},
)
RESPONSES: tuple[dict[str, Any], ...] = (
    {"model": "chat", "input": "count to 5", "instructions": "Be kind.", "max_output_tokens": 90},
    {
        "model": "chat",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look_up 👍"}]},
            {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "fine"},
        ],
        "tools": [{"type": "function", "name": "look_up", "parameters": SCHEMA, "strict": True}],
        "text": {"format": {"type": "json_schema", "name": "trip", "schema": SCHEMA}},
        "reasoning": {"effort": "low"},
    },
)
EMBEDDINGS: tuple[dict[str, Any], ...] = ({"model": "chat", "input": ["a", "größer 👍"], "dimensions": 8},)
REQUESTS = {
    "/chat/completions": CHAT,
    "/messages": MESSAGES,
    "/messages/count_tokens": MESSAGES,
    "/responses": RESPONSES,
    "/embeddings": EMBEDDINGS,
}
OWNER = "1f2e3d4c"
QUIRKS = Quirks(OWNER, reasoning_control="budget")


def requests() -> list[ChatRequest]:
    return [chat_request(body) for body in CHAT]


@cache
def answers(wire: str) -> tuple[Reply, ...]:
    """What the simulated provider of a wire answers to each request that it can be sent, streamed and whole."""
    found = []
    if wire == "responses":
        memory = Memory()
        for body in RESPONSES:
            for stream in (True, False):
                thinking = {
                    "include": ["reasoning.encrypted_content"],
                    "reasoning": {"effort": "low", "summary": "auto"},
                }
                given = memory.read({**body, **thinking, "stream": stream})
                found.append(memory.render(given, answer(given)))
        return tuple(found)
    simulated = SIMULATED[wire]
    for request in requests():
        for stream in (True, False):
            lost = WIRES[wire].cannot_carry(request, QUIRKS)
            call = WIRES[wire].call(
                request, model="large-1", stream=stream, drop=lost, max_output_tokens=None, quirks=QUIRKS
            )
            asked = simulated.ask(call.path, json.loads(call.body))
            found.append(simulated.render(asked, answer(asked)))
    return tuple(found)
