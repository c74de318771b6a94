"""What callers' own requests say of the targets that answered them: single values for the detectors.

Nothing that a caller or a model wrote is in a value: it is a number, or what the provider calls its model.  Streams:

    TRAFFIC                  latency (less what reading the prompt may take), speed, version; those of a target,
                             whoever asks it (errors: services.outcomes)
    route:ROUTE              tokens, cost; routes are of different tasks, and their mix must not look like a change
    traffic:SIGNAL:ROUTE     quality, where low is bad, of each signal below

    tools, json, refusals, finish    as services.validity has them
    retries                          0 where the caller sent the same request again soon after the answer

What cannot be judged surely has no value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from re import compile as pattern

from understudy.catalog import Catalog
from understudy.chat.request import ChatRequest
from understudy.chat.unary import UnaryRequest
from understudy.detectors.sample import Sample
from understudy.routing.journal import Attempt
from understudy.routing.limits import reading
from understudy.services.handling import Handling
from understudy.services.measures import rate
from understudy.services.validity import judged

AGAIN = 60.0
"""Seconds within which the same request of the same caller is taken for a retry."""
REMEMBERED = 1000
"""Requests of the last AGAIN seconds that one environment remembers, as one number each."""
FOLLOWED = 20
"""Routes of a target that have streams of their own: the first ones of the document that name it."""
VERSION_PAUSE = 300.0
"""Seconds until a version that was told is told again: providers may serve several side by side."""
VERSIONS = 8
"""Versions of one target that are remembered."""
BEGINNING, END = 2048, 8192
"""Bytes of a body by which it is known again, beside its length: what follows a conversation stands at its end."""

_VERSION = pattern(r"[\w.:/@+-]{1,200}")


def digest(client: str, body: bytes) -> int:
    """A number by which the same request of the same client is known again in this process."""
    return hash((client, len(body), body[:BEGINNING], body[-END:]))


@dataclass(slots=True)
class _Told:
    """The versions of one target that were told, and when."""

    last: str = ""
    at: dict[str, float] = field(default_factory=dict)


class Signals:
    """One for each execution environment."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._followed: frozenset[tuple[str, str]] = frozenset()
        self._versions: dict[str, _Told] = {}
        self._answered: OrderedDict[int, tuple[float, str]] = OrderedDict()

    def follow(self, catalog: Catalog) -> None:
        """Take over which routes there are."""
        if catalog is not self._catalog:
            self._catalog, self._followed = catalog, frozenset(_first_routes(catalog))
            self._versions = {name: told for name, told in self._versions.items() if name in catalog.targets}

    def of(self, handling: Handling, now: float, *, whole: bool) -> dict[str, tuple[Sample, ...]]:
        """The values of one request, by target; `whole`: its caller has the whole answer."""
        request, route, journal, at = handling.request, handling.route.name, handling.journal, round(now, 3)
        found: dict[str, list[Sample]] = {}
        if isinstance(request, UnaryRequest) and request.operation != "embeddings":
            # A count of tokens takes no model's time.
            return {}
        for attempt in journal.attempts:
            name = attempt.target.name
            followed = (name, route) in self._followed
            if attempt.outcome == "ok":
                values = found.setdefault(name, [])
                values += self._of_target(attempt, at, reading(request.size))
                if followed:
                    values += _of_route(attempt, f"route:{route}", at)
            elif attempt.outcome == "refusal" and followed:
                found.setdefault(name, []).append(_quality("refusals", route, 0.0, at))
        answering = journal.answering
        if whole and answering is not None and not journal.resumptions and isinstance(request, ChatRequest):
            name = answering.target.name
            if (name, route) in self._followed:
                found[name] += [
                    _quality(signal, route, value, at) for signal, value in judged(request, journal.delivered)
                ]
            asked, value = self._asked_before(handling, name, at)
            if (asked, route) in self._followed:
                found.setdefault(asked, []).append(_quality("retries", route, value, at))
        return {name: tuple(values) for name, values in found.items()}

    def _of_target(self, attempt: Attempt, at: float, read: float) -> list[Sample]:
        """`read`: seconds allowed for reading the prompt.  They are no part of the latency, or longer prompts would
        look like a slower target; but half of it at most, since many read faster than they are allowed."""
        waited = attempt.seconds if attempt.first_token is None else attempt.first_token
        values = [Sample("latency", round(max(waited - read, waited / 2), 4), at)]
        if (speed := rate(attempt)) is not None:
            values.append(Sample("speed", round(speed, 2), at))
        if attempt.model and (version := self._news(attempt, at)):
            values.append(Sample("version", version, at))
        return values

    def _news(self, attempt: Attempt, now: float) -> str:
        """The version that the provider reports, where it is news; else an empty string."""
        version = attempt.version
        told = self._versions.setdefault(attempt.target.name, _Told())
        if version == told.last or now - told.at.get(version, float("-inf")) < VERSION_PAUSE:
            return ""
        if not _VERSION.fullmatch(version):
            return ""
        told.last = version
        told.at.pop(version, None)
        told.at[version] = now
        if len(told.at) > VERSIONS:
            del told.at[next(iter(told.at))]
        return version

    def _asked_before(self, handling: Handling, name: str, now: float) -> tuple[str, float]:
        """Whom a request speaks of, and what it says: that its answer will do, until it comes again."""
        before = self._answered.pop(handling.digest, None)
        self._answered[handling.digest] = (now, name)
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        # Requests that overlap are sent so on purpose.
        if before is not None and 0 <= handling.started_at - before[0] <= AGAIN:
            return before[1], 0.0
        return name, 1.0


def _of_route(attempt: Attempt, stream: str, at: float) -> list[Sample]:
    """What its provider counted; an answer that only goes on with another's is no answer to the whole question."""
    if attempt.usage is None or attempt.estimated or attempt.how != "fresh":
        return []
    values = []
    if attempt.usage.completion_tokens:
        values.append(Sample("tokens", float(attempt.usage.completion_tokens), at, stream))
    if (cost := attempt.cost) is not None and not attempt.price.assumed:
        values.append(Sample("cost", float(cost), at, stream))
    return values


def _quality(signal: str, route: str, value: float, at: float) -> Sample:
    return Sample("quality", value, at, f"traffic:{signal}:{route}")


def _first_routes(catalog: Catalog) -> Iterator[tuple[str, str]]:
    counts: dict[str, int] = {}
    for route in catalog.routes.values():
        for name in {candidate.target.name for candidate in route.candidates}:
            counts[name] = counts.get(name, 0) + 1
            if counts[name] <= FOLLOWED:
                yield name, route.name
