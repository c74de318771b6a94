"""Personal data in a request, before any target sees it: counted, replaced by placeholders, or a reason to refuse it.

The data plane loads this, and the library behind it, with the first request of a route that wants it.  Looking through
a body takes processor time, so it is done in a thread, within bounds.  Where a route redacts or blocks and the body
cannot be looked through to its end, the request is refused: nothing goes out unguarded.  Where it only counts, the
request goes on and the count says that it is not whole; but a library that is missing stops every mode, for then the
deployment is not what its document says.  Nothing here logs or tells a value that was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from understudy.catalog import PiiRules
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.errors import GuardUnavailable, InvalidRequest, PiiFound, PiiUnread, RequestTooLarge
from understudy.metrics import own_failure
from understudy.ports import Clock, Logger, PiiGuard
from understudy.services.handling import Guarded
from understudy.services.review import OutOfTimeError, Review, TooDeepError
from understudy.wire.fronts.base import Front, decoded, encode

SECONDS = 3.0
"""Within which a body is looked through, waiting for a thread included."""
LOADING = 10.0
"""Seconds for loading the library, once for each environment."""
MOST = 2_000_000
"""Characters of one body."""
THREADS = 2
SHOWN = 10
"""Places that are named to a caller."""

Request = ChatRequest | UnaryRequest
T = TypeVar("T")


class TooLargeError(Exception):
    """There are more characters than are looked through."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look through a body brought: the review, and the body with placeholders; none where there is no room for
    one, which is where something was found in a header."""

    review: Review
    body: bytes | None


class Guarding:
    """One for each execution environment; used from one event loop.  `load` gives the guard and raises ImportError
    where its library is not there; `monotonic` counts seconds."""

    def __init__(self, load: Callable[[], PiiGuard], monotonic: Clock, logger: Logger) -> None:
        self._load = load
        self._monotonic = monotonic
        self._logger = logger
        self._guard: PiiGuard | None = None
        self._threads = ThreadPoolExecutor(THREADS, "understudy-pii")

    async def read(
        self, front: Front, body: bytes, headers: Mapping[str, str], request: Request, route: str, rules: PiiRules
    ) -> tuple[Request, Guarded]:
        """The request as it may leave, and what was found.  `request` is what `front` read of `body`.

        Raises PiiFound, PiiUnread, RequestTooLarge, InvalidRequest, and GuardUnavailable where it cannot be known.
        """
        guard = await self._loaded(route)
        began = self._monotonic()
        try:
            looked = await self._looked(guard, body, request, rules, began + SECONDS)
        except (GuardUnavailable, InvalidRequest, RequestTooLarge) as error:
            if rules.mode != "detect":
                raise
            return request, Guarded(rules.mode, {}, incomplete=str(error), ms=self._since(began))
        review = looked.review
        if rules.mode != "detect":
            _refuse(looked, route, rules)
        if rules.mode == "redact" and review.found:
            request = front.read(looked.body or b"", headers)
        return request, Guarded(rules.mode, dict(review.found), len(review.unread), ms=self._since(began))

    async def _loaded(self, route: str) -> PiiGuard:
        if self._guard is None:
            try:
                self._guard = await self._in_thread(self._load, LOADING)
            except (ImportError, TimeoutError) as error:
                told = str(error) or f"not within {LOADING:g} s"
                self._logger.warning(
                    "the PII guard could not be loaded: requests of its routes are refused",
                    route=route,
                    error=told,
                    metrics=[own_failure("RouterErrors")],
                )
                raise GuardUnavailable(
                    f"Route {route!r} guards personal data, and this deployment lacks what that needs. Nothing was "
                    "sent to any model. Its operator has to add the PII library to the data plane."
                ) from error
        return self._guard

    async def _looked(self, guard: PiiGuard, body: bytes, request: Request, rules: PiiRules, until: float) -> Looked:
        try:
            return await self._in_thread(partial(self._look, guard, body, request, rules, until), SECONDS)
        except TooLargeError:
            raise RequestTooLarge(
                f"The body has more than {MOST} characters to look through for personal data."
            ) from None
        except TooDeepError:
            raise InvalidRequest("The body is nested too deeply to be looked through for personal data.") from None
        except (OutOfTimeError, TimeoutError):
            self._logger.warning("personal data could not be looked for in time", seconds=SECONDS, bytes=len(body))
            raise GuardUnavailable(
                f"The request could not be looked through for personal data within {SECONDS:g} s, so it was sent to "
                "nobody. Try again, or send less."
            ) from None
        except Exception:
            # It may be that of a library, and its words may hold what it was given.
            self._logger.exception("the PII guard failed", metrics=[own_failure("RouterErrors")])
            raise GuardUnavailable("Looking for personal data failed, so the request was sent to nobody.") from None

    def _look(self, guard: PiiGuard, body: bytes, request: Request, rules: PiiRules, until: float) -> Looked:
        """In a thread."""
        left = MOST

        def tick(characters: int) -> None:
            nonlocal left
            left -= characters
            if left < 0:
                raise TooLargeError
            if self._monotonic() > until:
                raise OutOfTimeError

        review = Review(partial(guard.find, kinds=rules.kinds, countries=rules.countries), tick)
        for name, value in (request.native.headers if request.native else {}).items():
            review.header(name, value)
        if review.found and rules.mode == "redact":
            return Looked(review, None)
        parsed = decoded(body)
        walked = review.body(parsed if isinstance(parsed, Mapping) else {})
        return Looked(review, encode(walked) if review.found and rules.mode == "redact" else body)

    async def _in_thread(self, call: Callable[[], T], seconds: float) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, call)
        return await asyncio.wait_for(running, seconds)

    def _since(self, began: float) -> float:
        return round((self._monotonic() - began) * 1000, 1)


def _refuse(looked: Looked, route: str, rules: PiiRules) -> None:
    """Raises where the request may not leave."""
    review = looked.review
    if review.unread and rules.unread == "refuse":
        places = list(review.unread)
        raise PiiUnread(
            f"Route {route!r} lets no personal data out, and nobody here can look into {_listed(places)}. Send "
            "text, or use another route.",
            param=places[0],
        )
    if review.found and (rules.mode == "block" or looked.body is None):
        places = list(review.places)
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(review.found.items()))
        raise PiiFound(
            f"Route {route!r} lets no personal data out, and this request holds {kinds}, in {_listed(places)}. Leave "
            "it out and send the request again.",
            route=route,
            kinds=review.found,
            param=places[0],
        )


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - SHOWN} more places" if len(places) > SHOWN else ""
    return ", ".join(f"`{place}`" for place in places[:SHOWN]) + more
