"""An alarm that is being looked into: what further values said of it, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.detectors.confirm import Confirmation
from understudy.detectors.discovery import SURE
from understudy.detectors.sample import Alarm, Sample, alarm_from

LOOK = 20
"""Values of ordinary running that make up one look, where no run was bought; as many as the alarm took, if more."""
MOST_LOOK = 64
"""Values of one look, at most."""
MOST_ASKS = 8
"""Runs that are bought for one alarm."""
MOST_ACTIONS = 10


@dataclass(frozen=True, slots=True)
class Inquiry:
    """`baseline` is the detector as it was before the values that set it off: what it has learned since is what is in
    doubt.  `look` are the values since the last look, `e_value` what the alarm is worth by now, `unsure` the looks of a
    suspicion that said nothing, `good` those in a row by which a confirmed one is over, `asks` the runs that were
    bought.  `doubt`: two looks said nothing, and the alarm alone is worth being told.  `stale`: its questions are
    others by now, so that no look says anything of it, and it stands until it is accepted.  `actions` are times and
    words, for people."""

    alarm: Alarm
    baseline: Mapping[str, Any]
    e_value: float
    state: Literal["suspected", "confirmed"] = "suspected"
    look: tuple[Sample, ...] = ()
    unsure: int = 0
    good: int = 0
    asks: int = 0
    doubt: bool = False
    stale: bool = False
    actions: tuple[tuple[float, str], ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in self.__slots__} | {"baseline": dict(self.baseline)}
        look = [sample.plain() for sample in self.look]
        return plain | {"alarm": self.alarm.plain(), "look": look, "actions": [list(one) for one in self.actions]}

    @property
    def due(self) -> bool:
        """Whether enough values have come for a look."""
        return len(self.look) >= min(MOST_LOOK, max(LOOK, self.alarm.samples_since))

    def did(self, at: float, what: str) -> Inquiry:
        """With one action more; of many the first and the newest are kept."""
        actions = (*self.actions, (at, what))
        if len(actions) > MOST_ACTIONS:
            actions = (*actions[:2], *actions[len(actions) - MOST_ACTIONS + 2 :])
        return replace(self, actions=actions)

    def evidence(self) -> dict[str, Any]:
        """What a finding says of it beside the alarm's own evidence."""
        figures = {"e_value": round(self.e_value, 1), "doubt": self.doubt, "good": self.good}
        return figures | {"actions": [list(one) for one in self.actions]}


def inquiry_from(plain: Mapping[str, Any]) -> Inquiry:
    """The inquiry that `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in Inquiry.__slots__ if name in plain}
    return Inquiry(
        **known
        | {
            "alarm": alarm_from(plain["alarm"]),
            "look": tuple(Sample(*one) for one in plain.get("look", ())),
            "actions": tuple((float(at), str(what)) for at, what in plain.get("actions", ())),
        }
    )


def looked(
    inquiry: Inquiry, answer: Confirmation, samples: Sequence[Sample], *, good: int, enough: Callable[[float], bool]
) -> tuple[Inquiry | None, bool]:
    """The inquiry after one look, None where it is over, and whether another run should be bought.

    A suspicion is confirmed when the look says so and the alarm is worth `enough` among all that stand; `good` looks in
    a row end a confirmed one.  A suspicion that two looks say nothing of stays one, and is told as a doubt where the
    alarm alone is worth enough.
    """
    at = max(sample.at for sample in samples)
    inquiry = replace(inquiry, look=())
    if inquiry.state == "confirmed":
        if answer != "refuted":
            return replace(inquiry, good=inquiry.good if answer == "unsure" else 0), False
        inquiry = replace(inquiry, good=inquiry.good + 1).did(at, f"{len(samples)} values were normal again")
        return (None, False) if inquiry.good >= good else (inquiry, True)
    if answer == "refuted":
        return None, False
    if answer == "unsure":
        unsure = inquiry.unsure + 1
        doubt = inquiry.doubt or (unsure >= 2 and enough(inquiry.e_value))
        inquiry = replace(inquiry, unsure=unsure, doubt=doubt)
        return inquiry.did(at, f"a second look at {len(samples)} values said nothing"), inquiry.unsure == 1
    inquiry = replace(inquiry, e_value=inquiry.e_value * SURE)
    if enough(inquiry.e_value):
        return replace(inquiry, state="confirmed").did(at, f"{len(samples)} further values confirmed it"), False
    words = f"{len(samples)} further values say so too; looked at again, since many streams are watched"
    return inquiry.did(at, words), True
