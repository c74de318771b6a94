"""Signature Version 4 with the router's own AWS credentials.

Source: the AWS Identity and Access Management user guide, "AWS Signature Version 4 for API requests".  botocore signs;
it is imported with the first call.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import SecretError

FRESH = 10.0
"""Seconds in which credentials are not read anew, however often they are refused."""
RENEWAL = 2.0
"""Seconds that a call which was refused waits for credentials to be read anew."""
_KEY_ID = re.compile(r"Credential=([^/]+)/")


class SigV4Signer:
    """See `understudy.ports.Signer`.

    `credentials` gives the process's own credentials as botocore found them, or None; `forget` makes it look for them
    again.  Both are given, so that nothing is read before it is needed.
    """

    def __init__(
        self, credentials: Callable[[], Any], forget: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._forget = forget
        self._clock = clock
        self._read_at = float("-inf")

    async def sign(
        self, service: str, region: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        # Finding and refreshing credentials may ask files, containers and instances; the first call imports botocore.
        return await asyncio.to_thread(lambda: signature(self._frozen(), service, region, url, headers, body))

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        used = _identity(refused)
        if await self._current() != used:
            return True
        if self._clock() - self._read_at < FRESH:
            return False
        # Noted before reading, so that a storm of refusals reads once.
        self._read_at = self._clock()
        self._forget()
        return await self._current() not in (used, None)

    async def _current(self) -> tuple[str, str] | None:
        """Key id and session token as they are now; None where there are none."""
        try:
            frozen = await asyncio.wait_for(asyncio.to_thread(self._frozen), RENEWAL)
        except (SecretError, TimeoutError):
            return None
        return frozen.access_key, frozen.token or ""

    def _frozen(self) -> Any:
        try:
            found = self._credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except Exception as error:
            # Whatever the source of the credentials raises: the SDK's errors are of no one kind here.
            raise SecretError(f"the router's AWS credentials could not be read ({type(error).__name__})") from error
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise SecretError("the router has no AWS credentials to sign with")
        return frozen


def signature(
    credentials: Any, service: str, region: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """The headers that sign a POST of `body`, lower-case names; `headers` are covered beside the host and the date."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest("POST", url, headers=dict(headers), data=body)
    SigV4Auth(credentials, service, region).add_auth(request)
    added = {name.lower(): str(value) for name, value in request.headers.items()}
    return {name: value for name, value in added.items() if name not in headers}


def _identity(signed: Mapping[str, str]) -> tuple[str, str]:
    match = _KEY_ID.search(signed.get("authorization", ""))
    return (match[1] if match else ""), signed.get("x-amz-security-token", "")
