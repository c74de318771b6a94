"""The Lambda Runtime API as a runtime speaks it: the next invocation in, its answer out, whole or piece by piece.

Source: the AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes" and "Building a custom
runtime for AWS Lambda", "Implementing response streaming in a custom runtime".
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

BASE = "/2018-06-01/runtime"
WAITS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before the tries after the first one to get the next invocation."""
WHOLE = "application/json"
IN_PIECES = "application/vnd.awslambda.http-integration-response"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
MESSAGE_LIMIT = 1000
"""Characters of an error's message that are reported: what is reported is a header, and headers have limits."""


class ApiFailed(Exception):
    """There are no invocations to be had any more; the runtime must end, so that the platform starts another one."""


class HungUp(Exception):
    """The platform is not there for an answer, or no longer: nobody waits for the rest of it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event as it came; header names are lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("lambda-runtime-aws-request-id", "")

    @property
    def echo(self) -> dict[str, str]:
        """What the platform wants to see again beside the answer."""
        name = "Lambda-Runtime-Invocation-Id"
        return {name: given} if (given := self.headers.get(name.lower())) else {}


class RuntimeApi:
    """One for each process, used by one thread.  `address` is host:port."""

    def __init__(self, address: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._address = address
        self._sleep = sleep
        # Kept open: between two invocations there is nothing to be done but to ask for the next one.
        self._polling = HTTPConnection(address)

    def next(self) -> Invocation:
        """Wait for the next invocation, for as long as it takes.

        A broken connection is made again, a few times.  Raises ApiFailed where that does not help, and where the
        platform says anything but 200: it calls that a state in which a runtime should end.
        """
        for wait in (*WAITS, None):
            try:
                self._polling.request("GET", BASE + "/invocation/next")
                response = self._polling.getresponse()
                body = response.read()
                break
            except (OSError, HTTPException) as error:
                self._polling.close()
                if wait is None:
                    raise ApiFailed(f"no invocation could be read ({type(error).__name__})") from error
                self._sleep(wait)
        if response.status != 200:
            raise ApiFailed(f"the Runtime API answered {response.status} instead of an invocation")
        return Invocation({name.lower(): value for name, value in response.getheaders()}, body)

    def answer(self, invocation: Invocation, body: bytes) -> int:
        """Give a whole answer, in JSON; the status that the platform gives it: 202.  Raises HungUp."""
        headers = {"Content-Type": WHOLE, **invocation.echo}
        return self._send("POST", f"/invocation/{invocation.id}/response", body, headers)

    def in_pieces(self, invocation: Invocation) -> Pieces:
        """Begin an answer that is given piece by piece.  Raises HungUp."""
        return Pieces(self._address, invocation)

    def fail(self, invocation: Invocation, error: BaseException) -> int:
        """Give an error instead of an answer; otherwise as `answer`."""
        headers = {ERROR_TYPE: error_type(error), "Content-Type": WHOLE, **invocation.echo}
        return self._send("POST", f"/invocation/{invocation.id}/error", described(error), headers)

    def fail_at(self, stage: str, error: BaseException, kind: str) -> int:
        """Say that this runtime cannot start: `stage` is "init" or "restore".  Otherwise as `answer`."""
        return self._send("POST", f"/{stage}/error", described(error), {ERROR_TYPE: kind, "Content-Type": WHOLE})

    def wait_for_restore(self) -> None:
        """Let the platform take its snapshot; returns in a restored environment.  Raises HungUp and ApiFailed."""
        status = self._send("GET", "/restore/next", None, {})
        if status != 200:
            raise ApiFailed(f"the Runtime API answered {status} instead of a restored environment")

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> int:
        connection = HTTPConnection(self._address)
        with _hung_up():
            try:
                connection.request(method, BASE + path, body, headers)
                response = connection.getresponse()
                response.read()
                return response.status
            finally:
                connection.close()


class Pieces:
    """One answer on its way, on a connection of its own.  Every method raises HungUp where the platform is gone."""

    def __init__(self, address: str, invocation: Invocation) -> None:
        self._connection = HTTPConnection(address)
        headers = {
            "Content-Type": IN_PIECES,
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Transfer-Encoding": "chunked",
            "Trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
            **invocation.echo,
        }
        with _hung_up():
            self._connection.putrequest(
                "POST", f"{BASE}/invocation/{invocation.id}/response", skip_accept_encoding=True
            )
            for name, value in headers.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()

    def write(self, data: bytes) -> None:
        """Send one piece; an empty one is left out, because it would end the answer."""
        if data:
            try:
                self._connection.send(b"%X\r\n%b\r\n" % (len(data), data))
            except OSError as error:
                raise HungUp(type(error).__name__) from error

    def end(self, failure: BaseException | None = None) -> int:
        """End the answer, as failed where a failure is given; the status that the platform gives it: 202."""
        trailers = ""
        if failure is not None:
            body = base64.b64encode(described(failure)).decode()
            trailers = f"{ERROR_TYPE}: {error_type(failure)}\r\n{ERROR_BODY}: {body}\r\n"
        with _hung_up():
            self._connection.send(f"0\r\n{trailers}\r\n".encode())
            response = self._connection.getresponse()
            response.read()
            return response.status

    def close(self) -> None:
        """Where the answer was not ended, the platform sees that it is cut."""
        self._connection.close()


def error_type(error: BaseException) -> str:
    """As the platform knows errors: `category.reason`, in ASCII; anything else it calls Runtime.Unknown."""
    name = type(error).__name__
    return f"Runtime.{name if name.isascii() else 'Unknown'}"


def described(error: BaseException) -> bytes:
    """The error as the platform passes it to the invoker; its traceback is for the log alone."""
    told = {"errorType": type(error).__name__, "errorMessage": str(error)[:MESSAGE_LIMIT]}
    return json.dumps(told).encode()


@contextmanager
def _hung_up() -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise HungUp(type(error).__name__) from error
