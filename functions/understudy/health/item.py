"""The health of one target: one item in the table, written by whoever learns something, read by every router."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from understudy.catalog import HealthSettings
from understudy.health.breaker import Breaker, State, breaker_from, step
from understudy.health.finding import Finding, Hold, Quality, finding_from, hold_from, quality_from
from understudy.health.latency import Histogram, faded, histogram, merged
from understudy.health.observation import Observation
from understudy.health.score import blend
from understudy.health.usual import Usual, followed, usual_from


@dataclass(frozen=True, slots=True)
class Health:
    """Breaker, score and last signs of life of one target; times are epoch seconds.

    `score` is the recent share of good answers (0 to 1), which is the availability in understudy.health.score;
    `first_token` the recent mean of first tokens in seconds, `first_tokens` their histogram, `usual` what they usually
    take, and `gaps` the histogram of the longest silence inside each answer, `benched_until`
    the moment until which the provider asked to be left alone, `evaluations` the good observations in a row since
    the breaker closed, `findings` what detectors found that still stands, `quality` how good its answers are by task
    ("" for all of them together), `hold` who keeps it from callers, `rev` the revision that every write must have seen.
    """

    target: str
    breaker: Breaker = field(default_factory=Breaker)
    score: float = 1.0
    first_token: float | None = None
    first_tokens: Histogram = ()
    usual: Usual | None = None
    gaps: Histogram = ()
    benched_until: float = 0.0
    credential_failed: bool = False
    last_ok_at: float = 0.0
    last_failure_at: float = 0.0
    last_failure: str = ""
    evaluations: int = 0
    findings: tuple[Finding, ...] = ()
    quality: Mapping[str, Quality] = field(default_factory=dict)
    hold: Hold | None = None
    rev: int = 0

    @property
    def state(self) -> State:
        return self.breaker.state

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision (the store keeps it as an attribute of its own)."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "rev"}
        return plain | {
            "breaker": self.breaker.plain(),
            "findings": [finding.plain() for finding in self.findings],
            "quality": {task: asdict(known) for task, known in self.quality.items()},
            "hold": asdict(self.hold) if self.hold else None,
            "usual": asdict(self.usual) if self.usual else None,
        }


def health_from(plain: Mapping[str, Any], rev: int) -> Health:
    """The health that `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in Health.__slots__ if name in plain}
    times = {name: histogram(plain.get(name, ())) for name in ("first_tokens", "gaps")}
    known |= times | {
        "findings": tuple(finding_from(one) for one in plain.get("findings", ())),
        "quality": {task: quality_from(one) for task, one in plain.get("quality", {}).items()},
        "hold": hold_from(plain.get("hold")),
        "usual": usual_from(plain.get("usual")),
    }
    return Health(**(known | {"breaker": breaker_from(plain["breaker"]), "rev": rev}))


def fold(health: Health, seen: Observation, settings: HealthSettings, rng: random.Random) -> Health:
    """The health after an observation.  Replaying the same observations gives the same health."""
    if not (seen.ok or seen.by_kind):
        # Single values alone: they say nothing of whether the target answers.
        return health
    breaker = step(health.breaker, seen, settings.breaker, rng)
    good = seen.ok > 0 and seen.trailing == 0 and not seen.credential
    failed = bool(seen.by_kind) and not good
    return replace(
        health,
        breaker=breaker,
        score=blend(health.score, seen.ok, seen.failures),
        first_token=_mean(health.first_token, seen),
        first_tokens=faded(merged(health.first_tokens, seen.first_tokens)),
        usual=followed(health.usual, seen.first_tokens, seen.at),
        gaps=faded(merged(health.gaps, seen.gaps)),
        benched_until=max(health.benched_until, seen.benched_until),
        credential_failed=seen.credential or (health.credential_failed and not good),
        last_ok_at=max(health.last_ok_at, _proved_at(seen)) if good else health.last_ok_at,
        last_failure_at=seen.at if failed else health.last_failure_at,
        last_failure=seen.last_failure or health.last_failure,
        # The probes that close the breaker are good evaluations too; any failure starts the count again.
        evaluations=health.evaluations + 1 if good and breaker.state != "open" else 0,
    )


def settled(health: Health, settings: HealthSettings) -> bool:
    """Whether the target has been good often enough for its incidents to be over."""
    return health.state == "closed" and health.evaluations >= settings.evaluations_to_resolve


def _proved_at(seen: Observation) -> float:
    """A probe counts from its beginning: the next one is due a period later, however long this one took."""
    return seen.last_ok_at or seen.at if seen.source == "probe" else seen.at


def _mean(mean: float | None, seen: Observation) -> float | None:
    if not seen.ok:
        return mean
    recent = seen.first_token / seen.ok
    return recent if mean is None else mean + (recent - mean) * min(1.0, seen.ok / 20)
