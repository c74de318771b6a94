"""Every metric that the rooms write, in one table: the dashboard, the alarms and the tests are held against it.

Metrics ride on log lines (decision 0010): a service says what it measured beside what it logs, and the logger turns it
into CloudWatch's embedded metric format.  A metric has exactly one dimension, whose values come from the control
document (targets, routes) or from the code (rooms): never from a caller, a provider or an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

NAMESPACE = "Understudy"
"""Where nothing else is said."""

Dimension = Literal["target", "route", "service"]
Unit = Literal["Count", "Count/Second", "Milliseconds", "Percent", "None"]
"""As far as they are used; source: Amazon CloudWatch API reference, "MetricDatum"."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric counts, in which unit, for each of what."""

    by: Dimension
    unit: Unit
    means: str


# Each of them costs money for each target, route or room, so none says what another one does: the number of samples of
# `Failures` is the number of attempts and 100 − 100 × its average the availability, as `Errors` has the requests.
METRICS: Mapping[str, Metric] = {
    "Failures": Metric("target", "Count", "1 for each attempt of a caller that hurts its health, 0 for each other"),
    "FirstToken": Metric("target", "Milliseconds", "until the first token of an attempt"),
    "TokensPerSecond": Metric("target", "Count/Second", "after the first token, of answers that are long enough"),
    "Cost": Metric("target", "None", "US dollars of an attempt, as far as they are known"),
    "ProbeFailures": Metric("target", "Count", "1 for each probe that failed, 0 for each other"),
    "ProbeCost": Metric("target", "None", "US dollars of a probe, as far as they are known"),
    "ShadowCost": Metric("target", "None", "US dollars of a copied request, as far as they are known"),
    "Score": Metric("target", "Percent", "its score, without any route's objective or prices, when its health changes"),
    "BreakerOpen": Metric("target", "Count", "1 while its breaker is not closed, 0 when it closes"),
    "Errors": Metric("route", "Count", "1 for each request that failed by no fault of its caller, 0 for each other"),
    "Failovers": Metric("route", "Count", "times that a request went on to another target"),
    "Resumed": Metric("route", "Count", "times that a begun answer was gone on with by another attempt"),
    "Latency": Metric("route", "Milliseconds", "from a request to the end of its answer"),
    "PiiFound": Metric("route", "Count", "pieces of personal data in a request of a route that looks for them"),
    "RouterErrors": Metric("service", "Count", "requests that failed by a bug of our own"),
    "StoreErrors": Metric("service", "Count", "reads and writes of the table that failed, throttled ones too"),
    "StoreLate": Metric("service", "Count", "reads of the table that a request waited for in vain"),
    "AlertErrors": Metric("service", "Count", "notices that a sink did not take"),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of one target, route or room (`of` its name) by the names of their metrics; several are samples."""

    by: Dimension
    of: str
    values: Mapping[str, float | Sequence[float]]


def own_failure(name: str) -> Measured:
    """One failure of ours.  Which room it was, the logger knows."""
    return Measured("service", "", {name: 1})
