"""False discoveries: what an alarm is worth among all the streams that are watched.

A stream that gives one false alarm in N values gives n / N of them in a period of n values, however well it is; with a
thousand streams somebody is always woken.  So an alarm counts by its e-value, a number whose mean is at most 1 while
nothing has changed.  The detectors' statistics M are e-detectors (Shin, Ramdas and Rinaldo 2022, "E-detectors"): up to
any moment of the period the mean of M is at most the number of values seen, so M / n is an e-value, and M passes N at
an alarm.  A second look bets on fresh values and confirms when it has won SURE-fold, so it multiplies it by SURE.

E-values of dependent streams may be compared with each other, which p-values may not: two targets of one provider, or
two kinds of value of one answer, fall together.  Benjamini-Hochberg on e-values (Wang and Ramdas 2022, "False discovery
rate control with e-values") keeps the share of false alarms among those told below the rate under any dependence.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.detectors.sample import Alarm

PERIOD = 86_400.0
"""Seconds within which alarms are judged together."""
SURE = 20.0
"""What a second look that confirms is worth (detectors.confirm)."""


def e_value(alarm: Alarm, *, in_control_length: float, per_period: float) -> float:
    """What an alarm is worth where its stream has `per_period` values in a period.

    How far the statistic is above its threshold counts by their ratio: exact where it is not a logarithm, and less than
    it is worth where it is one (of more than 1).
    """
    beyond = alarm.statistic / alarm.threshold if alarm.threshold > 0 else 1.0
    return in_control_length / max(1.0, per_period) * max(1.0, beyond)


def discovered(e_values: Sequence[float], streams: int, rate: float) -> set[int]:
    """The places of the alarms that may be told, among the e-values of all that stand; the others of so many `streams`
    have none.  Of the k largest each is at least streams / (rate * k), for the largest such k."""
    streams = max(streams, len(e_values))
    order = sorted(range(len(e_values)), key=lambda place: -e_values[place])
    most = max((k for k, place in enumerate(order, 1) if e_values[place] * rate * k >= streams), default=0)
    return set(order[:most])
