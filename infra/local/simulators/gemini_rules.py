"""What the Gemini wire accepts, and the provider's own words for what it does not.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/troubleshooting,
https://ai.google.dev/gemini-api/docs/thought-signatures, https://google.aip.dev/193 and answers of the live API that
public issues quote.
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from infra.local.simulators.replies import RejectedError, Reply, json_reply

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
FIELDS = frozenset(
    {
        "cachedContent",
        "contents",
        "generationConfig",
        "labels",
        "model",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)
CONFIG: Mapping[str, tuple[type, ...]] = {
    "candidateCount": (int,),
    "enableEnhancedCivicAnswers": (bool,),
    "frequencyPenalty": (int, float),
    "imageConfig": (dict,),
    "logprobs": (int,),
    "maxOutputTokens": (int,),
    "mediaResolution": (str,),
    "presencePenalty": (int, float),
    "responseJsonSchema": (dict,),
    "responseLogprobs": (bool,),
    "responseMimeType": (str,),
    "responseModalities": (list,),
    "responseSchema": (dict,),
    "seed": (int,),
    "speechConfig": (dict,),
    "stopSequences": (list,),
    "temperature": (int, float),
    "thinkingConfig": (dict,),
    "topK": (int, float),
    "topP": (int, float),
}
DATA = frozenset(
    ["codeExecutionResult", "executableCode", "fileData", "functionCall", "functionResponse", "inlineData", "text"]
)
PART = DATA | {"mediaResolution", "partMetadata", "thought", "thoughtSignature", "videoMetadata"}
TOOL = frozenset(["codeExecution", "functionDeclarations", "googleMaps", "googleSearch", "urlContext"])
DECLARATION = frozenset(
    ["behavior", "description", "name", "parameters", "parametersJsonSchema", "response", "responseJsonSchema"]
)
OPAQUE = frozenset(
    ["args", "labels", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "responseSchema"]
)
"""Fields whose inner names are not the protocol's."""
LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
MODES = ("AUTO", "ANY", "NONE", "VALIDATED")
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
SIGNED = b"[simulated] thought signature"
UNSIGNED = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")


def error_body(status: int, message: str, details: Sequence[Mapping[str, Any]] = (), kind: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"code": status, "message": message, "status": kind or STATUSES.get(status, "UNKNOWN")}
    return {"error": body | ({"details": list(details)} if details else {})}


def error(status: int, message: str, details: Sequence[Mapping[str, Any]] = (), kind: str = "") -> Reply:
    """An error in Google's shape."""
    return json_reply(status, error_body(status, message, details, kind))


def reject(message: str, details: Sequence[Mapping[str, Any]] = ()) -> NoReturn:
    raise RejectedError(error(400, message, details))


def wrong_key() -> Reply:
    message = "API key not valid. Please pass a valid API key."
    info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    service = {"metadata": {"service": "generativelanguage.googleapis.com"}}
    localized = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message}
    return error(400, message, [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info, **service}, localized])


def authorise(headers: Mapping[str, str], api_key: str) -> None:
    key = headers.get("x-goog-api-key")
    if not key:
        message = (
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API."
        )
        raise RejectedError(error(403, message))
    if key != api_key:
        raise RejectedError(wrong_key())


def known(holder: Any, fields: Collection[str], where: str) -> dict[str, Any]:
    """The object, if it has no other fields."""
    if not isinstance(holder, dict):
        reject(f"Invalid value at '{where}' (Message), not an object")
    unknown = [name for name in holder if name not in fields]
    if unknown:
        at = f" at '{where}'" if where else ""
        message = f'Invalid JSON payload received. Unknown name "{unknown[0]}"{at}: Cannot find field.'
        violation = {"fieldViolations": [{"field": where, "description": message}]}
        reject(message, [{"@type": "type.googleapis.com/google.rpc.BadRequest", **violation}])
    return holder


def camel(value: Any) -> Any:
    """The same with field names as the reference has them: proto3 JSON takes `snake_case` ones too."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"(?<=[a-z])_([a-z])", lambda match: match[1].upper(), name): one for name, one in value.items()}
    return {name: one if name in OPAQUE else camel(one) for name, one in named.items()}


def check(given: Any) -> dict[str, Any]:
    """The body when the API would accept it; raises RejectedError otherwise."""
    if not isinstance(given, dict):
        reject('Invalid JSON payload received. Unexpected token.\n\n^"')
    body: dict[str, Any] = camel(given)
    known(body, FIELDS, "")
    _check_config(known(body.get("generationConfig", {}), CONFIG, "generation_config"))
    _check_tools(body)
    if "systemInstruction" in body:
        system = known(body["systemInstruction"], {"parts", "role"}, "system_instruction")
        _check_parts(system.get("parts"), "system_instruction")
    _check_contents(body.get("contents"))
    return body


def _check_config(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if not isinstance(value, CONFIG[name]) or (isinstance(value, bool) and bool not in CONFIG[name]):
            reject(f"Invalid value at 'generation_config.{name}', {value!r}")
    if not 0 <= config.get("temperature", 1) <= 2:
        reject("* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n")
    if not 1 <= config.get("candidateCount", 1) <= 8:
        reject("Only one to eight candidates can be specified")
    if config.get("maxOutputTokens", 1) < 1:
        reject("* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n")
    stops = config.get("stopSequences", [])
    if len(stops) > 5:
        reject("the number of stop_sequences must not exceed 5")
    if not all(isinstance(stop, str) and stop for stop in stops):
        reject("* GenerateContentRequest.generation_config.stop_sequences: stop sequence must not be empty.\n")
    if "logprobs" in config and not (config.get("responseLogprobs") and 0 <= config["logprobs"] <= 20):
        reject("Logprobs must be in the range [0, 20] and can only be set if response_logprobs is true.")
    if {"responseJsonSchema", "responseSchema"} & set(config) and config.get("responseMimeType") != "application/json":
        reject("response_schema is only supported with response_mime_type `application/json`.")
    thinking = known(
        config.get("thinkingConfig", {}),
        {"includeThoughts", "thinkingBudget", "thinkingLevel"},
        "generation_config.thinking_config",
    )
    if {"thinkingBudget", "thinkingLevel"} <= set(thinking):
        reject("You can only set only one of thinking budget and thinking level.")
    if str(thinking.get("thinkingLevel", "LOW")).upper() not in LEVELS:
        reject("Invalid value at 'generation_config.thinking_config.thinking_level'")


def _check_tools(body: Mapping[str, Any]) -> None:
    names: set[str] = set()
    for index, tool in enumerate(body.get("tools", [])):
        for place, one in enumerate(known(tool, TOOL, f"tools[{index}]").get("functionDeclarations", [])):
            where = f"tools[{index}].function_declarations[{place}]"
            name = str(known(one, DECLARATION, where).get("name", ""))
            if not NAME.fullmatch(name):
                reject(
                    f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a letter or an "
                    "underscore.\n"
                )
            if name in names:
                reject(f"Duplicate function declaration found: {name}")
            if {"parameters", "parametersJsonSchema"} <= set(one):
                reject("parameters and parameters_json_schema must not both be set.")
            names.add(name)
    config = known(body.get("toolConfig", {}), {"functionCallingConfig", "retrievalConfig"}, "tool_config")
    calling = known(
        config.get("functionCallingConfig", {}), {"allowedFunctionNames", "mode"}, "tool_config.function_calling_config"
    )
    if calling and not names:
        reject("Function calling config is set without function_declarations.")
    if calling.get("mode", "AUTO") not in MODES:
        reject("Invalid value at 'tool_config.function_calling_config.mode'")
    allowed = calling.get("allowedFunctionNames", [])
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        reject("allowed_function_names should only be set when the function calling mode is ANY.")
    if not set(allowed) <= names:
        reject("allowed_function_names contains a function that is not in function_declarations.")


def _check_contents(contents: Any) -> None:
    if not contents:
        reject("* GenerateContentRequest.contents: contents is not specified\n")
    if not isinstance(contents, list):
        reject("Invalid value at 'contents' (Message), not a list")
    for index, content in enumerate(contents):
        known(content, {"parts", "role"}, f"contents[{index}]")
        if content.get("role", "user") not in ("user", "model"):
            reject("Please use a valid role: user, model.")
        _check_parts(content.get("parts"), f"contents[{index}]")
    _check_order(contents)
    _check_signatures(contents)


def _check_parts(parts: Any, where: str) -> None:
    if not parts:
        reject(f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n")
    for index, part in enumerate(parts):
        here = f"{where}.parts[{index}]"
        given = [name for name in known(part, PART, here) if name in DATA and part[name] not in (None, "")]
        if not given and "thoughtSignature" not in part:
            reject(
                f"* GenerateContentRequest.{here}.data: required oneof field 'data' must have one initialized field\n"
            )
        if len(given) > 1:
            reject(f"Invalid value at '{here}' (oneof), oneof field 'data' is already set. Cannot set '{given[1]}'")
        if "inlineData" in part:
            _check_blob(known(part["inlineData"], {"data", "mimeType"}, f"{here}.inline_data"), here)
        if "fileData" in part and not known(part["fileData"], {"fileUri", "mimeType"}, here).get("fileUri"):
            reject(f"* GenerateContentRequest.{here}.file_data.file_uri: [FIELD_INVALID]\n")
        if "functionCall" in part:
            _check_function(known(part["functionCall"], {"args", "id", "name"}, here), "args", f"{here}.function_call")
        if "functionResponse" in part:
            fields = {"id", "name", "parts", "response", "scheduling", "willContinue"}
            _check_function(known(part["functionResponse"], fields, here), "response", f"{here}.function_response")


def _check_blob(blob: Mapping[str, Any], where: str) -> None:
    if not blob.get("mimeType"):
        reject(f"* GenerateContentRequest.{where}.inline_data.mime_type: [FIELD_INVALID]\n")
    if _decoded(blob.get("data", "")) is None:
        reject(f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed")


def _check_function(function: Mapping[str, Any], holds: str, where: str) -> None:
    if not NAME.fullmatch(str(function.get("name", ""))):
        reject(f"* GenerateContentRequest.{where}.name: Name cannot be empty.\n")
    if not isinstance(function.get(holds, {}), dict):
        reject(f"Invalid value at '{where}.{holds}' (type.googleapis.com/google.protobuf.Struct), not an object")


def _named(content: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [part[kind] for part in content["parts"] if kind in part]


def _check_order(contents: Sequence[Mapping[str, Any]]) -> None:
    """Calls follow what the user or a function said, and are all answered at once."""
    before: Mapping[str, Any] | None = None
    for content in contents:
        calls, responses = _named(content, "functionCall"), _named(content, "functionResponse")
        asked = _named(before, "functionCall") if before else []
        if calls and (before is None or before.get("role", "user") != "user"):
            reject(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        if responses and not asked:
            reject("Please ensure that function response turn comes immediately after a function call turn.")
        if len(responses) != len(asked):
            reject(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if [one["name"] for one in responses] != [one["name"] for one in asked]:
            reject("Please ensure that function response parts have the names of the function call parts.")
        before = content


def _check_signatures(contents: Sequence[Mapping[str, Any]]) -> None:
    """Every signature is one of ours; each step since the user last spoke has one on its first call."""
    spoke = [
        index
        for index, content in enumerate(contents)
        if content.get("role", "user") == "user" and not _named(content, "functionResponse")
    ]
    for index, content in enumerate(contents):
        for part in content["parts"]:
            if "thoughtSignature" in part and not _is_ours(part["thoughtSignature"]):
                reject("Corrupted thought signature.")
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        current = index > (spoke[-1] if spoke else -1)
        if first is not None and current and "thoughtSignature" not in first:
            reject(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{first['functionCall']['name']}` , position {index + 1}. Please "
                "refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )


def signature(of: str) -> str:
    """A signature as the simulator makes it."""
    return base64.b64encode(SIGNED + b" " + of.encode()).decode()


def _is_ours(value: Any) -> bool:
    if value in UNSIGNED:
        return True
    decoded = _decoded(value)
    return decoded is not None and decoded.startswith(SIGNED)


def _decoded(value: Any) -> bytes | None:
    """The bytes of base64 in either alphabet, or None."""
    try:
        return base64.b64decode(str(value).replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
