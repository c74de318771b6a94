"""What is said where a provider or a target asks for something that its protocol does not have."""

from __future__ import annotations

import pytest

from tests.unit.control.documents import changed, problems
from understudy.control.checks import WrongError, aws_region, aws_service, request_field
from understudy.control.document import parse, warnings

OPENAI = "wire: openai\n    base_url: https://alpha.example/v1"
BEDROCK = "wire: bedrock\n    base_url: https://bedrock-runtime.eu-central-1.amazonaws.com"
SIGNED = "sigv4: {service: bedrock, region: eu-central-1}"
KEYED = "auth: {header: Authorization, scheme: Bearer, secret: env:A}"


def written(text: str, provider: str, can: str = "") -> str:
    """The small document with another provider and, where given, capabilities of its first target."""
    text = changed(text, OPENAI, provider)
    return changed(text, "model: big}", f"model: big, capabilities: {{{can}}}}}") if can else text


PROVIDERS = {
    "a key beside the signature": (
        f"{BEDROCK}\n    {KEYED}\n    {SIGNED}",
        "providers.alpha.sigv4 (line 7, column 5): a call has one credential, and `auth` gives another one. "
        "Fix: remove `sigv4` or `auth`.",
    ),
    "a signature for another region": (
        f"{BEDROCK}\n    sigv4: {{service: bedrock, region: us-east-1}}",
        "providers.alpha.sigv4.region (line 6, column 31): the signature is for us-east-1, the address is in "
        "eu-central-1. Fix: write `region: eu-central-1`, or correct `base_url`.",
    ),
    "a signature's own header": (
        f"{BEDROCK}\n    {SIGNED}\n    headers: {{X-Amz-Date: '1'}}",
        "providers.alpha.headers.X-Amz-Date (line 7, column 15): the header `X-Amz-Date` is set by the signature. "
        "Fix: remove it.",
    ),
    "no region of AWS": (
        f"{BEDROCK}\n    sigv4: {{service: bedrock, region: Frankfurt}}",
        "providers.alpha.sigv4.region (line 6, column 31): `Frankfurt` is not a region of AWS. "
        "Fix: write its code, for example `eu-central-1`.",
    ),
    "no service of AWS": (
        f"{BEDROCK}\n    sigv4: {{service: Amazon Bedrock, region: eu-central-1}}",
        "providers.alpha.sigv4.service (line 6, column 13): `Amazon Bedrock` is not the name of an AWS service. "
        "Fix: write for example `bedrock`.",
    ),
    "a signature without its region": (
        f"{BEDROCK}\n    sigv4: {{service: bedrock}}",
        "providers.alpha.sigv4.region (line 6, column 5): is missing. Fix: write `region: eu-central-1`.",
    ),
    "a field renamed to itself": (
        f"{OPENAI}\n    rename: {{seed: seed}}",
        "providers.alpha.rename.seed (line 6, column 14): `seed` is its name already. Fix: remove it.",
    ),
    "two fields of one name": (
        f"{OPENAI}\n    rename: {{max_completion_tokens: limit, max_tokens: limit}}",
        "providers.alpha.rename.max_tokens (line 6, column 44): `max_completion_tokens` becomes `limit` too. "
        "Fix: keep one of them, and name the other under `refuses`.",
    ),
    "a field renamed twice": (
        f"{OPENAI}\n    rename: {{max_completion_tokens: max_tokens, max_tokens: limit}}",
        "providers.alpha.rename.max_completion_tokens (line 6, column 14): `max_tokens` is renamed itself. "
        "Fix: name what the server calls it.",
    ),
    "names that are translated": (
        f"{BEDROCK}\n    {SIGNED}\n    rename: {{seed: random_seed}}",
        "providers.alpha.rename (line 7, column 5): it has no effect: fields are translated into the protocol "
        "`bedrock` one by one. Fix: remove it.",
    ),
    "a field that every request has": (
        f"{OPENAI}\n    rename: {{model: engine}}",
        "providers.alpha.rename.model (line 6, column 14): every request has `model`, under this name. Fix: remove it.",
    ),
}


@pytest.mark.parametrize(("provider", "expected"), PROVIDERS.values(), ids=PROVIDERS.keys())
def test_mistakes_of_providers_are_told(text: str, provider: str, expected: str) -> None:
    """Each is told in these very words, and brings no second problem with it."""
    assert [expected] == problems(written(text, provider))


PLACE = "targets.lead.capabilities.{} (line {}, column 54): "
CAPABILITIES = {
    "responses elsewhere": (
        "wire: anthropic\n    base_url: https://a.example",
        "responses: true",
        PLACE.format("responses", 7) + "the Responses API is spoken on the wire `openai` only, not on `anthropic`. "
        "Fix: remove it; such requests are translated.",
    ),
    "embeddings elsewhere": (
        f"{BEDROCK}\n    {SIGNED}",
        "embeddings: true",
        PLACE.format("embeddings", 8) + "the wire `bedrock` has no embeddings. "
        "Fix: remove it, or name a provider on another wire.",
    ),
    "an effort that is one already": (
        OPENAI,
        "reasoning_control: effort",
        PLACE.format("reasoning_control", 7) + "it has no effect on the wire `openai`, which has `reasoning_effort` "
        "itself. Fix: remove it.",
    ),
    "a mark that the wire does not have": (
        "wire: gemini\n    base_url: https://g.example/v1beta",
        "prefill: continue_final_message",
        PLACE.format("prefill", 7) + "`continue_final_message` does not exist on the wire `gemini`. "
        "Fix: write `message`, or `none`.",
    ),
    "probabilities elsewhere": (
        f"{BEDROCK}\n    {SIGNED}",
        "logprobs: true",
        PLACE.format("logprobs", 8) + "the wire `bedrock` has no probabilities of tokens. "
        "Fix: remove it; first words are watched all the same.",
    ),
    "probabilities that are refused": (
        OPENAI,
        "logprobs: true, refuses: [logprobs]",
        PLACE.format("logprobs", 7) + "`refuses` names `logprobs` too. Fix: remove one of them.",
    ),
    "nothing at all": (
        OPENAI,
        "chat: false",
        PLACE.format("chat", 7) + "the target answers nothing at all. "
        "Fix: write `embeddings: true` for a model that makes them, or remove `chat: false`.",
    ),
    "a field that nobody refuses": (
        OPENAI,
        "refuses: [messages]",
        "targets.lead.capabilities.refuses[0] (line 7, column 64): every request has `messages`, under this name. "
        "Fix: remove it.",
    ),
}


@pytest.mark.parametrize(("provider", "can", "expected"), CAPABILITIES.values(), ids=CAPABILITIES.keys())
def test_capabilities_that_a_protocol_lacks_are_told(text: str, provider: str, can: str, expected: str) -> None:
    """A capability without effect is a mistake, not a silence."""
    assert [expected] == problems(written(text, provider, can))


@pytest.mark.parametrize(
    ("provider", "can"),
    [
        (OPENAI, "responses: true, embeddings: true, prefill: prefix"),
        ("wire: anthropic\n    base_url: https://a.example", "reasoning_control: budget, prefill: message"),
        ("wire: gemini\n    base_url: https://g.example/v1beta", "embeddings: true, reasoning_control: effort"),
        (f"{BEDROCK}\n    {SIGNED}", "reasoning_control: budget, image_urls: false, refuses: [top_p]"),
        (f"{BEDROCK}\n    {KEYED}", "chat: true"),
        (f"{OPENAI}\n    sigv4: {{service: execute-api, region: us-gov-west-1}}", "chat: false, embeddings: true"),
        (
            f"{OPENAI}\n    rename: {{max_completion_tokens: max_tokens, seed: random_seed}}",
            "refuses: [n, n, logprobs]",
        ),
    ],
)
def test_what_a_protocol_has_may_be_declared(text: str, provider: str, can: str) -> None:
    """Each protocol's own ways are accepted, and every wire may be signed."""
    parse(written(text, provider, can))


def test_a_route_without_a_stand_in_is_odd(text: str) -> None:
    """Targets that share neither chat nor embeddings are a warning; a target that does both shares with all."""
    apart = written(text, OPENAI, "chat: false, embeddings: true")
    expected = "The targets of the route `chat` cannot stand in for each other: `lead` embeddings; `second` chat."
    assert [expected] == warnings(parse(apart))
    assert [] == warnings(parse(changed(apart, "chat: false, ", "")))


def test_embeddings_of_two_models_are_odd(text: str) -> None:
    """A failover between models that embed would mix vectors that mean nothing to each other."""
    two = changed(text, "model: big}", "model: big, capabilities: {embeddings: true}}")
    two = changed(two, "model: small}", "model: small, capabilities: {embeddings: true}}")
    expected = "The route `chat` makes embeddings with `big`, `small`: vectors of two models cannot be compared."
    assert [expected] == warnings(parse(two))
    assert [] == warnings(parse(changed(two, "model: small", "model: big")))


def test_an_unsigned_provider_of_aws_is_odd(text: str) -> None:
    """A `bedrock` provider without any credential is a warning, unless it is on this machine."""
    expected = "The provider `alpha` has neither `sigv4` nor `auth`: its calls are not signed."
    assert [expected] == warnings(parse(written(text, BEDROCK)))
    assert [] == warnings(parse(written(text, "wire: bedrock\n    base_url: http://127.0.0.1:9")))


def test_a_document_of_an_earlier_version_is_looked_at() -> None:
    """A canonical form that was stored before a field existed is warned about, not stumbled over."""
    old = {
        "providers": {"a": {"wire": "openai", "base_url": "https://a.example", "auth": None}},
        "targets": {"t": {"provider": "a", "model": "m", "capabilities": {"tools": True}, "data": {}}},
        "routes": {"r": {"targets": [{"target": "t"}], "constraints": {}}},
    }
    assert [] == warnings(old)


@pytest.mark.parametrize(
    "region", ["eu-central-1", "us-gov-west-1", "ap-southeast-5", "cn-north-1", "us-isob-east-1", "eusc-de-east-1"]
)
def test_regions_of_every_partition_are_known_by_their_form(region: str) -> None:
    """Commercial, government, Chinese, isolated and sovereign regions are written alike."""
    assert region == aws_region(region)


@pytest.mark.parametrize(
    "value", ["", "eu", "EU-central-1", "eu_central_1", "eu-central-1a", "eu-central-1.evil", "x" * 99]
)
def test_other_words_are_no_regions(value: str) -> None:
    """What would make a signature that AWS refuses is refused before."""
    with pytest.raises(WrongError):
        aws_region(value)


@pytest.mark.parametrize(
    ("check", "value"), [(aws_service, "Bedrock"), (request_field, "Seed"), (request_field, "a-b")]
)
def test_names_have_their_form(check: object, value: str) -> None:
    """Services and fields are written in small letters."""
    with pytest.raises(WrongError):
        check(value)  # type: ignore[operator]
