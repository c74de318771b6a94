"""One measured value of a target, and what a detector says when values have changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

Kind = Literal["errors", "latency", "speed", "quality", "tokens", "cost", "logprob", "fingerprint", "version"]
"""What a value is: 1.0 for a failed call and 0.0 for another; seconds to the first token; output tokens a second;
how right an answer is, from 0 (wrong) to 1; output tokens; US dollars of a call; the natural logarithm of the first
output token's probability, 0 or less; the first output token or a digest of them; the version that the provider
reports.  The last two are text."""

KINDS: frozenset[str] = frozenset(Kind.__args__)  # type: ignore[attr-defined]
TEXTS = frozenset({"fingerprint", "version"})
"""The kinds whose values are text."""

TRAFFIC = ""
"""The stream of callers' own requests, and of what probes say of a target whatever they ask."""
LIVENESS = "liveness"
"""The stream of the one question that health checks ask again and again, as far as it is the same each time."""


def bought(stream: str) -> bool:
    """Whether a stream is of questions that can be asked again at will: a golden set.

    Those of callers' requests have a colon in their names, as no golden set has.
    """
    return ":" not in stream and stream not in (TRAFFIC, LIVENESS, "drift", "shadow")


ONE_SHOT = -1
"""The item of a value that belongs to no repeated question."""

Verdict = Literal["degraded", "changed"]
"""Degraded: worse, so that traffic should go elsewhere.  Changed: different, for somebody to compare and accept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value.

    `at`: epoch seconds.  `stream` tells apart what must not be mixed: TRAFFIC, or the name of a golden set.
    `item`: the number of the question that is asked again in every `run` of it, or ONE_SHOT.  Runs of a stream count
    from 1; one that was bought to confirm an alarm has a negative number (-1, -2, ...), and counts apart from them.
    `calib`: known to be of a time when all was well.  `usd`: what the call cost, where it was made to be measured.
    """

    kind: Kind
    value: float | str
    at: float
    stream: str = TRAFFIC
    item: int = ONE_SHOT
    run: int = 0
    calib: bool = False
    usd: float = 0.0

    def plain(self) -> list[Any]:
        """JSON-able form; a list, since many are kept, without what has its default at the end."""
        values = [getattr(self, name) for name in self.__slots__]
        while values[-1] == _DEFAULTS[len(values) - 1]:
            values.pop()
        return values


_DEFAULTS = [each.default for each in fields(Sample)]


def sample_from(plain: list[Any]) -> Sample:
    """The sample that `plain()` wrote; fields of a newer version are ignored.

    What is no sample becomes one that nobody takes in (detectors.checks says why): it must not cost the others.
    """
    values = list(plain) if isinstance(plain, list | tuple) else []
    values += [None] * (3 - len(values))
    return Sample(*values[: len(Sample.__slots__)])


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a detector found.

    `changed_at` and `samples_since` say where the change probably began; `before` and `after` are the values' centres
    (a share, a mean, a ratio to the baseline: `unit` says which), `low` and `high` the 95 % interval of `after`.
    `statistic` passed `threshold`.  `evidence` is what else a person needs, in plain data.
    """

    kind: Kind
    verdict: Verdict
    at: float
    changed_at: float
    samples_since: int
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    statistic: float = 0.0
    threshold: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__} | {"evidence": dict(self.evidence)}


def alarm_from(plain: Mapping[str, Any]) -> Alarm:
    """The alarm that `plain()` wrote; fields of a newer version are ignored."""
    return Alarm(**{name: plain[name] for name in Alarm.__slots__ if name in plain})
