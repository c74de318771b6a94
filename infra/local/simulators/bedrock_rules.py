"""What Converse accepts, and the service's own words for what it does not.

Shapes are checked against botocore's description of the service; what that cannot say is checked here.  Source: the
Amazon Bedrock API reference, "Converse", and messages of the service in public issues.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NoReturn

from infra.local.simulators.bedrock_frames import fault_of_signature, key_id
from infra.local.simulators.replies import RejectedError, Reply, json_reply
from infra.local.simulators.wire import Arrived

ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    405: "UnknownOperationException",
    408: "ModelTimeoutException",
    413: "ValidationException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
TOOL_ID = r"[a-zA-Z0-9_.:-]{1,64}"
TOOL_NAME = r"[a-zA-Z0-9_-]{1,64}"
LABEL = r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}"
DOCUMENT_NAME = r"(?!.*\s\s)[a-zA-Z0-9\s()\[\]-]+"
LEAST_BUDGET = 1024


def error(status: int, message: str, headers: Mapping[str, str] | None = None, *, kind: str | None = None) -> Reply:
    """An error in the service's shape: the name in a header, the words in the body."""
    name = kind or ERRORS.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    told = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return json_reply(status, {"message": message}, {"x-amzn-requestid": "simulated", **told, **(headers or {})})


def reject(message: str) -> NoReturn:
    raise RejectedError(error(400, message))


def authorise(headers: Mapping[str, str], api_key: str) -> None:
    """A bearer key of the service; what else stands there is for `verify`."""
    authorization = headers.get("authorization", "")
    if not authorization:
        raise RejectedError(error(403, "Missing Authentication Token", kind="MissingAuthenticationTokenException"))
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer" and given != api_key:
        raise RejectedError(error(403, "Authentication failed: Please make sure your API Key is valid."))


def verify(arrived: Arrived, api_key: str, aws_keys: Mapping[str, str]) -> None:
    """A bearer key of the service, or a signature that fits the request."""
    authorise(arrived.headers, api_key)
    if arrived.headers["authorization"].lower().startswith("bearer "):
        return
    secret = aws_keys.get(key_id(arrived) or "")
    if secret is None:
        message = "The security token included in the request is invalid."
        raise RejectedError(error(403, message, kind="UnrecognizedClientException"))
    if fault := fault_of_signature(arrived, secret):
        raise RejectedError(error(403, fault, kind="InvalidSignatureException"))


@cache
def _shape() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return (
        ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
        .operation_model("Converse")
        .input_shape
    )


def check(model: str, body: Any) -> dict[str, Any]:
    """The body itself when the API would accept it; raises RejectedError otherwise."""
    from botocore.validate import ParamValidator

    if not isinstance(body, dict):
        raise RejectedError(error(400, "STRING_VALUE cannot be converted to Structure", kind="SerializationException"))
    report = ParamValidator().validate({"modelId": model, **body}, _shape())
    if report.has_errors():
        reject("1 validation error detected: " + " ".join(report.generate_report().split()))
    if not body.get("messages"):
        reject("The messages field is required.")
    for index, block in enumerate(body.get("system", ())):
        if "text" in block and not block["text"].strip():
            reject(
                f"The text field in the SystemContentBlock object at system.{index} is blank. Add text and try again."
            )
    _check_turns(body["messages"])
    _check_inference(body)
    _check_tools(body)
    _check_output(body)
    for name, value in body.get("requestMetadata", {}).items():
        if not name or not re.fullmatch(LABEL, name) or not re.fullmatch(LABEL, value):
            reject("1 validation error detected: Value at 'requestMetadata' failed to satisfy constraint")
    return body


def _check_turns(messages: list[dict[str, Any]]) -> None:
    if messages[0]["role"] != "user":
        reject(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    waiting: list[str] = []
    names: set[str] = set()
    for i, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if i and role == messages[i - 1]["role"]:
            reject(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )
        if not content:
            reject(
                f"The content field in the Message object at messages.{i} is empty. Add a ContentBlock object to "
                "the content field and try again."
            )
        _check_results(content, waiting, f"messages.{i}.content")
        waiting = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        for j, block in enumerate(content):
            _check_block(block, role, f"messages.{i}.content.{j}")
        _check_documents(content, names, i)
    if waiting:
        reject(
            f"Expected toolResult blocks at messages.{len(messages)}.content for the following Ids: "
            f"{', '.join(waiting)}"
        )
    last = messages[-1]
    if last["role"] == "assistant" and last["content"][-1].get("text", "x")[-1:].isspace():
        reject("messages: final assistant content cannot end with trailing whitespace")


def _check_results(content: list[dict[str, Any]], waiting: list[str], where: str) -> None:
    results = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
    if len(results) > len(waiting):
        reject(f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn.")
    missing = [one for one in waiting if one not in results]
    if missing:
        reject(f"Expected toolResult blocks at {where} for the following Ids: {', '.join(missing)}")
    if results and any("toolResult" not in block for block in content[: len(results)]):
        reject(f"{where}: toolResult blocks must come before all other content blocks.")


def _check_block(block: dict[str, Any], role: str, where: str) -> None:
    if "text" in block and not block["text"].strip():
        reject(
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
        )
    if {"image", "document", "audio", "toolResult"} & block.keys() and role != "user":
        reject(f"The ContentBlock object at {where} is only allowed in messages of the role user.")
    if "toolUse" in block and role != "assistant":
        reject(f"The toolUse block at {where} is only allowed in messages of the role assistant.")
    used = block.get("toolUse") or block.get("toolResult") or {}
    if used and not re.fullmatch(TOOL_ID, used["toolUseId"]):
        reject(
            f"1 validation error detected: Value '{used['toolUseId']}' at '{where}.toolUseId' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+"
        )
    if "toolUse" in block and not isinstance(block["toolUse"]["input"], dict):
        reject(
            f"The format of the value at {where}.toolUse.input is invalid. Provide a json object for the field and "
            "try again."
        )
    for index, inner in enumerate(block.get("toolResult", {}).get("content", ())):
        _check_block(inner, "user", f"{where}.toolResult.content.{index}")


def _check_documents(content: list[dict[str, Any]], names: set[str], index: int) -> None:
    documents = [block["document"] for block in _everything(content) if "document" in block]
    if any("document" in block for block in content) and not any("text" in block for block in content):
        reject(f"A text block is required in messages.{index}.content when a document is included.")
    for document in documents:
        if not re.fullmatch(DOCUMENT_NAME, document["name"]):
            reject(
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                "character."
            )
        if document["name"] in names:
            reject("The model returned the following errors: duplicate document names")
        names.add(document["name"])


def _everything(content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in content:
        yield block
        yield from block.get("toolResult", {}).get("content", ())


def _check_inference(body: Mapping[str, Any]) -> None:
    config = body.get("inferenceConfig", {})
    for name in ("temperature", "topP"):
        if not 0 <= config.get(name, 0) <= 1:
            reject(f"1 validation error detected: Value at 'inferenceConfig.{name}' failed to satisfy constraint")
    if not all(stop.strip() for stop in config.get("stopSequences", ())):
        reject("stop_sequences: each stop sequence must contain non-whitespace")
    thinking = body.get("additionalModelRequestFields", {}).get("thinking")
    if thinking is None:
        return
    if thinking["budget_tokens"] < LEAST_BUDGET:
        reject("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if thinking["budget_tokens"] >= config.get("maxTokens", 0):
        reject("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if config.get("temperature", 1) != 1:
        reject("`temperature` may only be set to 1 when thinking is enabled.")
    if {"any", "tool"} & body.get("toolConfig", {}).get("toolChoice", {}).keys():
        reject("Thinking may not be enabled when tool_choice forces tool use.")
    if any("toolUse" in block for message in body["messages"] for block in message["content"]):
        reject("Expected `thinking` or `redacted_thinking`, but found `tool_use`.")


def _check_tools(body: Mapping[str, Any]) -> None:
    config = body.get("toolConfig")
    used = {"toolUse", "toolResult"}
    if config is None:
        if any(used & block.keys() for message in body["messages"] for block in message["content"]):
            reject("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        return
    specs = [tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool]
    for index, spec in enumerate(specs):
        if not re.fullmatch(TOOL_NAME, spec["name"]):
            reject(f"Value '{spec['name']}' at 'toolConfig.tools.{index}.toolSpec.name' failed to satisfy constraint")
        schema = spec["inputSchema"].get("json")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            reject(
                f"The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the "
                "following: object."
            )
    named = config.get("toolChoice", {}).get("tool")
    if named is not None and named["name"] not in [spec["name"] for spec in specs]:
        reject(f"The tool {named['name']} at toolConfig.toolChoice is not among the tools.")


def _check_output(body: Mapping[str, Any]) -> None:
    described = body.get("outputConfig", {}).get("textFormat")
    if described is None:
        return
    try:
        schema = json.loads(described["structure"]["jsonSchema"]["schema"])
    except ValueError:
        reject("outputConfig.textFormat.structure.jsonSchema.schema: not a valid JSON schema")
    for found in _schemas(schema):
        if found.get("type") == "object" and found.get("additionalProperties") is not False and "properties" in found:
            reject(
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
            )


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _schemas(inner)
