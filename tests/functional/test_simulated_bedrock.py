"""The simulated Bedrock as AWS's own SDK meets it: answers, streams, refusals, signatures and every fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError, HTTPClientError

from infra.local.simulators import FAULTS, SimulatedProvider
from tests.simulated import FILLED, SCHEMA

MODEL = "eu.example.large-v1:0"
ARN = "arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.example.large-v1:0"
USER = {"role": "user", "content": [{"text": "count to 8"}]}
SAID = f"[simulated bedrock provider, model {MODEL}] You said: count to 8 1 2 3 4 5 6 7 8"
TOOLS = {"tools": [{"toolSpec": {"name": "forecast", "inputSchema": {"json": SCHEMA}}}]}
USE = {"toolUse": {"toolUseId": "tooluse_1", "name": "forecast", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "sunny"}]}}
CALLED = {"role": "assistant", "content": [USE]}


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider("bedrock", token_delay=0)
    provider.start()
    yield provider
    provider.stop()


def sdk(
    provider: SimulatedProvider, *, key: str = "simulated", signed_with: str = "simulated", patience: float = 10
) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=patience)
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=provider.base_url,
        region_name="eu-central-1",
        aws_access_key_id=key,
        aws_secret_access_key=signed_with,
        config=config,
    )


@pytest.fixture
def client(provider: SimulatedProvider) -> Any:
    return sdk(provider)


def asked(*messages: dict[str, Any], model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"modelId": model, "messages": list(messages) or [USER], **more}


def streamed(client: Any, **more: Any) -> list[dict[str, Any]]:
    return list(client.converse_stream(**asked(**more))["stream"])


def text_of(events: list[dict[str, Any]]) -> str:
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in deltas)


def test_the_sdk_reads_a_whole_answer_and_the_same_streamed(client: Any) -> None:
    """Text, stop reason and counts are where botocore expects them, and a stream says the same in its order."""
    whole = client.converse(**asked())
    assert ([{"text": SAID}], "end_turn") == (whole["output"]["message"]["content"], whole["stopReason"])
    events = streamed(client)
    assert SAID == text_of(events)
    assert ["messageStart", "contentBlockStop", "messageStop", "metadata"] == [
        name for event in events for name in event if name != "contentBlockDelta"
    ]
    assert whole["usage"] == events[-1]["metadata"]["usage"]


@pytest.mark.parametrize("model", [MODEL, ARN, "global.example.large-v1:0", "example.small-v1"])
def test_any_kind_of_model_id_is_signed_as_the_sdk_signs_it(provider: SimulatedProvider, model: str) -> None:
    """Colons and slashes of a model id are quoted in the path, and the signature covers it so."""
    sdk(provider).converse(**asked(model=model))
    assert (model, 200) == (provider.requests[-1].model, provider.requests[-1].status)


def test_a_tool_is_used_and_its_result_quoted(client: Any) -> None:
    """A mentioned tool is called, its input streams in pieces, and its result is quoted afterwards."""
    said = {"role": "user", "content": [{"text": "use forecast please"}]}
    message = client.converse(**asked(said, toolConfig=TOOLS))
    use = message["output"]["message"]["content"][0]["toolUse"]
    assert ("tool_use", FILLED) == (message["stopReason"], use["input"])
    events = list(client.converse_stream(**asked(said, toolConfig=TOOLS))["stream"])
    pieces = [e["contentBlockDelta"]["delta"]["toolUse"]["input"] for e in events if "contentBlockDelta" in e]
    assert (FILLED, True) == (json.loads("".join(pieces)), len(pieces) >= 3)
    answer = client.converse(**asked(USER, CALLED, {"role": "user", "content": [RESULT]}, toolConfig=TOOLS))
    assert "The tool answered: sunny" in answer["output"]["message"]["content"][0]["text"]


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


DOCUMENT = {"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": b"x"}}}
REFUSALS: list[tuple[dict[str, Any], str]] = [
    (asked(CALLED), "A conversation must start with a user message."),
    (asked(USER, USER), "A conversation must alternate between user and assistant roles."),
    (asked(user({"text": " "})), "The text field in the ContentBlock object at messages.0.content.0 is blank."),
    (asked(user()), "The content field in the Message object at messages.0 is empty."),
    (asked(USER, CALLED, user(RESULT)), "The toolConfig field must be defined when using toolUse and toolResult"),
    (asked(USER, CALLED, USER, toolConfig=TOOLS), "Expected toolResult blocks at messages.2.content for the following"),
    (asked(USER, CALLED, toolConfig=TOOLS), "Expected toolResult blocks at messages.2.content for the following Ids"),
    (asked(user(RESULT), toolConfig=TOOLS), "The number of toolResult blocks at messages.0.content exceeds"),
    (asked(USER, CALLED, user({"text": "x"}, RESULT), toolConfig=TOOLS), "messages.2.content: toolResult blocks must"),
    (asked(user({"text": "x"}, DOCUMENT)), "The document file name can only contain alphanumeric characters"),
    (asked(USER, toolConfig={**TOOLS, "toolChoice": {"tool": {"name": "g"}}}), "The tool g at toolConfig.toolChoice"),
    (asked(USER, inferenceConfig={"stopSequences": [" "]}), "stop_sequences: each stop sequence must contain"),
    (asked(USER, system=[{"text": " "}]), "The text field in the SystemContentBlock object at system.0 is blank."),
]


@pytest.mark.parametrize(("body", "begins"), REFUSALS)
def test_what_converse_refuses_is_a_validation_exception(client: Any, body: dict[str, Any], begins: str) -> None:
    """A request that the real API refuses is the SDK's own exception, streamed or not, in the service's words."""
    for ask in (client.converse, client.converse_stream):
        with pytest.raises(client.exceptions.ValidationException) as refused:
            ask(**body)
        assert begins == refused.value.response["Error"]["Message"][: len(begins)]


def test_a_shape_that_the_sdk_would_not_send_is_refused_too(provider: SimulatedProvider) -> None:
    """Unknown fields, wrong types and what is no object are refused by the service, whoever sends them."""
    url = f"{provider.base_url}/model/m/converse"
    headers = {"authorization": "Bearer simulated"}
    bodies: list[Any] = [[], {}, {"messages": []}, {"messages": [USER], "n": 1}, {"messages": [{"role": "user"}]}]
    answers = [httpx.post(url, json=body, headers=headers) for body in bodies]
    assert [400] * 5 == [answer.status_code for answer in answers]
    assert {"SerializationException", "ValidationException"} == {
        answer.headers["x-amzn-errortype"].partition(":")[0] for answer in answers
    }


def refused_with(call: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call(**asked())
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_wrong_signature_is_told_from_an_unknown_key(provider: SimulatedProvider) -> None:
    """The secret is checked for real: a wrong one is a wrong signature, an unknown key an unknown client."""
    wrong, unknown = sdk(provider, signed_with="wrong"), sdk(provider, key="AKIDUNKNOWN")
    assert (403, "InvalidSignatureException") == refused_with(wrong.converse)
    assert (403, "UnrecognizedClientException") == refused_with(unknown.converse_stream)
    bare = httpx.post(f"{provider.base_url}/model/m/converse", json={"messages": [USER]})
    assert (403, "MissingAuthenticationTokenException") == (
        bare.status_code,
        bare.headers["x-amzn-errortype"].partition(":")[0],
    )


def test_an_api_key_of_the_service_is_taken_as_well(provider: SimulatedProvider) -> None:
    """`Authorization: Bearer` works beside signatures, with the right key only."""
    url = f"{provider.base_url}/model/m/converse"
    keys = [("Bearer simulated", 200), ("Bearer other", 403)]
    assert [status for _, status in keys] == [
        httpx.post(url, json={"messages": [USER]}, headers={"authorization": key}).status_code for key, _ in keys
    ]


def test_a_schema_is_filled_and_must_be_closed(client: Any) -> None:
    """The answer fits the schema; objects that are left open are refused."""
    closed = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    schemas = [json.dumps({**closed, "additionalProperties": False}), json.dumps(closed)]
    bodies = [
        asked(outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}})
        for schema in schemas
    ]
    answer = client.converse(**bodies[0])["output"]["message"]["content"][0]["text"]
    assert {"a": 1} == json.loads(answer)
    with pytest.raises(client.exceptions.ValidationException, match="additionalProperties"):
        client.converse(**bodies[1])


STATUS = [
    ("http_500", 500, "InternalServerException"),
    ("http_503", 503, "ServiceUnavailableException"),
    ("http_529", 429, "ModelNotReadyException"),
    ("http_429", 429, "ThrottlingException"),
    ("retry_after", 429, "ThrottlingException"),
    ("http_429_bare", 429, "ThrottlingException"),
    ("quota", 400, "ServiceQuotaExceededException"),
    ("http_401", 403, "UnrecognizedClientException"),
    ("context_length", 400, "ValidationException"),
    ("model_not_found", 400, "ValidationException"),
]


@pytest.mark.parametrize(("fault", "status", "code"), STATUS)
def test_a_status_fault_is_the_sdks_own_exception(
    client: Any, provider: SimulatedProvider, fault: str, status: int, code: str
) -> None:
    """Status and exception are the service's, streamed or not."""
    provider.set_fault(MODEL, fault)
    assert [(status, code)] * 2 == [refused_with(client.converse), refused_with(client.converse_stream)]


@pytest.mark.parametrize("fault", ["error_first_event", "error_midstream"])
def test_an_exception_in_the_stream_is_one_in_the_sdk(client: Any, provider: SimulatedProvider, fault: str) -> None:
    """An exception's frame is raised by the SDK, at the beginning or after half of the words."""
    provider.set_fault(MODEL, fault)
    events: list[dict[str, Any]] = []
    with pytest.raises(EventStreamError, match="serviceUnavailableException"):
        events.extend(client.converse_stream(**asked())["stream"])
    said = text_of(events)
    assert (fault == "error_midstream", said) == (bool(said), SAID[: len(said)])


@pytest.mark.parametrize("fault", ["cut_midstream", "stall_midstream", "hang", "reset"])
def test_a_broken_connection_is_broken_for_the_sdk(provider: SimulatedProvider, fault: str) -> None:
    """Half of the frames and no more, or none at all."""
    provider.set_fault(MODEL, fault)
    with pytest.raises((HTTPClientError, urllib3.exceptions.HTTPError)):
        streamed(sdk(provider, patience=0.5))


@pytest.mark.parametrize("fault", ["end_midstream", "truncated_json"])
def test_a_stream_that_ends_early_ends_without_a_stop_reason(
    client: Any, provider: SimulatedProvider, fault: str
) -> None:
    """At the edge of a frame or in its middle: the SDK says nothing, and the stop reason is what is missing."""
    provider.set_fault(MODEL, fault)
    events = streamed(client)
    assert (True, []) == (0 < len(text_of(events)) < len(SAID), [event for event in events if "messageStop" in event])


def test_a_stream_without_its_last_event_has_no_counts(client: Any, provider: SimulatedProvider) -> None:
    """The stop reason is there, the metadata behind it is not."""
    provider.set_fault(MODEL, "missing_done")
    assert "messageStop" in streamed(client)[-1]


def test_a_refusal_is_a_stop_reason(client: Any, provider: SimulatedProvider) -> None:
    """The content filter stops the answer; it is no exception."""
    provider.set_fault(MODEL, "refuse_content")
    assert "content_filtered" == client.converse(**asked())["stopReason"]


def test_models_are_listed_and_other_paths_are_not(provider: SimulatedProvider) -> None:
    """There are three paths, each with its method."""
    headers = {"authorization": "Bearer simulated"}
    listed = httpx.get(f"{provider.base_url}/foundation-models", headers=headers).json()
    assert ["simulated-large", "simulated-small"] == [one["modelId"] for one in listed["modelSummaries"]]
    assert [404, 405] == [
        httpx.post(f"{provider.base_url}/model/m/invoke", headers=headers).status_code,
        httpx.get(f"{provider.base_url}/model/m/converse", headers=headers).status_code,
    ]


def test_every_fault_can_strike(provider: SimulatedProvider) -> None:
    """No fault of the table is unknown to this wire."""
    body = {"messages": [USER]}
    for fault in FAULTS:
        provider.set_fault("m", fault)
        for path in ("converse", "converse-stream"):
            raw = json.dumps(body).encode()
            _, reply = provider.respond("POST", f"/model/m/{path}", {"authorization": "Bearer simulated"}, raw)
            assert 200 <= reply.status < 600
