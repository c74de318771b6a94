"""What the Responses API accepts, and the provider's own words for what it does not.

Source: https://platform.openai.com/docs/api-reference/responses/create and answers of the live API in public issues.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from infra.local.simulators.openai_rules import check_name, error, reject
from infra.local.simulators.replies import RejectedError

PARAMETERS = frozenset(
    {
        "background",
        "context_management",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
ROLES = ("assistant", "system", "developer", "user")
PARTS = ("input_text", "input_image", "output_text", "refusal", "input_file", "input_audio")
OUTPUTS = ("function_call_output", "custom_tool_call_output")
CALLS = ("function_call", "custom_tool_call")
# The kinds of items, and how their ids begin.
ITEMS: Mapping[str, str] = {
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "reasoning": "rs",
    "web_search_call": "ws",
    "function_call_output": "",
    "custom_tool_call_output": "",
    "item_reference": "",
}
TOOLS = ("function", "custom", "web_search")
Known = Callable[[str], bool]


def check(body: Any, known_item: Known, known_secret: Known) -> dict[str, Any]:
    """The body itself when the API would accept it; raises RejectedError otherwise.

    `known_item` says whether an item's id is stored, `known_secret` whether encrypted content was made here.
    """
    if not isinstance(body, dict):
        reject("We could not parse the JSON body of your request.")
    for name in body:
        if name not in PARAMETERS:
            reject(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if not isinstance(body.get("model"), str):
        reject("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    if not body.get("input") and not body.get("previous_response_id"):
        reject(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.",
            "input",
            "missing_required_parameter",
        )
    _check_values(body)
    _check_tools(body)
    items = body.get("input") or []
    if not isinstance(items, str | list):
        reject(
            "Invalid type for 'input': expected one of an array of input items or a string.", "input", "invalid_type"
        )
    for index, item in enumerate(items if isinstance(items, list) else ()):
        _check_item(item, f"input[{index}]", known_item, known_secret)
    return body


def _check_values(body: Mapping[str, Any]) -> None:
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "max_output_tokens": int,
        "stream": bool,
        "store": bool,
        "instructions": str,
        "temperature": (int, float),
        "previous_response_id": str,
        "include": list,
    }
    for name, kind in kinds.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            reject(f"Invalid type for '{name}'.", name, "invalid_type")
    least = body.get("max_output_tokens")
    if least is not None and least < 1:
        reject(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{least} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    if body.get("stream_options") is not None and not body.get("stream"):
        reject("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def _check_tools(body: Mapping[str, Any]) -> None:
    for index, tool in enumerate(body.get("tools") or []):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in TOOLS:
            named = ", ".join(f"'{one}'" for one in TOOLS)
            reject(f"Invalid value: '{kind}'. Supported values are: {named}.", f"tools[{index}].type", "invalid_value")
        if kind != "web_search" and not isinstance(tool.get("name"), str):
            where = f"tools[{index}].name"
            reject(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        if kind != "web_search":
            check_name(tool["name"], f"tools[{index}].name")


def _check_item(item: Any, where: str, known_item: Known, known_secret: Known) -> None:
    if not isinstance(item, dict):
        reject(f"Invalid type for '{where}': expected an input item.", where, "invalid_type")
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind not in ITEMS:
        named = ", ".join(f"'{one}'" for one in ITEMS)
        reject(f"Invalid value: '{kind}'. Supported values are: {named}.", where, "invalid_value")
    _check_id(item.get("id"), ITEMS[kind], f"{where}.id")
    if kind == "message":
        _check_message(item, where)
    elif kind in CALLS + OUTPUTS and not isinstance(item.get("call_id"), str):
        reject(f"Missing required parameter: '{where}.call_id'.", f"{where}.call_id", "missing_required_parameter")
    elif kind == "item_reference" and not known_item(str(item.get("id"))):
        _not_found(str(item.get("id")))
    elif kind == "reasoning":
        secret = item.get("encrypted_content")
        if secret is None and not known_item(str(item.get("id"))):
            _not_found(str(item.get("id")))
        if secret is not None and not known_secret(secret):
            message = (
                f"The encrypted content for item {item.get('id')} could not be verified. Reason: Encrypted content "
                "could not be decrypted or parsed."
            )
            reject(message, code="invalid_encrypted_content")


def _check_id(value: Any, prefix: str, where: str) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.startswith(prefix):
        reject(f"Invalid '{where}': '{value}'. Expected an ID that begins with '{prefix}'.", where, "invalid_value")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", value):
        message = (
            f"Invalid '{where}': '{value}'. Expected an ID that contains letters, numbers, underscores, or dashes, "
            "but this value contained additional characters."
        )
        reject(message, where, "invalid_value")


def _check_message(item: Mapping[str, Any], where: str) -> None:
    if item.get("role") not in ROLES:
        named = "'assistant', 'system', 'developer', and 'user'"
        reject(f"Invalid value: '{item.get('role')}'. Supported values are: {named}.", f"{where}.role", "invalid_value")
    content = item.get("content")
    if not isinstance(content, str | list):
        reject(f"Missing required parameter: '{where}.content'.", f"{where}.content", "missing_required_parameter")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in PARTS:
            named = ", ".join(f"'{one}'" for one in PARTS)
            path = f"{where}.content[{index}]"
            reject(f"Invalid value: '{kind}'. Supported values are: {named}.", path, "invalid_value")


def check_calls(items: list[dict[str, Any]]) -> None:
    """Every call in a whole conversation has its output, and every output its call."""
    called = {item["call_id"] for item in items if item.get("type") in CALLS}
    answered = {item["call_id"] for item in items if item.get("type") in OUTPUTS}
    for identifier in sorted(answered - called):
        reject(f"No tool call found for function call output with call_id {identifier}.", "input")
    for identifier in sorted(called - answered):
        reject(f"No tool output found for function call {identifier}.", "input")


def no_previous(identifier: str) -> NoReturn:
    reject(
        f"Previous response with id '{identifier}' not found.", "previous_response_id", "previous_response_not_found"
    )


def _not_found(identifier: str) -> NoReturn:
    message = (
        f"Item with id '{identifier}' not found. Items are not persisted when `store` is set to false. Try again with "
        "`store` set to true, or remove this item from your input."
    )
    raise RejectedError(error(404, message, param="input"))
