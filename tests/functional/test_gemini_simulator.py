"""The simulated provider of the Gemini wire: the real SDK's client talks to it, and it is as strict as the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from infra.local.simulators import SimulatedProvider
from tests.simulated import FILLED, SCHEMA

SAYS = "[simulated gemini provider, model m] You said: "
USER = {"role": "user", "parts": [{"text": "hi"}]}
SIGNED = {"thoughtSignature": "skip_thought_signature_validator"}


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider("gemini", token_delay=0)
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def client(provider: SimulatedProvider) -> Iterator[genai.Client]:
    yield sdk(provider)


def sdk(provider: SimulatedProvider, key: str = "simulated") -> genai.Client:
    options = types.HttpOptions(
        base_url=f"http://127.0.0.1:{provider.port}", retry_options=types.HttpRetryOptions(attempts=1)
    )
    return genai.Client(api_key=key, http_options=options)


def post(provider: SimulatedProvider, body: Any, method: str = "generateContent", **headers: str) -> httpx.Response:
    url = f"{provider.base_url}/models/m:{method}"
    return httpx.post(url, json=body, headers={"x-goog-api-key": "simulated", **headers}, trust_env=False, timeout=5)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.text.endswith("\r\n\r\n")
    return [json.loads(event.removeprefix("data: ")) for event in response.text.split("\r\n\r\n")[:-1]]


def config(**fields: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**fields)


def test_the_sdk_reads_an_answer_whole_and_streamed(client: genai.Client) -> None:
    """Text, stop reason, counts, model and id are where the SDK looks for them, and a stream says the same."""
    whole = client.models.generate_content(model="m", contents="count to 3")
    assert SAYS + "count to 3 1 2 3" == whole.text
    assert whole.candidates and whole.usage_metadata
    assert ("STOP", 3, "m") == (
        whole.candidates[0].finish_reason,
        whole.usage_metadata.prompt_token_count,
        whole.model_version,
    )
    pieces = list(client.models.generate_content_stream(model="m", contents="count to 3"))
    assert whole.text == "".join(piece.text or "" for piece in pieces)
    assert {whole.response_id} == {piece.response_id for piece in pieces}
    assert whole.usage_metadata == pieces[-1].usage_metadata


def test_events_end_in_carriage_returns_and_parse_as_the_sdks_type(provider: SimulatedProvider) -> None:
    """Every event of a stream is a whole answer object to the SDK's types."""
    body = {"contents": [USER], "generationConfig": {"thinkingConfig": {"includeThoughts": True}, "candidateCount": 2}}
    received = events(post(provider, body, "streamGenerateContent?alt=sse"))
    parsed = [types.GenerateContentResponse.model_validate(event) for event in received]
    said = [(one.index, part) for event in parsed for one in event.candidates or [] for part in one.content.parts or []]
    assert [True, False] == sorted({bool(part.thought) for _, part in said}, reverse=True)
    texts = ["".join(part.text for index, part in said if index == place and not part.thought) for place in (0, 1)]
    assert [SAYS + "hi"] * 2 == texts
    assert {0: "STOP", 1: "STOP"} == {one.index: one.finish_reason for one in parsed[-1].candidates or []}
    assert parsed[-1].usage_metadata and parsed[-1].usage_metadata.thoughts_token_count


def test_the_sdk_calls_a_function_and_goes_on(client: genai.Client, provider: SimulatedProvider) -> None:
    """Call, result and signature go round, and the signature is required: the same without it is refused."""

    def forecast(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    chat = client.chats.create(model="m", config=config(tools=[forecast]))
    expected = '[simulated gemini provider, model m] The tool answered: {"result": "sunny in simulated city"}'
    assert expected == chat.send_message("use forecast please").text
    assert expected == chat.send_message("use forecast again").text
    body = provider.requests[-1].body
    assert 200 == post(provider, body).status_code
    stripped = json.loads(json.dumps(body).replace("thoughtSignature", "thought_signature"))
    assert 200 == post(provider, stripped).status_code
    for content in body["contents"]:
        for part in content["parts"]:
            part.pop("thoughtSignature", None)
            part.pop("thought_signature", None)
    refused = post(provider, body).json()["error"]
    assert "Function call is missing a thought_signature" == refused["message"][:44]


def test_the_sdk_is_given_json_log_probabilities_and_vectors(client: genai.Client) -> None:
    """Structured output fills the schema, tokens have probabilities, texts have vectors of the wanted size."""
    asked = config(response_mime_type="application/json", response_json_schema=SCHEMA)
    assert FILLED == json.loads(client.models.generate_content(model="m", contents="x", config=asked).text or "")
    asked = config(response_logprobs=True, logprobs=2)
    answer = client.models.generate_content(model="m", contents="x", config=asked)
    result = answer.candidates[0].logprobs_result if answer.candidates else None
    assert result and result.chosen_candidates and result.top_candidates
    assert answer.text == "".join(one.token or "" for one in result.chosen_candidates)
    assert {2} == {len(one.candidates or []) for one in result.top_candidates}
    wanted = types.EmbedContentConfig(output_dimensionality=5)
    vectors = client.models.embed_content(model="e", contents=["a", "b", "a"], config=wanted).embeddings or []
    assert [5, 5, 5] == [len(one.values or []) for one in vectors]
    assert (True, False) == (vectors[0] == vectors[2], vectors[0] == vectors[1])


def test_the_sdk_lists_models(client: genai.Client) -> None:
    """The list names what the provider was given."""
    assert ["models/simulated-large", "models/simulated-small"] == [one.name for one in client.models.list()]


def test_a_wrong_key_and_none(provider: SimulatedProvider) -> None:
    """A wrong key is an invalid argument with its reason, no key is no permission; the SDK raises both."""
    wrong = sdk(provider, "wrong")
    with pytest.raises(errors.ClientError) as caught:
        wrong.models.generate_content(model="m", contents="x")
    assert (400, "INVALID_ARGUMENT") == (caught.value.code, caught.value.status)
    answer = post(provider, {"contents": [USER]}, **{"x-goog-api-key": "wrong"}).json()["error"]
    assert "API_KEY_INVALID" == answer["details"][0]["reason"]
    assert 403 == post(provider, {"contents": [USER]}, **{"x-goog-api-key": ""}).status_code


def called(*names: str, **more: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"functionCall": {"name": name, "args": {}}} for name in names]
    return {"role": "model", "parts": [parts[0] | more, *parts[1:]]}


def brought(*names: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {}}} for name in names]}


def parts(*given: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(given)}]}


def generation(**fields: Any) -> dict[str, Any]:
    return {"contents": [USER], "generationConfig": fields}


F = {"functionDeclarations": [{"name": "f"}]}
COUNT = "Please ensure that the number of function response parts is equal to the number of function call parts"
REFUSALS: list[tuple[Any, str]] = [
    ([], "Invalid JSON payload received."),
    ({}, "* GenerateContentRequest.contents: contents is not specified"),
    ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
    ({"contents": [USER], "foo": 1}, 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
    (generation(stop=["x"]), "Invalid JSON payload received. Unknown name \"stop\" at 'generation_config'"),
    ({"contents": [{**USER, "name": "x"}]}, "Invalid JSON payload received. Unknown name \"name\" at 'contents[0]'"),
    ({"contents": [{**USER, "role": "assistant"}]}, "Please use a valid role: user, model."),
    ({"contents": [{"role": "user", "parts": []}]}, "* GenerateContentRequest.contents[0].parts: contents.parts must"),
    (parts({"text": ""}), "* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data'"),
    (parts({"text": "a", "inlineData": {}}), "Invalid value at 'contents[0].parts[0]' (oneof)"),
    (parts({"inlineData": {"data": "AA=="}}), "* GenerateContentRequest.contents[0].parts[0].inline_data.mime_type"),
    (parts({"inlineData": {"mimeType": "image/png", "data": "!"}}), "Invalid value at 'contents[0].parts[0].inline_"),
    (generation(stopSequences=list("abcdef")), "the number of stop_sequences must not exceed 5"),
    (generation(stopSequences=[""]), "* GenerateContentRequest.generation_config.stop_sequences"),
    (generation(temperature=2.5), "* GenerateContentRequest.generation_config.temperature"),
    (generation(maxOutputTokens="5"), "Invalid value at 'generation_config.maxOutputTokens'"),
    (generation(candidateCount=9), "Only one to eight candidates can be specified"),
    (generation(logprobs=2), "Logprobs must be in the range [0, 20] and can only be set if response_logprobs is true"),
    (generation(responseJsonSchema={}), "response_schema is only supported with response_mime_type"),
    (generation(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 1}), "You can only set only one of thinking"),
    ({"contents": [USER], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "Function calling config is set"),
    (
        {"contents": [USER], "tools": [{"functionDeclarations": [{"name": "1st"}]}]},
        "* GenerateContentRequest.tools[0].",
    ),
    (
        {
            "contents": [USER],
            "tools": [F],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
        },
        "allowed_function_names should only be set when",
    ),
    (
        {"contents": [called("f", **SIGNED)]},
        "Please ensure that function call turn comes immediately after a user turn",
    ),
    ({"contents": [USER, brought("f")]}, "Please ensure that function response turn comes immediately after"),
    ({"contents": [USER, called("f", "g", **SIGNED), brought("f")]}, COUNT),
    ({"contents": [USER, called("f", **SIGNED), USER]}, COUNT),
    ({"contents": [USER, called("f"), brought("f")]}, "Function call is missing a thought_signature in functionCall"),
    ({"contents": [USER, called("f", thoughtSignature="c2ln"), brought("f")]}, "Corrupted thought signature."),
    (
        {"contents": [USER, {"role": "model", "parts": [{"functionCall": {"name": "f", "args": []}}]}]},
        "Invalid value at 'contents[1].parts[0].function_call.args'",
    ),
]


@pytest.mark.parametrize(("body", "begins"), REFUSALS)
def test_what_the_api_refuses_is_refused_in_its_words(provider: SimulatedProvider, body: Any, begins: str) -> None:
    """A request that the real API refuses gets HTTP 400 INVALID_ARGUMENT in Google's error shape."""
    response = post(provider, body)
    error = response.json()["error"]
    assert (400, 400, "INVALID_ARGUMENT", begins) == (
        *(response.status_code, error["code"]),
        *(error["status"], error["message"][: len(begins)]),
    )


def test_only_the_current_turn_needs_signatures(provider: SimulatedProvider) -> None:
    """Calls of earlier turns, and all but the first of a step, are taken without one."""
    step = [called("f", "g", **SIGNED), brought("f", "g")]
    earlier = [called("f"), brought("f"), {"role": "model", "parts": [{"text": "done"}]}]
    assert 200 == post(provider, {"contents": [USER, *earlier, USER, *step]}).status_code


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        ({"requests": []}, "* BatchEmbedContentsRequest.requests: at most 100"),
        ({"requests": [{"model": "models/x", "content": parts()}]}, "* BatchEmbedContentsRequest.requests[0].model"),
        ({"requests": [{"model": "models/m", "content": {"parts": []}}]}, "* EmbedContentRequest.content: content is"),
        ({"requests": [{"model": "models/m", "input": "a"}]}, "Invalid JSON payload received. Unknown name"),
    ],
)
def test_embeddings_are_checked_too(provider: SimulatedProvider, body: Any, begins: str) -> None:
    """An empty batch, another model, an empty text and unknown fields are refused."""
    response = post(provider, body, "batchEmbedContents")
    assert (400, begins) == (response.status_code, response.json()["error"]["message"][: len(begins)])


def test_paths_and_methods(provider: SimulatedProvider) -> None:
    """Another path is not found, another method not allowed; both in Google's shape."""
    answers = [
        post(provider, {}, "nothing"),
        httpx.get(f"{provider.base_url}/models/m:generateContent", trust_env=False),
    ]
    assert [(404, "NOT_FOUND"), (405, "INVALID_ARGUMENT")] == [
        (one.status_code, one.json()["error"]["status"]) for one in answers
    ]


def test_the_log_knows_model_and_mode_from_the_path(provider: SimulatedProvider) -> None:
    """A fault of one model strikes it, and the log says what was asked of whom."""
    provider.set_fault("m", "http_503", times=1)
    assert [503, 200] == [
        post(provider, {"contents": [USER]}, "streamGenerateContent?alt=sse").status_code for _ in "ab"
    ]
    seen = provider.requests[0]
    assert ("m", True, "http_503") == (seen.model, seen.stream, seen.fault)
    assert "simulated" not in json.dumps(dict(seen.headers))
