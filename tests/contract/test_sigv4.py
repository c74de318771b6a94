"""Signed calls: the signature is the SDK's for the same request, and credentials that expired are read anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from infra.local.simulators.bedrock_frames import fault_of_signature
from infra.local.simulators.wire import Arrived
from tests import builders
from understudy.catalog import SigV4, Target
from understudy.errors import Credential, SecretError
from understudy.services.upstream import Upstream
from understudy.transport.secrets import ReferencedSecrets
from understudy.transport.sigv4 import FRESH, SigV4Signer

HOST = "https://bedrock-runtime.eu-central-1.amazonaws.com"
HEADERS = {"content-type": "application/json"}
MODELS = ["example.large-v1:0", "arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.example.large-v1:0"]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Vault:
    """Finds one set of credentials after another; `looked` counts the times it was made to look again."""

    def __init__(self, *found: Credentials | None) -> None:
        self._found = list(found)
        self.looked = 0

    def credentials(self) -> Any:
        return self._found[0]

    def forget(self) -> None:
        self.looked += 1
        if len(self._found) > 1:
            del self._found[0]

    def signer(self, clock: Callable[[], float] | None = None) -> SigV4Signer:
        return SigV4Signer(self.credentials, self.forget, clock or Clock())


def sign(signer: SigV4Signer, url: str, body: bytes = b"{}") -> Mapping[str, str]:
    return asyncio.run(signer.sign("bedrock", "eu-central-1", url, HEADERS, body))


@pytest.mark.parametrize("token", [None, "a-session-token"])
@pytest.mark.parametrize("model", MODELS)
def test_the_signature_is_the_sdks_own(model: str, token: str | None) -> None:
    """For the request that the SDK sends, at the same second, over the same headers."""
    sent: list[Any] = []
    client = boto3.client(
        "bedrock-runtime",
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )

    def stop(request: Any, **_: Any) -> None:
        sent.append(request)
        raise KeyboardInterrupt

    client.meta.events.register("before-send.bedrock-runtime.Converse", stop)
    signer = Vault(Credentials("AKIDEXAMPLE", "secret", token)).signer()
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "é"}]}])
        request = sent.pop()
        ours = sign(signer, request.url, request.body)
        theirs = {name.lower(): _text(value) for name, value in request.headers.items()}
        if theirs["x-amz-date"] == ours["x-amz-date"]:
            break
    assert {name: theirs[name] for name in ours} == dict(ours)
    names = {"x-amz-date", "authorization"} | ({"x-amz-security-token"} if token else set())
    assert names == set(ours)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_a_signature_covers_body_path_and_headers() -> None:
    """Written anew from the specification it is the same, and another body, path or token is not what was signed."""
    vault = Vault(Credentials("AKIDEXAMPLE", "secret", "token"))
    path, body = "/model/example.large-v1%3A0/converse", b'{"messages":[]}'
    signed = {**HEADERS, "host": HOST.removeprefix("https://"), **sign(vault.signer(), HOST + path, body)}
    good = Arrived("POST", path, signed, body)
    assert None is fault_of_signature(good, "secret")
    others = [
        replace(good, raw=body + b" "),
        replace(good, path="/model/example.large-v1:0/converse"),
        replace(good, method="GET"),
        replace(good, headers={**signed, "x-amz-security-token": "other"}),
        replace(good, headers={**signed, "host": "elsewhere"}),
    ]
    assert [True] * len(others) == ["does not match" in str(fault_of_signature(one, "secret")) for one in others]
    assert "does not match" in str(fault_of_signature(good, "other"))


def test_without_credentials_nothing_is_signed() -> None:
    """None, empty ones, or a source that cannot be asked: said in words, without the library's."""

    def fails() -> Any:
        raise CredentialRetrievalError(provider="container", error_msg="http://169.254.170.2 refused")

    for signer in (Vault(None).signer(), Vault(Credentials("", "")).signer(), SigV4Signer(fails, fails, Clock())):
        with pytest.raises(SecretError, match="AWS credentials") as failed:
            sign(signer, HOST)
        assert "169.254" not in str(failed.value)


def test_credentials_that_refresh_themselves_are_used_as_they_are_now() -> None:
    """A container's or a role's credentials are new ones before the old ones expire."""
    given = iter(["one", "two"])

    def fresh() -> dict[str, str]:
        return {
            "access_key": next(given),
            "secret_key": "secret",
            "token": "t",
            "expiry_time": "2020-01-01T00:00:00Z" if not seen else "2100-01-01T00:00:00Z",
        }

    seen: list[str] = []
    found = RefreshableCredentials("zero", "secret", "t", _long_ago(), fresh, "test")
    signer = SigV4Signer(lambda: found, lambda: None, Clock())
    with pytest.raises(SecretError):
        sign(signer, HOST)
    seen.append("expired")
    assert "Credential=two/" in sign(signer, HOST)["authorization"]


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2020, 1, 1, tzinfo=UTC)


def test_refused_credentials_are_read_anew_but_not_in_a_storm() -> None:
    """Another set is worth a second try, the same set is not, and within ten seconds nobody looks again."""
    old, new = Credentials("OLD", "s", "1"), Credentials("NEW", "s", "2")
    clock, vault = Clock(), Vault(old, new, new)
    signer = vault.signer(clock)
    refused = sign(signer, HOST)
    assert (True, 1) == (asyncio.run(signer.renewed(refused)), vault.looked)
    assert (True, 1) == (asyncio.run(signer.renewed(refused)), vault.looked)
    again = sign(signer, HOST)
    assert "Credential=NEW/" in again["authorization"]
    assert (False, 1) == (asyncio.run(signer.renewed(again)), vault.looked)
    clock.now = FRESH
    assert (False, 2) == (asyncio.run(signer.renewed(again)), vault.looked)


class Answering:
    """A reply; satisfies `understudy.ports.Reply`."""

    def __init__(self, status: int, content: dict[str, object], headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = {"content-type": "application/json", **headers}
        self._content = json.dumps(content).encode()

    async def body(self) -> AsyncIterator[bytes]:
        yield self._content


class Service:
    """Takes one session token and says that any other is expired; `seen` are the headers it was sent."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.seen: list[Mapping[str, str]] = []

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AsyncIterator[Answering]:
        self.seen.append(headers)
        message = {"role": "assistant", "content": [{"text": "hello"}]}
        good: dict[str, object] = {"output": {"message": message}, "stopReason": "end_turn", "usage": {}}
        told = f"The security token {headers['x-amz-security-token']} is expired"
        expired = Answering(403, {"message": told}, {"x-amzn-errortype": "ExpiredTokenException"})
        yield Answering(200, good, {}) if headers["x-amz-security-token"] == self.token else expired


def signed_target() -> Target:
    made = builders.target("lead")
    return replace(
        made,
        provider=replace(made.provider, wire="bedrock", base_url=HOST, sigv4=SigV4("bedrock", "eu-central-1")),
    )


async def asked(service: Service, signer: SigV4Signer | None) -> str:
    secrets = ReferencedSecrets({}, lambda _: None, Clock())
    ask = Upstream(service, secrets, "understudy/test", Clock(), signer=signer)
    return builders.text_of([chunk async for chunk in ask(builders.request(), signed_target(), connect=1)])


def test_a_call_whose_token_expired_is_signed_and_sent_again() -> None:
    """The caller notices nothing, and nothing but the signature's own headers is covered."""
    service, vault = Service("new"), Vault(Credentials("A", "s", "old"), Credentials("B", "s", "new"))
    assert "hello" == asyncio.run(asked(service, vault.signer()))
    assert ["old", "new"] == [headers["x-amz-security-token"] for headers in service.seen]
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in service.seen[0]["authorization"]


def test_a_token_that_stays_expired_is_a_credentials_failure() -> None:
    """Where no other is found the failure is told, without the token that the service repeats."""
    service = Service("new")
    with pytest.raises(Credential) as failed:
        asyncio.run(asked(service, Vault(Credentials("A", "s", "old-token")).signer()))
    assert (1, False) == (len(service.seen), "old-token" in str(failed.value))


@pytest.mark.parametrize("signer", [None, Vault(None).signer()])
def test_a_router_without_credentials_fails_over(signer: SigV4Signer | None) -> None:
    """A call that cannot be signed is not sent; it is a failure of our credential, and another target may answer."""
    service = Service("new")
    with pytest.raises(Credential) as failed:
        asyncio.run(asked(service, signer))
    assert (True, []) == (failed.value.fails_over, service.seen)
