"""The versions of a target's model that its provider reported, each with how it did.  Pure; one small item a target.

What is observed counts for the version that was reported last: most calls do not say which one answered them, since a
router tells a version only when it is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from understudy.detectors.sample import Sample, bought
from understudy.health.observation import Observation

MOST = 20
"""Versions that are kept of one target; of more, those that were seen last."""
LONGEST = 200
"""Characters of a version."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Values added up: their count (or weight) and their sum."""

    count: float = 0.0
    total: float = 0.0

    def plus(self, count: float, total: float) -> Sum:
        return Sum(round(self.count + count, 6), round(self.total + total, 9))

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class Version:
    """One version: epoch seconds when it was first and last seen, and what was observed meanwhile.

    `calls` counts answers and hard failures, `failures` the latter; `first_token` adds up seconds, `quality` answers to
    golden questions (0 to 1), `tokens` those of an answer, `cost` the US dollars of a call, as far as they are known.
    """

    name: str
    first_seen: float
    last_seen: float
    calls: int = 0
    failures: int = 0
    first_token: Sum = field(default_factory=Sum)
    quality: Sum = field(default_factory=Sum)
    tokens: Sum = field(default_factory=Sum)
    cost: Sum = field(default_factory=Sum)


@dataclass(frozen=True, slots=True)
class History:
    """The versions of a target in the order in which they were first seen, the name of the one reported last, and how
    many older ones are no longer kept."""

    versions: tuple[Version, ...] = ()
    current: str = ""
    dropped: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"versions": [asdict(one) for one in self.versions], "current": self.current, "dropped": self.dropped}

    @property
    def latest(self) -> Version | None:
        return next((one for one in self.versions if one.name == self.current), None)


def history_from(plain: Mapping[str, Any]) -> History:
    """The history that `plain()` wrote; fields of a newer version are ignored."""
    return History(
        tuple(_version_from(one) for one in plain.get("versions", ())),
        plain.get("current", ""),
        plain.get("dropped", 0),
    )


def seen(history: History, observations: Iterable[Observation]) -> History:
    """The history after observations of one target, oldest first."""
    for one in observations:
        if one.source == "shadow":
            # Nobody got those answers, and their values stand apart in everything else too.
            continue
        for sample in one.samples:
            if sample.kind == "version" and isinstance(sample.value, str) and sample.value:
                history = _reported(history, sample.value[:LONGEST], sample.at)
        latest = history.latest
        if latest is not None:
            history = _with(history, _added(latest, one))
    return history


def news(history: History, observations: Iterable[Observation]) -> bool:
    """Whether a version is reported that is not the one reported last."""
    told = (s.value for one in observations if one.source != "shadow" for s in one.samples if s.kind == "version")
    return any(value != history.current for value in told)


def another(asked: str, reported: str) -> bool:
    """Whether a model that is reported has quite another name than the one that was asked: a dated or a regional name
    of the same model has the shorter one in it."""
    one, other = (_bare(name) for name in (asked, reported.partition("/")[0]))
    return bool(one and other) and one not in other and other not in one


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _reported(history: History, name: str, at: float) -> History:
    known = next((one for one in history.versions if one.name == name), None)
    if known is not None:
        # Reports may come late.
        current = name if history.latest is None or at >= history.latest.last_seen else history.current
        seen_at = replace(known, first_seen=min(known.first_seen, at), last_seen=max(known.last_seen, at))
        return replace(_with(history, seen_at), current=current)
    kept = (*history.versions, Version(name, at, at))
    dropped = history.dropped
    if len(kept) > MOST:
        oldest = min(kept[:-1], key=lambda one: one.last_seen)
        kept, dropped = tuple(one for one in kept if one is not oldest), dropped + 1
    return History(kept, name, dropped)


def _added(version: Version, one: Observation) -> Version:
    answered = one.ok > 0
    return replace(
        version,
        last_seen=max(version.last_seen, one.at) if answered else version.last_seen,
        calls=version.calls + one.ok + one.failures,
        failures=version.failures + one.failures,
        first_token=version.first_token.plus(one.ok, one.first_token),
        quality=_sum(version.quality, [s for s in one.samples if s.kind == "quality" and bought(s.stream)]),
        tokens=_sum(version.tokens, [s for s in one.samples if s.kind == "tokens"]),
        cost=_sum(version.cost, [s for s in one.samples if s.kind == "cost"]),
    )


def _sum(known: Sum, samples: Sequence[Sample]) -> Sum:
    values = [float(sample.value) for sample in samples if isinstance(sample.value, int | float)]
    finite = [value for value in values if 0 <= value < 1e9]
    return known.plus(len(finite), sum(finite)) if finite else known


def _with(history: History, version: Version) -> History:
    return replace(history, versions=tuple(version if one.name == version.name else one for one in history.versions))


def _version_from(plain: Mapping[str, Any]) -> Version:
    known = {each.name: plain[each.name] for each in fields(Version) if each.name in plain}
    sums = {name: Sum(**plain[name]) for name in ("first_token", "quality", "tokens", "cost") if name in plain}
    return Version(**known | sums)
