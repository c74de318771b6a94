"""Secrets by reference: from the environment, and from AWS as moto plays it."""

from __future__ import annotations

import asyncio
import json
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from understudy.errors import SecretError
from understudy.transport.secrets import FRESH, TTL, ReferencedSecrets

REGION = "us-east-1"
VALUE = "sk-do-not-tell"


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Aws:
    """Clients by service name; `down` points them to a port where nobody listens."""

    def __init__(self) -> None:
        self.down = False
        self.asked = 0
        self._clients: dict[str, Any] = {}
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))

    def __call__(self, service: str) -> Any:
        self.asked += 1
        if not self.down:
            if service not in self._clients:
                self._clients[service] = boto3.client(service, region_name=REGION)
            return self._clients[service]
        endpoint = f"http://127.0.0.1:{self._closed.getsockname()[1]}"
        config = Config(connect_timeout=1, retries={"max_attempts": 0})
        return boto3.client(service, region_name=REGION, endpoint_url=endpoint, config=config)

    def close(self) -> None:
        self._closed.close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        made = Aws()
        yield made
        made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def read(aws: Aws, clock: Clock) -> Callable[[str], str]:
    """The value behind a reference."""
    secrets = ReferencedSecrets({"KEY": f" {VALUE}\n", "EMPTY": " "}, aws, clock)
    return lambda reference: asyncio.run(secrets.value(reference))


Read = Callable[[str], str]


def put_parameter(aws: Aws, value: str, name: str = "/p") -> None:
    aws("ssm").put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    aws.asked = 0


def put_secret(aws: Aws, name: str = "s", **value: Any) -> None:
    aws("secretsmanager").create_secret(Name=name, **value)
    aws.asked = 0


def test_a_secret_in_the_environment(read: Read, aws: Aws) -> None:
    """A variable is read without its surrounding blanks, and without AWS."""
    assert VALUE == read("env:KEY")
    assert 0 == aws.asked


def test_the_environment_is_read_each_time(aws: Aws, clock: Clock) -> None:
    """A variable that changes is seen at once."""
    environ = {"KEY": "old"}
    secrets = ReferencedSecrets(environ, aws, clock)
    assert "old" == asyncio.run(secrets.value("env:KEY"))
    environ["KEY"] = "new"
    assert "new" == asyncio.run(secrets.value("env:KEY"))


def test_a_secret_in_parameter_store(read: Read, aws: Aws) -> None:
    """An encrypted parameter is read in the clear, without its surrounding blanks."""
    put_parameter(aws, f"{VALUE}\n", "/understudy/openai")
    assert VALUE == read("ssm:/understudy/openai")


def test_a_secret_in_secrets_manager(read: Read, aws: Aws) -> None:
    """A reference without a field means the whole secret string, JSON or not."""
    put_secret(aws, "plain", SecretString=f"{VALUE}\n")
    put_secret(aws, "json", SecretString='{"a":"b"}')
    assert [VALUE, '{"a":"b"}'] == [read("secretsmanager:plain"), read("secretsmanager:json")]


def test_a_secret_by_its_arn(read: Read, aws: Aws) -> None:
    """The colons of an ARN are part of the secret's name."""
    arn = aws("secretsmanager").create_secret(Name="x", SecretString=json.dumps({"key": VALUE}))["ARN"]
    assert VALUE == read(f"secretsmanager:{arn}#key")


def test_a_field_of_a_secret(read: Read, aws: Aws) -> None:
    """A field of a JSON secret is read alone."""
    put_secret(aws, SecretString=json.dumps({"openai": VALUE, "other": "x"}))
    assert VALUE == read("secretsmanager:s#openai")


@pytest.mark.parametrize("reference", ["env:MISSING", "env:EMPTY", "ssm:/missing", "secretsmanager:missing#key"])
def test_a_missing_secret_is_named(read: Read, reference: str) -> None:
    """A reference to nothing raises SecretError that names it."""
    with pytest.raises(SecretError) as caught:
        read(reference)
    assert True is (reference.partition(":")[2] in str(caught.value))


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        ({"SecretString": json.dumps({"key": VALUE})}, "#other"),
        ({"SecretString": json.dumps({"key": {"deep": VALUE}})}, "#key"),
        ({"SecretString": json.dumps({"key": None, "x": VALUE})}, "#key"),
        ({"SecretString": json.dumps({"key": "  ", "x": VALUE})}, "#key"),
        ({"SecretString": json.dumps([VALUE])}, "#key"),
        ({"SecretString": json.dumps(VALUE)}, "#key"),
        ({"SecretString": f"{VALUE} is no JSON"}, "#key"),
        ({"SecretString": f'{{"key": "{VALUE}'}, "#key"),
        ({"SecretBinary": VALUE.encode()}, ""),
    ],
    ids=["other field", "object", "null", "blank", "list", "string", "no JSON", "broken JSON", "binary"],
)
def test_an_unusable_secret_is_named_and_not_told(read: Read, aws: Aws, stored: dict[str, Any], field: str) -> None:
    """A secret that holds no usable value raises SecretError that names the reference and never the value."""
    put_secret(aws, **stored)
    with pytest.raises(SecretError) as caught:
        read(f"secretsmanager:s{field}")
    assert True is (f"secretsmanager:s{field}" in str(caught.value))
    told = "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        told += repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    assert False is (VALUE in told)


@pytest.mark.parametrize("reference", ["ssm:/p", "secretsmanager:s#key"])
def test_a_value_is_kept_five_minutes(read: Read, aws: Aws, clock: Clock, reference: str) -> None:
    """A value is asked for once in 300 seconds, and a rotated one is used after that."""
    put_parameter(aws, "old")
    put_secret(aws, SecretString='{"key":"old"}')
    assert 300.0 == TTL
    assert "old" == read(reference)
    put_parameter(aws, "new")
    aws("secretsmanager").put_secret_value(SecretId="s", SecretString='{"key":"new"}')
    aws.asked = 0
    clock.now += TTL - 1
    assert ("old", 0) == (read(reference), aws.asked)
    clock.now += 1
    assert ("new", 1) == (read(reference), aws.asked)


def test_a_failure_is_not_kept(read: Read, aws: Aws) -> None:
    """A secret that was missing is found as soon as it is there."""
    with pytest.raises(SecretError):
        read("ssm:/p")
    put_parameter(aws, VALUE)
    assert VALUE == read("ssm:/p")


def test_references_do_not_touch_each_other(read: Read, aws: Aws) -> None:
    """Two fields of one secret are two values."""
    put_secret(aws, SecretString='{"a":"1","b":"2"}')
    assert ["1", "2", "1"] == [read(f"secretsmanager:s#{field}") for field in ("a", "b", "a")]


@pytest.mark.parametrize("reference", ["ssm:/p", "secretsmanager:s#key"])
def test_an_old_value_is_used_while_aws_is_down(read: Read, aws: Aws, clock: Clock, reference: str) -> None:
    """While AWS cannot be reached an expired value is used on; the new one comes when AWS is back."""
    put_parameter(aws, "old")
    put_secret(aws, SecretString='{"key":"old"}')
    assert "old" == read(reference)
    put_parameter(aws, "new")
    aws("secretsmanager").put_secret_value(SecretId="s", SecretString='{"key":"new"}')
    aws.down = True
    for _ in range(3):
        clock.now += TTL
        assert "old" == read(reference)
    aws.down = False
    clock.now += TTL
    assert "new" == read(reference)


def test_aws_down_without_an_old_value(read: Read, aws: Aws) -> None:
    """Where AWS cannot be reached and nothing is known SecretError names the reference."""
    aws.down = True
    with pytest.raises(SecretError, match="ssm:/p"):
        read("ssm:/p")


def test_nothing_is_built_before_it_is_needed(aws: Aws, clock: Clock) -> None:
    """No AWS client is asked for until a reference needs one."""
    ReferencedSecrets({}, aws, clock)
    assert 0 == aws.asked


def test_a_rotated_secret_is_found_as_soon_as_the_old_one_is_refused(aws: Aws, clock: Clock) -> None:
    """A refusal reads the secret anew, long before its time is over; from then on the new value is given."""
    put_parameter(aws, "old")
    secrets = ReferencedSecrets({}, aws, clock)

    async def rotated() -> tuple[str, bool, str]:
        old = await secrets.value("ssm:/p")
        put_parameter(aws, "new")
        clock.now += FRESH
        return old, await secrets.renewed("ssm:/p", "old"), await secrets.value("ssm:/p")

    assert ("old", True, "new") == asyncio.run(rotated())


def test_a_storm_of_refusals_reads_a_secret_once(aws: Aws, clock: Clock) -> None:
    """While a key stays refused, AWS is asked once in ten seconds, by whichever call is first."""
    put_parameter(aws, "wrong")
    secrets = ReferencedSecrets({}, aws, clock)

    async def stormed() -> tuple[list[bool], int]:
        await secrets.value("ssm:/p")
        clock.now += FRESH
        aws.asked = 0
        return [await secrets.renewed("ssm:/p", "wrong") for _ in range(5)], aws.asked

    assert ([False] * 5, 1) == asyncio.run(stormed())


def test_a_value_that_another_call_has_renewed_is_not_read_again(aws: Aws, clock: Clock) -> None:
    """A call that began with the old value is told at once that there is a new one."""
    put_parameter(aws, "new")
    secrets = ReferencedSecrets({}, aws, clock)

    async def late() -> tuple[bool, int]:
        await secrets.value("ssm:/p")
        aws.asked = 0
        return await secrets.renewed("ssm:/p", "old"), aws.asked

    assert (True, 0) == asyncio.run(late())


def test_a_refused_secret_that_cannot_be_read_anew_stays_refused(aws: Aws, clock: Clock) -> None:
    """AWS being down adds no other error to the provider's refusal."""
    put_parameter(aws, "old")
    secrets = ReferencedSecrets({}, aws, clock)

    async def down() -> bool:
        await secrets.value("ssm:/p")
        clock.now += FRESH
        aws.down = True
        return await secrets.renewed("ssm:/p", "old")

    assert asyncio.run(down()) is False


def test_a_refused_variable_of_the_environment_is_no_news(aws: Aws, clock: Clock) -> None:
    """A variable is never cached, so there is nothing to renew."""
    secrets = ReferencedSecrets({"KEY": "v"}, aws, clock)
    assert asyncio.run(secrets.renewed("env:KEY", "v")) is False
    assert 0 == aws.asked
