"""What was seen of one target: the outcomes of a few calls, added up.

A router flushes healthy counts now and then and failures at once; a probe is an observation of one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from understudy.errors import AttemptFailed

Source = Literal["traffic", "probe"]


@dataclass(frozen=True, slots=True)
class Observation:
    """Outcomes of one target in arrival order, summed.

    `failures` counts hard failures (those that hurt health); `trailing` of them came after the last success.
    `benched_until` and all times are epoch seconds; `first_token` is the sum of seconds over `ok` answers.
    `last_failure` is `kind: words` of the newest failure of any class.
    """

    target: str
    at: float
    source: Source = "traffic"
    ok: int = 0
    failures: int = 0
    trailing: int = 0
    first_token: float = 0.0
    benched_until: float = 0.0
    credential: bool = False
    last_failure: str = ""
    by_kind: Mapping[str, int] = field(default_factory=dict)

    def success(self, now: float, first_token: float) -> Observation:
        """One more good answer, whose first token took `first_token` seconds."""
        return replace(self, at=now, ok=self.ok + 1, trailing=0, first_token=self.first_token + first_token)

    def failure(self, now: float, failed: AttemptFailed, bench: float = 0.0) -> Observation:
        """One more failed call; `bench` is the moment until which the target asks to be left alone."""
        kinds = {**self.by_kind, failed.kind: self.by_kind.get(failed.kind, 0) + 1}
        hard = 1 if failed.hurts_health else 0
        return replace(
            self,
            at=now,
            failures=self.failures + hard,
            trailing=self.trailing + hard,
            benched_until=max(self.benched_until, bench),
            credential=self.credential or failed.kind == "credential",
            last_failure=f"{failed.kind}: {failed.message}"[:300],
            by_kind=kinds,
        )

    def merged(self, later: Observation) -> Observation:
        """This observation followed by a later one of the same target."""
        kinds = dict(self.by_kind)
        for kind, count in later.by_kind.items():
            kinds[kind] = kinds.get(kind, 0) + count
        return replace(
            later,
            ok=self.ok + later.ok,
            failures=self.failures + later.failures,
            trailing=later.trailing if later.ok else self.trailing + later.trailing,
            first_token=self.first_token + later.first_token,
            benched_until=max(self.benched_until, later.benched_until),
            credential=self.credential or later.credential,
            last_failure=later.last_failure or self.last_failure,
            by_kind=kinds,
        )

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {name: getattr(self, name) for name in self.__slots__} | {"by_kind": dict(self.by_kind)}


def observation_from(plain: Mapping[str, Any]) -> Observation:
    """The observation that `plain()` wrote; fields of a newer version are ignored."""
    return Observation(**{name: plain[name] for name in Observation.__slots__ if name in plain})
