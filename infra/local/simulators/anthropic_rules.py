"""What the Anthropic wire accepts, and the provider's own words for what it does not.

Source: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/api/errors
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from infra.local.simulators import anthropic_thinking as thinking
from infra.local.simulators.replies import RejectedError, Reply, json_reply

FIELDS = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
COUNTED = frozenset(
    [
        "cache_control",
        "context_management",
        "mcp_servers",
        "messages",
        "model",
        "output_config",
        "output_format",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    ]
)
VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
MOST_BREAKPOINTS = 4
BLOCKS = (
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "text",
    "thinking",
    "tool_result",
    "tool_use",
    "web_search_tool_result",
)
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
ID = r"^[a-zA-Z0-9_-]+$"
TOOL_NAME = r"^[a-zA-Z0-9_-]{1,128}$"


def error_body(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_simulated"}


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in Anthropic's shape."""
    kind = ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json_reply(status, error_body(kind, message), {"request-id": "req_simulated", **(headers or {})})


def reject(message: str) -> NoReturn:
    raise RejectedError(error(400, message))


def authorise(headers: Mapping[str, str], api_key: str) -> None:
    """The key comes in either of two headers; one that is wrong is not made good by the other."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = [headers["x-api-key"]] if headers.get("x-api-key") else []
    given += [token] if scheme.lower() == "bearer" and token else []
    if not given:
        raise RejectedError(error(401, "x-api-key header is required"))
    if any(key != api_key for key in given):
        raise RejectedError(error(401, "invalid x-api-key"))
    if "anthropic-version" not in headers:
        reject("anthropic-version: header is required")
    if headers["anthropic-version"] not in VERSIONS:
        reject(f'anthropic-version: "{headers["anthropic-version"]}" is not a valid version')


def check(body: Any) -> dict[str, Any]:
    """The body itself when the API would accept it; raises RejectedError otherwise."""
    return _check(body, FIELDS, ("model", "max_tokens", "messages"))


def check_count(body: Any) -> dict[str, Any]:
    """As `check`, for a request whose tokens are to be counted."""
    return _check(body, COUNTED, ("model", "messages"))


def _check(body: Any, fields: frozenset[str], required: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(body, dict):
        reject("The request body is not valid JSON")
    for name in body:
        if name not in fields:
            reject(f"{name}: Extra inputs are not permitted")
    for name in required:
        if body.get(name) is None:
            reject(f"{name}: Field required")
    if not isinstance(body["model"], str):
        reject("model: Input should be a valid string")
    _check_sampling(body)
    _check_messages(body["messages"])
    _check_system(body.get("system"))
    _check_tools(body)
    _check_breakpoints(body)
    thinking.check(body, merged(body["messages"]), reject)
    return body


def _check_breakpoints(body: Mapping[str, Any]) -> None:
    found = list(marked(body.get("tools"))) + list(marked(body.get("system")))
    found += [one for message in body["messages"] for one in marked(message["content"])]
    if any(not isinstance(one, dict) or one.get("type") != "ephemeral" for one in found):
        reject("cache_control.type: Input should be 'ephemeral'")
    if len(found) > MOST_BREAKPOINTS:
        reject(f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {len(found)}.")


def marked(blocks: Any) -> Iterator[Any]:
    """The cache breakpoints of a list of blocks."""
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and block.get("cache_control") is not None:
            yield block["cache_control"]


def _check_sampling(body: Mapping[str, Any]) -> None:
    limit, temperature = body.get("max_tokens", 1), body.get("temperature")
    temperature = 0 if temperature is None else temperature
    if not isinstance(limit, int) or isinstance(limit, bool):
        reject("max_tokens: Input should be a valid integer")
    if limit < 1:
        reject("max_tokens: Input should be greater than or equal to 1")
    if not isinstance(temperature, int | float) or isinstance(temperature, bool):
        reject("temperature: Input should be a valid number")
    if not 0 <= temperature <= 1:
        reject("temperature: range: 0..1")
    if not isinstance(body.get("stream") or False, bool):
        reject("stream: Input should be a valid boolean")
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        reject("stop_sequences: Input should be a valid list of strings")
    if not all(stop.strip() for stop in stops):
        reject("stop_sequences: each stop sequence must contain non-whitespace")


def _check_system(system: Any) -> None:
    if isinstance(system, list):
        for index, block in enumerate(system):
            if not isinstance(block, dict) or block.get("type") != "text":
                reject(f"system.{index}.type: Input should be 'text'")
    elif system is not None and not isinstance(system, str):
        reject("system: Input should be a valid string or list")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools") or []
    for index, tool in enumerate(tools):
        # Tools that the provider runs itself have a dated type and no schema.
        if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
            continue
        if not re.fullmatch(TOOL_NAME, str(tool.get("name", ""))):
            reject(f"tools.{index}.custom.name: String should match pattern '{TOOL_NAME}'")
        if not isinstance(tool.get("input_schema"), dict):
            reject(f"tools.{index}.custom.input_schema: Field required")
        if tool["input_schema"].get("type") != "object":
            reject(f"tools.{index}.custom.input_schema.type: Input should be 'object'")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not isinstance(choice, dict) or choice.get("type") not in ("auto", "any", "tool", "none"):
        reject("tool_choice: Input tag does not match any of the expected tags: 'any', 'auto', 'none', 'tool'")
    if not tools:
        reject("tool_choice: tool_choice may only be specified while providing tools")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        reject("messages: Input should be a valid list")
    if not messages:
        reject("messages: at least one message is required")
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "system":
            reject(
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
                'parameter, not "system" as an input message role.'
            )
        if role not in ("user", "assistant"):
            reject(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        _check_content(message.get("content"), f"messages.{index}.content")
    if messages[0]["role"] != "user":
        reject('messages: first message must use the "user" role')
    last = merged(messages)[-1]
    if last["role"] == "assistant" and last["content"] and last["content"][-1].get("text", "x")[-1:].isspace():
        reject("messages: final assistant content cannot end with trailing whitespace")
    _check_tool_results(messages)


def _check_content(content: Any, where: str) -> None:
    if isinstance(content, str):
        if not content:
            reject(f"{where}: text content must be non-empty")
        return
    if not isinstance(content, list):
        reject(f"{where}: Field required" if content is None else f"{where}: Input should be a valid list")
    for index, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in BLOCKS:
            expected = ", ".join(f"'{one}'" for one in BLOCKS)
            reject(
                f"{where}.{index}: Input tag '{kind}' found using 'type' does not match any of the expected "
                f"tags: {expected}"
            )
        _check_block(block, kind, f"{where}.{index}")


def _check_block(block: Mapping[str, Any], kind: Any, where: str) -> None:
    if kind == "text" and not isinstance(block.get("text"), str):
        reject(f"{where}.text.text: Field required")
    if kind == "text" and not block["text"]:
        reject("messages: text content blocks must be non-empty")
    if kind == "image" and not isinstance(block.get("source"), dict):
        reject(f"{where}.image.source: Field required")
    if kind == "document":
        _check_document(block.get("source"), f"{where}.document.source")
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        reject(f"{where}.tool_use.input: Input should be a valid dictionary")
    named = {"tool_use": "id", "tool_result": "tool_use_id"}.get(kind)
    if named is None:
        return
    if named not in block:
        reject(f"{where}.{kind}.{named}: Field required")
    if not re.fullmatch(ID, str(block[named])):
        reject(f"{where}.{kind}.{named}: String should match pattern '{ID}'")


def _check_document(source: Any, where: str) -> None:
    kind = source.get("type") if isinstance(source, dict) else None
    if kind not in ("base64", "content", "file", "text", "url"):
        reject(f"{where}: Input tag '{kind}' does not match any of the expected tags")
    if kind == "text" and (source.get("media_type") != "text/plain" or not source.get("data")):
        reject(f"{where}.text: Input should be plain text that is not empty")
    if kind != "base64":
        return
    if source.get("media_type") != "application/pdf":
        reject(f"{where}.base64.media_type: Input should be 'application/pdf'")
    try:
        data = base64.b64decode(str(source.get("data")), validate=True)
    except ValueError:
        data = b""
    if not data.startswith(b"%PDF"):
        reject(f"{where}.base64.data: The PDF specified was not valid.")


def merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns: consecutive messages of one role are one turn to the API; content is a list of blocks."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": message["role"], "content": blocks})
    return turns


def _check_tool_results(messages: list[dict[str, Any]]) -> None:
    """Every tool use is answered in the next turn, and nothing is answered that was not called."""
    waiting: list[str] = []
    turns = merged(messages)
    for index, turn in enumerate(turns):
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        for position, result in enumerate(results):
            if result not in waiting:
                reject(
                    f"messages.{index}.content.{position}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {result}. Each `tool_result` block must have a corresponding `tool_use` block "
                    "in the previous message."
                )
        _check_all_answered([used for used in waiting if used not in results], index)
        waiting = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
    _check_all_answered(waiting, len(turns))


def _check_all_answered(waiting: list[str], index: int) -> None:
    if waiting:
        reject(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(waiting)}. Each `tool_use` block must have a corresponding `tool_result` "
            "block in the next message."
        )
