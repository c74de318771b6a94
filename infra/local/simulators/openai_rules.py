"""What the OpenAI wire accepts, and the provider's own words for what it does not.

Source: https://platform.openai.com/docs/api-reference/chat/create and answers of the live API.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from infra.local.simulators.replies import RejectedError, Reply, json_reply

# Two are not OpenAI's own: with them vLLM's compatible server continues the last message.
PARAMETERS = frozenset(
    {
        "add_generation_prompt",
        "audio",
        "continue_final_message",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
ROLES = ("system", "assistant", "user", "function", "tool", "developer")
PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
NAME = r"^[a-zA-Z0-9_-]+$"


def error(
    status: int,
    message: str,
    kind: str | None = "invalid_request_error",
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return json_reply(status, body, {"x-request-id": "req_simulated", **(headers or {})})


def reject(message: str, param: str | None = None, code: str | None = None) -> NoReturn:
    raise RejectedError(error(400, message, param=param, code=code))


def authorise(headers: Mapping[str, str], api_key: str) -> None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header "
            "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise RejectedError(error(401, message))
    if key != api_key:
        raise RejectedError(wrong_key())


def wrong_key() -> Reply:
    message = "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."
    return error(401, message, code="invalid_api_key")


def check(body: Any) -> dict[str, Any]:
    """The body itself when the API would accept it; raises RejectedError otherwise."""
    if not isinstance(body, dict):
        reject(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
            "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
            "valid JSON.)"
        )
    unknown = [name for name in body if name not in PARAMETERS]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        reject(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
    if not body.get("model"):
        reject("you must provide a model parameter")
    _typed(body, "model", str, "a string")
    _check_numbers(body)
    _check_stream(body)
    _check_messages(body)
    _check_tools(body)
    return body


def _typed(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], wanted: str) -> Any:
    """The parameter's value, None when it is absent or null; refuses another type."""
    value = body.get(name)
    # JSON's true is no number, Python's is.
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        message = f"Invalid type for '{name}': expected {wanted}, but got {_kind(value)} instead."
        reject(message, name, "invalid_type")
    return value


def _kind(value: Any) -> str:
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a decimal", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def _check_numbers(body: Mapping[str, Any]) -> None:
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = _typed(body, name, int, "an integer")
        if value is not None and value < 1:
            reject(
                _out_of_range(name, "integer", "below minimum", ">= 1", value),
                name,
                "integer_below_min_value",
            )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        reject("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    temperature = _typed(body, "temperature", (int, float), "a decimal")
    if temperature is not None and not 0 <= temperature <= 2:
        high = temperature > 2
        word, bound = ("above maximum", "<= 2") if high else ("below minimum", ">= 0")
        code = "decimal_above_max_value" if high else "decimal_below_min_value"
        reject(_out_of_range("temperature", "decimal", word, bound, temperature), "temperature", code)


def _out_of_range(name: str, kind: str, word: str, bound: str, value: float) -> str:
    return f"Invalid '{name}': {kind} {word} value. Expected a value {bound}, but got {value} instead."


def _check_stream(body: Mapping[str, Any]) -> None:
    _typed(body, "stream", bool, "a boolean")
    if _typed(body, "stream_options", dict, "an object") is not None and not body.get("stream"):
        reject("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    stop = _typed(body, "stop", (str, list), "a string or an array of strings") or []
    if isinstance(stop, list) and (len(stop) > 4 or not all(isinstance(one, str) for one in stop)):
        reject("Invalid 'stop': expected at most 4 strings.", "stop", "invalid_type")


def _check_messages(body: Mapping[str, Any]) -> None:
    if "messages" not in body:
        reject("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    messages = body["messages"]
    if not isinstance(messages, list):
        message = f"Invalid type for 'messages': expected an array of objects, but got {_kind(messages)} instead."
        reject(message, "messages", "invalid_type")
    if not messages:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        reject(message, "messages", "empty_array")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            text = f"Invalid type for '{where}': expected an object, but got {_kind(message)} instead."
            reject(text, where, "invalid_type")
        _check_one_of(message.get("role"), ROLES, f"{where}.role")
        _check_content(message, f"{where}.content")
    _check_tool_messages(messages)


def _check_one_of(value: Any, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        quoted = ", ".join(f"'{one}'" for one in allowed[:-1])
        message = f"Invalid value: '{value}'. Supported values are: {quoted}, and '{allowed[-1]}'."
        reject(message, where, "invalid_value")


def _check_content(message: Mapping[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None and message["role"] != "assistant":
        reject(f"Invalid value for 'content': expected a string, got null. ({where})", where)
    if content is not None and not isinstance(content, str | list):
        text = (
            f"Invalid type for '{where}': expected one of a string or array of objects, "
            f"but got {_kind(content)} instead."
        )
        reject(text, where, "invalid_type")
    if isinstance(content, list):
        for index, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            _check_one_of(kind, PARTS, f"{where}[{index}].type")
            if kind == "text" and not isinstance(part.get("text"), str):
                reject(
                    f"Missing required parameter: '{where}[{index}].text'.",
                    where,
                    "missing_required_parameter",
                )


def _check_tool_messages(messages: list[dict[str, Any]]) -> None:
    """Every tool call is answered at once, and nothing is answered that was not called."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                text = (
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'."
                )
                reject(text, f"messages.[{index}].role")
            waiting.remove(message["tool_call_id"])
            continue
        _check_all_answered(waiting, index)
        waiting = [call["id"] for call in message.get("tool_calls") or []]
    _check_all_answered(waiting, len(messages))


def _check_all_answered(waiting: list[str], index: int) -> None:
    if waiting:
        text = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(waiting)
        )
        reject(text, f"messages.[{index - 1}].role")


def check_name(name: Any, where: str) -> None:
    """A function's name is made of few characters."""
    if not re.fullmatch(NAME, str(name)):
        message = (
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern '{NAME}'."
        )
        reject(message, where, "invalid_value")


def _check_tools(body: Mapping[str, Any]) -> None:
    for index, tool in enumerate(_typed(body, "tools", list, "an array of objects") or []):
        where = f"tools[{index}].function"
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            reject(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        check_name(function.get("name", ""), f"{where}.name")
    if body.get("tool_choice") is not None and not body.get("tools"):
        reject(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            "tool_choice",
        )
