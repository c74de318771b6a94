"""The simulated OpenAI provider makes embeddings as the API does."""

import base64
import struct
from collections.abc import Iterator

import httpx
import pytest

from infra.local.simulators import SimulatedProvider


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider("openai")
    provider.start()
    yield provider
    provider.stop()


def post(provider: SimulatedProvider, **fields: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {provider.api_key}"}
    return httpx.post(f"{provider.base_url}/embeddings", json={"model": "m"} | fields, headers=headers, trust_env=False)


def test_the_same_text_has_the_same_vector(provider: SimulatedProvider) -> None:
    """Alone or among others, as numbers or as bytes."""
    alone = post(provider, input="a b").json()
    among = post(provider, input=["c", "a b"], encoding_format="base64").json()
    packed = base64.b64decode(among["data"][1]["embedding"])
    assert alone["data"][0]["embedding"] == pytest.approx(struct.unpack("<8f", packed))
    assert ([0, 1], {"prompt_tokens": 3, "total_tokens": 3}) == (
        [one["index"] for one in among["data"]],
        among["usage"],
    )
    assert 3 == len(post(provider, input=[[1, 2]], dimensions=3).json()["data"][0]["embedding"])


REFUSED = [
    *[{}, {"input": ""}, {"input": []}, {"input": ["a", ""]}, {"input": [None]}],
    *[{"input": "a", "dimensions": 0}, {"input": "a", "encoding_format": "hex"}],
    *[{"input": "a", "zzz": 1}, {"input": "a", "model": ""}],
]


@pytest.mark.parametrize("fields", REFUSED)
def test_what_the_api_refuses_is_refused(provider: SimulatedProvider, fields: dict) -> None:
    """In the provider's own shape."""
    answer = post(provider, **fields)
    assert (400, "invalid_request_error") == (answer.status_code, answer.json()["error"]["type"])


def test_faults_strike_embeddings_too(provider: SimulatedProvider) -> None:
    """A model that is broken makes none."""
    provider.set_fault("m", "http_500", 1)
    assert [500, 200] == [post(provider, input="a").status_code for _ in range(2)]
