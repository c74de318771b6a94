"""Secrets by reference: `env:NAME`, `ssm:/path`, `secretsmanager:id#field`.  Values are cached, never logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import SecretError

TTL = 300.0
"""Seconds a value is kept."""
FRESH = 10.0
"""Seconds in which a value is not read anew, however often it is refused."""
RENEWAL = 1.0
"""Seconds that a call which was refused waits for its secret to be read anew."""


class ReferencedSecrets:
    """See `understudy.ports.Secrets`.

    `environ` is the environment, `client` makes an AWS client by service name; both are given, so that nothing is
    read or built before it is needed.  While AWS cannot be reached, an expired value is used on.
    """

    def __init__(self, environ: Mapping[str, str], client: Callable[[str], Any], clock: Callable[[], float]) -> None:
        self._environ = environ
        self._client = client
        self._clock = clock
        self._cache: dict[str, tuple[float, str]] = {}

    async def value(self, reference: str) -> str:
        scheme, _, name = reference.partition(":")
        if scheme == "env":
            return self._from_environment(name)
        cached = self._cache.get(reference)
        if cached is not None and self._clock() - cached[0] < TTL:
            return cached[1]
        try:
            value = await asyncio.to_thread(self._fetch, scheme, name)
        except SecretError:
            if cached is None:
                raise
            value = cached[1]
        self._cache[reference] = (self._clock(), value)
        return value

    async def renewed(self, reference: str, refused: str) -> bool:
        scheme, _, name = reference.partition(":")
        read_at, value = self._cache.get(reference, (float("-inf"), refused))
        if scheme == "env" or value != refused or self._clock() - read_at < FRESH:
            return value != refused
        # Noted before reading, so that a storm of refusals reads once.
        self._cache[reference] = (self._clock(), value)
        try:
            value = await asyncio.wait_for(asyncio.to_thread(self._fetch, scheme, name), RENEWAL)
        except (SecretError, TimeoutError):
            return False
        self._cache[reference] = (self._clock(), value)
        return value != refused

    def _from_environment(self, name: str) -> str:
        value = self._environ.get(name, "").strip()
        if not value:
            raise SecretError(f"the environment variable {name} is not set")
        return value

    def _fetch(self, scheme: str, name: str) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            value = self._read(scheme, name).strip()
        except ClientError as error:
            raise SecretError(f"secret {scheme}:{name}: {error.response['Error']['Code']}") from error
        except (BotoCoreError, KeyError) as error:
            raise SecretError(f"secret {scheme}:{name} could not be read ({type(error).__name__})") from error
        if not value:
            raise SecretError(f"secret {scheme}:{name} is empty")
        return value

    def _read(self, scheme: str, name: str) -> str:
        if scheme == "ssm":
            return str(self._client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        secret, _, field = name.partition("#")
        found = self._client("secretsmanager").get_secret_value(SecretId=secret)
        return _field(str(found["SecretString"]), field, name)


def _field(secret: str, field: str, name: str) -> str:
    if not field:
        return secret
    try:
        value = json.loads(secret)[field]
    except (ValueError, KeyError, TypeError):
        # Not chained: the error of the JSON parser carries the secret.
        value = None
    if not isinstance(value, str):
        raise SecretError(f"secret secretsmanager:{name} has no such field")
    return value
