"""What was seen of a target, added up: in any grouping, and by when each call began."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import as_json, bad, good
from understudy.catalog import HealthSettings
from understudy.detectors.sample import Sample, sample_from
from understudy.errors import AttemptFailed, CallerFault, Credential, RateLimited, Silent, Transient
from understudy.health.item import Health, fold
from understudy.health.observation import MOST_SAMPLES, Observation, observation_from, row

FAULT = Transient("500")


@dataclass(frozen=True)
class Ended:
    """One call: when it began and ended, its failure, its first token and its longest silence."""

    began: float
    at: float
    failure: AttemptFailed | None = None
    first_token: float = 0.5
    gap: float = 0.0

    def seen(self, before: Observation | None = None) -> Observation:
        """The observation after it, or of it alone."""
        counted = before or Observation("lead", self.at)
        if self.failure is None:
            return counted.success(self.at, self.first_token, gap=self.gap, began=self.began)
        bench = self.at + 7 if self.failure.benches else 0.0
        return counted.failure(self.at, self.failure, bench, began=self.began)


def merged(seen: list[Observation]) -> Observation:
    return reduce(Observation.merged, seen)


def rows(seen: list[Observation]) -> tuple[int, float]:
    """The row of failures after all of them, one by one; (0, 0.0) where there is none."""
    failures, since = reduce(lambda now, one: row(*now, one), seen, (0, 0.0))
    return (failures, since) if failures else (0, 0.0)


ANY_FAILURE = st.sampled_from([FAULT, Silent("s"), RateLimited("r"), Credential("c"), CallerFault("x")])
MOMENTS = st.integers(0, 400).map(lambda quarter: 1000 + quarter / 4)
# Quarters of seconds, so that sums are exact in any order.
QUARTERS = st.integers(0, 40).map(lambda quarter: quarter / 4)


@st.composite
def calls(draw: st.DrawFn) -> list[Ended]:
    """Any calls, in the order in which they ended."""
    found = draw(st.lists(st.builds(Ended, MOMENTS, QUARTERS, st.none() | ANY_FAILURE, QUARTERS, QUARTERS), min_size=1))
    return sorted((replace(call, at=call.began + call.at) for call in found), key=lambda call: call.at)


@st.composite
def outages(draw: st.DrawFn, lasting: bool = False) -> list[Ended]:
    """Calls on a target that is down from some moment to another (or for good), in the order in which they ended:
    those that begin in between fail, the others do not, and each takes its own time."""
    start, end = sorted(draw(st.tuples(MOMENTS, MOMENTS)))
    end = 2000 if lasting else end
    ended = draw(st.lists(st.tuples(MOMENTS, MOMENTS.map(lambda at: at - 1000)), min_size=1, max_size=40))
    found = [Ended(began, began + took, FAULT if start <= began < end else None) for began, took in ended]
    return sorted(found, key=lambda call: call.at)


@st.composite
def grouped(draw: st.DrawFn, kind: st.SearchStrategy[list[Ended]]) -> tuple[list[Ended], list[Observation]]:
    """Calls, and the same as observations of a few neighbours each."""
    found = draw(kind)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(found) - 1)))))
    parts = [found[a:b] for a, b in zip([0, *cuts], [*cuts, len(found)], strict=True) if a < b]
    return found, [merged([call.seen() for call in part]) for part in parts]


@given(grouped(outages()))
def test_a_row_of_failures_does_not_depend_on_grouping(made: tuple[list[Ended], list[Observation]]) -> None:
    """During an outage the row of failures and its beginning are the same however the calls were grouped."""
    found, groups = made
    one_by_one = rows([call.seen() for call in found])
    whole = merged(groups)
    assert one_by_one == rows(groups) == rows([whole])
    assert one_by_one == ((whole.trailing, whole.failing_since) if whole.trailing else (0, 0.0))


@given(grouped(outages(lasting=True)))
def test_late_answers_do_not_hide_an_outage(made: tuple[list[Ended], list[Observation]]) -> None:
    """While a target is down all failures stand in the row, however late answers come to calls from before."""
    found, groups = made
    assert sum(call.failure is not None for call in found) == merged(groups).trailing


@given(grouped(calls()))
def test_sums_do_not_depend_on_grouping(made: tuple[list[Ended], list[Observation]]) -> None:
    """Counts, times, benches and words of any calls are the same however they were grouped."""
    found, groups = made

    def sums(seen: Observation) -> Observation:
        return replace(seen, trailing=0, failing_since=0.0)

    assert sums(reduce(lambda seen, call: call.seen(seen), found[1:], found[0].seen())) == sums(merged(groups))


@given(calls())
def test_merging_is_the_same_as_counting_on(found: list[Ended]) -> None:
    """Adding calls to one observation and merging one observation per call come to the same."""
    counted = reduce(lambda seen, call: call.seen(seen), found, Observation("lead", found[0].at))
    assert counted == merged([call.seen() for call in found])


@given(calls())
def test_a_row_is_never_longer_than_its_failures(found: list[Ended]) -> None:
    """The row counts hard failures only, and begins when one of them began."""
    seen = merged([call.seen() for call in found])
    hard = [call.began for call in found if call.failure is not None and call.failure.hurts_health]
    assert (len(hard), True) == (seen.failures, seen.trailing <= seen.failures)
    assert not seen.trailing or seen.failing_since in hard


ROUTES = [f"route-{n}" for n in range(3)]


def values(number: int, at: float) -> tuple[Sample, ...]:
    """The values of one request, in the order in which each request brings them."""
    route = ROUTES[number % len(ROUTES)]
    per_target = [Sample("errors", 0.0, at), Sample("latency", 0.25, at), Sample("speed", 41.5, at)]
    per_route = [Sample("tokens", 250.0, at, f"route:{route}"), Sample("cost", 0.0125, at, f"route:{route}")]
    signals = [Sample("quality", 1.0, at, f"traffic:{name}:{route}") for name in ("refusals", "finish", "retries")]
    return (*per_target, *per_route, *signals)


def test_a_busy_target_keeps_some_values_of_every_kind() -> None:
    """However many requests a flush sums up, its values are few, of all kinds and streams, in order, and from all of
    the time; the item stays below 10 KB."""
    seen = Observation("lead", 1000.0)
    for number in range(10_000):
        at = 1000 + number / 1000
        seen = seen.success(at, 0.25, gap=0.01).measured(*values(number, at))
    streams = {(one.stream, one.kind) for number in range(3) for one in values(number, 0.0)}
    assert (streams, MOST_SAMPLES) == ({(one.stream, one.kind) for one in seen.samples}, max(48, len(seen.samples)))
    times = [one.at for one in seen.samples]
    assert times == sorted(times)
    assert max(10_000, len(json.dumps(seen.plain()))) == 10_000


def test_more_streams_than_values_are_bounded_too() -> None:
    """Values of streams of their own, with names as long as they get, are kept to the newest."""
    kept = Observation("lead", 1000.0)
    for number in range(500):
        kept = kept.measured(Sample("quality", 1.0, 1000.0 + number, f"traffic:refusals:{number:0128d}"))
    assert MOST_SAMPLES == max(MOST_SAMPLES, len(kept.samples))
    assert (1499.0, True) == (kept.samples[-1].at, len(json.dumps(kept.plain())) < 10_000)


def test_values_alone_change_no_health() -> None:
    """An observation that counts no call says nothing of whether the target answers."""
    health = Health("lead", evaluations=2, last_ok_at=900.0)
    seen = Observation("lead", 1000.0).measured(Sample("quality", 0.0, 1000.0))
    assert health == fold(health, seen, HealthSettings(), random.Random(1))


@pytest.mark.parametrize(
    ("sample", "size"),
    [
        (Sample("latency", 0.5, 7.0), 3),
        (Sample("cost", 0.5, 7.0, "route:chat"), 4),
        (Sample("quality", 0.0, 7.0, "general", 3, 5, False, 0.25), 8),
        (Sample("version", "m-1", 7.0, "", -1, 0, True), 7),
    ],
)
def test_a_value_is_written_without_its_defaults(sample: Sample, size: int) -> None:
    """What is left out at the end comes back as it was."""
    written = as_json(sample.plain())
    assert (size, sample) == (len(written), sample_from(written))


@given(grouped(calls()))
def test_the_last_good_call_is_the_last_to_begin(made: tuple[list[Ended], list[Observation]]) -> None:
    """`last_ok_at` is when the youngest good call began, whichever ended last."""
    found, groups = made
    assert max((call.began for call in found if call.failure is None), default=0.0) == merged(groups).last_ok_at


@pytest.mark.parametrize(
    ("began", "trailing", "since"),
    [(100.0, 2, 110.0), (109.9, 2, 110.0), (110.0, 0, 0.0), (110.1, 0, 0.0), (120.0, 0, 0.0)],
)
def test_an_answer_ends_the_row_only_where_it_began_in_it(began: float, trailing: int, since: float) -> None:
    """A good call ends the row if it began with its first failure or later; one that began before says nothing."""
    failed = [Ended(110.0, 111.0, FAULT), Ended(110.5, 112.0, FAULT)]
    seen = merged([call.seen() for call in [*failed, Ended(began, 121.0)]])
    assert (trailing, since) == (seen.trailing, seen.failing_since)


def test_a_failure_that_took_long_moves_the_beginning_of_the_row() -> None:
    """The row begins with the earliest beginning of its calls, not with the first to end."""
    quick, slow = Ended(110.0, 110.1, FAULT), Ended(101.0, 111.0, Silent("no first token within 10 s"))
    assert (2, 101.0) == rows([quick.seen(), slow.seen()])


def test_soft_failures_neither_lengthen_nor_end_a_row() -> None:
    """Rate limits and faults of the caller leave the row as it is."""
    soft = [Ended(120.0, 121.0, RateLimited("r")), Ended(122.0, 123.0, CallerFault("x"))]
    assert (1, 110.0) == rows([call.seen() for call in [Ended(110.0, 111.0, FAULT), *soft]])


def test_an_answer_in_one_piece_has_no_silence() -> None:
    """The longest silence is kept where there was one; the first token always is."""
    seen = good(1.0).success(2.0, 0.3, gap=0.4)
    assert (2, 1) == (sum(n for _, n in seen.first_tokens), sum(n for _, n in seen.gaps))


@given(calls())
def test_an_observation_survives_json(found: list[Ended]) -> None:
    """An observation comes back from JSON as it was written, with its histograms."""
    seen = merged([call.seen() for call in found])
    assert seen == observation_from(as_json(seen.plain()))


def test_observations_of_other_versions_can_be_read() -> None:
    """Fields of a newer version are ignored; those that an older one did not write take their defaults."""
    newer: Any = {**bad(1.0, FAULT).plain(), "mood": "better"}
    assert bad(1.0, FAULT) == observation_from(as_json(newer))
    older = {name: value for name, value in good(1.0).plain().items() if name not in ("first_tokens", "gaps")}
    assert replace(good(1.0), first_tokens=()) == observation_from(as_json(older))
