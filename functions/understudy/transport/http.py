"""HTTPS to the providers.  The only place that knows httpx; its exceptions become classes of the failure table."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from understudy.errors import Silent, Transient


class HttpReply:
    """See `understudy.ports.Reply`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def body(self) -> AsyncIterator[bytes]:
        with _translated():
            async for data in self._response.aiter_raw():
                yield data


class HttpTransport:
    """See `understudy.ports.Transport` and `PageReader`.  One connection pool for one event loop.

    Read limits are the engine's business (first token, stall, deadline), so httpx gets none.  The proxy variables of
    the environment are not followed: what leaves the router goes to the address in the control document.
    """

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            verify=_tls(),
            trust_env=False,
            # Cookies are not kept: one caller's answer must not colour the next one's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30),
        )

    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AbstractAsyncContextManager[HttpReply]:
        return self._exchange("POST", url, headers, body, connect)

    def get(self, url: str, headers: Mapping[str, str], *, connect: float) -> AbstractAsyncContextManager[HttpReply]:
        return self._exchange("GET", url, headers, None, connect)

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, connect: float
    ) -> AsyncIterator[HttpReply]:
        timeout = httpx.Timeout(None, connect=connect)
        with _translated():
            request = self._client.build_request(method, url, headers=dict(headers), content=body, timeout=timeout)
            response = await self._client.send(request, stream=True)
        try:
            yield HttpReply(response)
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """One for the process: reading the certificate authorities is a tenth of a cold start."""
    return httpx.create_ssl_context(trust_env=False)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise Silent("no connection within the connect limit") from error
    except httpx.ConnectError as error:
        raise Transient("the connection was refused or could not be made") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
        # OSError: a broken TLS record; UnicodeError: a header that is not ASCII.
        # The words of the library may carry addresses or headers; its class name is enough.
        raise Transient(f"the connection broke ({type(error).__name__})") from error
