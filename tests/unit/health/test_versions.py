"""What is kept of the versions that a provider reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import as_json, bad, good
from understudy.detectors.sample import Sample
from understudy.errors import Transient
from understudy.health.observation import Observation
from understudy.health.versions import MOST, History, another, history_from, news, seen


def reported(at: float, name: str, *samples: Sample, source: str = "traffic") -> Observation:
    """A good call that says which version answered."""
    return replace(good(at, source=source), samples=(Sample("version", name, at), *samples))


def test_each_version_has_what_was_observed_while_it_answered() -> None:
    """Calls, failures and figures of one version are not those of the next; what is only counted goes with the last
    one that was reported."""
    history = seen(
        History(),
        [
            reported(10.0, "v1", Sample("quality", 1.0, 10.0, "core"), Sample("tokens", 40.0, 10.0, "route:chat")),
            good(20.0, first_token=0.3),
            bad(25.0, Transient("x")),
            reported(30.0, "v2", Sample("cost", 0.02, 30.0, "route:chat"), Sample("quality", 0.0, 30.0, "core")),
        ],
    )
    one, two = history.versions
    assert ("v1", 10.0, 20.0, 3, 1) == (one.name, one.first_seen, one.last_seen, one.calls, one.failures)
    assert (0.2, 1.0, 40.0, None) == (one.first_token.mean, one.quality.mean, one.tokens.mean, one.cost.mean)
    assert ("v2", 1, 0.0, 0.02) == (history.current, two.calls, two.quality.mean, two.cost.mean)


def test_signals_of_callers_requests_are_no_quality() -> None:
    """A parsed answer is not a right one: only golden questions count."""
    values = Sample("quality", 0.0, 1.0, "traffic:json:chat")
    assert seen(History(), [reported(1.0, "v1", values)]).versions[0].quality.mean is None


def test_copies_count_for_nobody() -> None:
    """What nobody got an answer from is no metric of a version."""
    assert History() == seen(History(), [reported(1.0, "v1", source="shadow")])


def test_a_version_that_comes_back_goes_on_with_what_it_had() -> None:
    """Providers go back, too; a late report of the old one does not."""
    history = seen(History(), [reported(1.0, "v1"), reported(2.0, "v2"), reported(3.0, "v1")])
    assert (["v1", "v2"], "v1", 2) == ([v.name for v in history.versions], history.current, history.versions[0].calls)
    late = seen(seen(History(), [reported(1.0, "v1"), reported(9.0, "v2")]), [reported(5.0, "v1")])
    assert "v2" == late.current


def test_what_is_kept_is_bounded() -> None:
    """A provider that reports a version of its own with each call costs no more than a few kilobytes."""
    history = seen(History(), [reported(float(n), f"v{n}" + "x" * 500) for n in range(100)])
    assert (MOST, 100 - MOST) == (len(history.versions), history.dropped)
    assert len(str(history.plain())) < 16_000


def test_a_history_survives_the_table() -> None:
    """And knows what a newer version of the software wrote, as far as it can."""
    history = seen(History(), [reported(1.0, "v1", Sample("cost", 0.1, 1.0)), reported(2.0, "v2")])
    plain = as_json(history.plain())
    assert history == history_from(plain)
    plain["versions"][0]["colour"] = "blue"
    assert history == history_from(plain)


def test_only_another_version_is_news() -> None:
    """The one that answers all the time is not."""
    known = seen(History(), [reported(1.0, "v1")])
    assert (False, False, True) == tuple(
        news(known, [one]) for one in (good(2.0), reported(2.0, "v1"), reported(2.0, "v2"))
    )


@pytest.mark.parametrize(
    ("asked", "told", "expected"),
    [
        ("gpt-4.1", "gpt-4.1-2025-04-14", False),
        ("gpt-4.1-2025-04-14", "gpt-4.1", False),
        ("eu.vendor.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929", False),
        ("gpt-4.1", "gpt-4.1-2025-04-14/fp_77", False),
        ("gpt-4.1", "gpt-3.5-turbo-0125", True),
        ("my-deployment", "gpt-4.1-2025-04-14", True),
        ("gpt-4.1", "", False),
    ],
)
def test_a_model_of_quite_another_name_is_seen(asked: str, told: str, expected: bool) -> None:
    """A dated name of the same model is the same; a name without anything of the one asked is worth a look."""
    assert expected == another(asked, told)
