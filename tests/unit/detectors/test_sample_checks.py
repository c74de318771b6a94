"""Values that may have come from anywhere: which are refused, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from understudy.detectors.checks import problem
from understudy.detectors.sample import Sample, sample_from

NOW = 1_800_000_000.0
GOOD = Sample("quality", 0.5, NOW, "core", 3, 7)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "mood"}, "kind 'mood': no such kind"),
    ({"kind": None}, "kind None: no such kind"),
    ({"kind": ["quality"]}, "kind ['quality']: no such kind"),
    ({"at": float("nan")}, "at nan: not a time"),
    ({"at": None}, "at None: not a time"),
    ({"at": NOW + 900}, "at 1800000900: 900 s in the future"),
    ({"stream": "a#b"}, "stream 'a#b': not the name of a stream"),
    ({"stream": 4}, "stream 4: not the name of a stream"),
    ({"item": -2}, "item -2: not the number of an item"),
    ({"item": 1.5}, "item 1.5: not the number of an item"),
    ({"item": True}, "item True: not the number of an item"),
    ({"run": "4"}, "run '4': not the number of a run"),
    ({"value": float("nan")}, "value nan: quality is a number"),
    ({"value": float("inf")}, "value inf: quality is a number"),
    ({"value": "0.5"}, "value '0.5': quality is a number"),
    ({"value": True}, "value True: quality is a number"),
    ({"value": 1.5}, "value 1.5: quality is between 0 and 1"),
    ({"kind": "latency", "value": -1.0}, "value -1.0: latency is not negative"),
    ({"kind": "logprob", "value": 0.5}, "value 0.5: logprob is the logarithm of a probability, 0 or less"),
    ({"kind": "logprob", "value": float("-inf")}, "value -inf: logprob is a number"),
    ({"kind": "version", "value": 4.0}, "value 4.0: version is a text of up to 300 characters"),
    ({"kind": "fingerprint", "value": "x" * 301}, "value 'xxx"),
]


@pytest.mark.parametrize(("changes", "why"), WRONG)
def test_a_wrong_value_is_refused_with_its_place_and_reason(changes: dict[str, Any], why: str) -> None:
    """The field, what stood there, and what is wanted."""
    found = problem(replace(GOOD, **changes), NOW)
    assert found is not None
    assert (why, True) == (found[: len(why)], len(found) < 150)


@pytest.mark.parametrize("changes", [
    {}, {"at": NOW + 299}, {"at": NOW - 1e6}, {"value": 1}, {"item": -1, "stream": ""}, {"run": -4},
    {"kind": "version", "value": ""}, {"kind": "tokens", "value": 12}, {"kind": "cost", "value": 0.0},
    {"kind": "logprob", "value": -3.5}, {"kind": "logprob", "value": 0},
])  # fmt: skip
def test_a_right_value_passes(changes: dict[str, Any]) -> None:
    """Whole numbers are numbers, old values are right, and a bought run has a negative number."""
    assert None is problem(replace(GOOD, **changes), NOW)


@pytest.mark.parametrize("plain", [[], ["quality"], ["quality", 1.0], "text", None, {"kind": "quality"}])
def test_what_is_no_sample_is_read_and_refused(plain: Any) -> None:
    """A broken entry is an entry with something wrong, not the end of its observation."""
    assert None is not problem(sample_from(plain), NOW)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    """A longer list is a sample of a newer version."""
    whole = [getattr(GOOD, name) for name in Sample.__slots__]
    assert GOOD == sample_from([*whole, "mood"])
