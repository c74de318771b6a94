"""What was seen of one target: the outcomes of a few calls, added up.

A router flushes healthy counts now and then and failures at once; a probe is an observation of one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from understudy.detectors.sample import Sample, sample_from
from understudy.errors import AttemptFailed
from understudy.health.latency import Histogram, histogram, merged, one

Source = Literal["traffic", "probe", "shadow"]
"""Callers' requests; active health checks; requests that were copied to a candidate and whose answers nobody got."""
MOST_SAMPLES = 48
"""Single values of callers' requests that an observation carries; of more, every second one of each kind and stream is
kept.  They take some 60 bytes each, and 190 where a route's name is as long as names may be."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Outcomes of one target, summed.

    `failures` counts hard failures (those that hurt health); `trailing` of them are of calls that began after the last
    good one, the first of those at `failing_since`; `last_ok_at` is when the last good call began.  Calls are ordered
    by their beginning: an answer that began before a provider broke and ends after it says nothing of how it is now.
    `benched_until` and all times are epoch seconds; `first_token` is the sum of seconds over `ok` answers,
    `first_tokens` their histogram, and `gaps` that of the longest silence inside each answer.
    `last_failure` is `kind: words` of the newest failure of any class: the provider's words where it was asked by a
    probe, else ours, since a provider may repeat what its caller wrote.  `samples` are single values for the
    detectors, oldest first.
    """

    target: str
    at: float
    source: Source = "traffic"
    ok: int = 0
    failures: int = 0
    trailing: int = 0
    last_ok_at: float = 0.0
    failing_since: float = 0.0
    first_token: float = 0.0
    first_tokens: Histogram = ()
    gaps: Histogram = ()
    benched_until: float = 0.0
    credential: bool = False
    last_failure: str = ""
    by_kind: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    def measured(self, *samples: Sample) -> Observation:
        """With these values more."""
        return replace(self, samples=thinned(self.samples + samples))

    def success(self, now: float, first_token: float, *, gap: float = 0.0, began: float | None = None) -> Observation:
        """One more good answer: its first token took `first_token` seconds, its longest silence `gap` (0: it came in
        one piece); without `began` it began just now."""
        alone = Observation(
            self.target,
            now,
            self.source,
            ok=1,
            last_ok_at=now if began is None else began,
            first_token=first_token,
            first_tokens=one(first_token),
            gaps=one(gap) if gap else (),
        )
        return self.merged(alone)

    def failure(
        self, now: float, failed: AttemptFailed, bench: float = 0.0, *, began: float | None = None
    ) -> Observation:
        """One more failed call; `bench` is the moment until which the target asks to be left alone."""
        hard = 1 if failed.hurts_health else 0
        words = failed.message if self.source == "probe" else failed.kept
        alone = Observation(
            self.target,
            now,
            self.source,
            failures=hard,
            trailing=hard,
            failing_since=(now if began is None else began) if hard else 0.0,
            benched_until=bench,
            credential=failed.opens,
            last_failure=f"{failed.kind}: {words}"[:300],
            by_kind={failed.kind: 1},
        )
        return self.merged(alone)

    def merged(self, later: Observation) -> Observation:
        """This observation followed by a later one of the same target."""
        kinds = dict(self.by_kind)
        for kind, count in later.by_kind.items():
            kinds[kind] = kinds.get(kind, 0) + count
        trailing, failing_since = row(self.trailing, self.failing_since, later)
        return replace(
            later,
            ok=self.ok + later.ok,
            failures=self.failures + later.failures,
            trailing=trailing,
            failing_since=failing_since,
            last_ok_at=max(self.last_ok_at, later.last_ok_at),
            first_token=self.first_token + later.first_token,
            first_tokens=merged(self.first_tokens, later.first_tokens),
            gaps=merged(self.gaps, later.gaps),
            benched_until=max(self.benched_until, later.benched_until),
            credential=self.credential or later.credential,
            last_failure=later.last_failure or self.last_failure,
            by_kind=kinds,
            samples=thinned(self.samples + later.samples),
        )

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in self.__slots__} | {"by_kind": dict(self.by_kind)}
        return plain | {"samples": [sample.plain() for sample in self.samples]}


def observation_from(plain: Mapping[str, Any]) -> Observation:
    """The observation that `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in Observation.__slots__ if name in plain}
    known |= {name: histogram(plain.get(name, ())) for name in ("first_tokens", "gaps")}
    return Observation(**known | {"samples": tuple(sample_from(one) for one in plain.get("samples", ()))})


def thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """No more than MOST_SAMPLES of what callers' requests brought, of which a regular part is as good as all; probes
    are few and dear, so all of theirs are kept.

    Each request brings the same kinds in the same order, so that every second value of all would be kinds left out.
    """
    if len(samples) <= MOST_SAMPLES or any(sample.item >= 0 for sample in samples):
        return tuple(samples)
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for sample in samples:
        place = seen[sample.stream, sample.kind] = seen.get((sample.stream, sample.kind), -1) + 1
        if place % 2 == 0:
            kept.append(sample)
    # With as many streams as values nothing is left to be thinned.
    return tuple(kept[-MOST_SAMPLES:])


def row(failures: int, since: float, seen: Observation) -> tuple[int, float]:
    """How many failures stand in a row, and when the first of their calls began, after an observation."""
    if not failures or (seen.ok and seen.last_ok_at >= since):
        return seen.trailing, seen.failing_since
    return failures + seen.trailing, min(since, seen.failing_since) if seen.trailing else since
