"""What the detectors are told of one call of a probe: single values, each in the stream that it belongs to."""

from __future__ import annotations

from understudy.detectors.sample import LIVENESS, TRAFFIC, Kind, Sample
from understudy.routing.journal import Attempt
from understudy.services.measures import rate


def of_target(attempt: Attempt, at: float) -> list[Sample]:
    """Whether it failed, how fast its answer came and which version gave it: they say the same whatever was asked.

    A call that ended by no fault of the target's (rate limits, our own deadline, a question it cannot take) is none.
    """
    if attempt.outcome != "ok":
        return [Sample("errors", 1.0, at)] if attempt.hurt else []
    samples = [Sample("errors", 0.0, at)]
    if (speed := rate(attempt)) is not None:
        samples.append(Sample("speed", round(speed, 2), at))
    return [*samples, Sample("version", attempt.version, at)] if attempt.version else samples


def of_liveness(attempt: Attempt, at: float) -> list[Sample]:
    """Of the fixed question of a health check: its latency is like that of any request, its tokens and its cost are
    not, so they are told apart."""
    samples = of_target(attempt, at)
    if attempt.outcome == "ok":
        samples.append(Sample("latency", _first(attempt), at, TRAFFIC))
        samples += _counted(attempt, at, LIVENESS, 0, 0)
    return samples


def of_item(
    attempt: Attempt, at: float, stream: str, item: int, run: int, *judged: tuple[Kind, float | str]
) -> list[Sample]:
    """Of a question that is asked in every run: everything is paired by it.  `judged` is what else its answer shows;
    the first value bears what the call cost."""
    if attempt.outcome != "ok":
        return []
    usd = round(float(attempt.cost or 0), 9)
    values = [Sample(kind, value, at, stream, item, run) for kind, value in judged]
    values += _counted(attempt, at, stream, item, run)
    values.append(Sample("latency", _first(attempt), at, stream, item, run))
    first = values[0]
    return [Sample(first.kind, first.value, at, stream, item, run, usd=usd), *values[1:]]


def _first(attempt: Attempt) -> float:
    return round(attempt.first_token if attempt.first_token is not None else attempt.seconds, 4)


def _counted(attempt: Attempt, at: float, stream: str, item: int, run: int) -> list[Sample]:
    """Output tokens and dollars, where the provider has counted: an estimate would be taken for a change."""
    if attempt.usage is None or attempt.estimated or not attempt.usage.completion_tokens:
        return []
    samples = [Sample("tokens", float(attempt.usage.completion_tokens), at, stream, item, run)]
    if (cost := attempt.cost) is not None and not attempt.price.assumed:
        samples.append(Sample("cost", round(float(cost), 9), at, stream, item, run))
    return samples
