"""Which jurisdictions lie inside another one."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from understudy.jurisdictions import FILE, meet, outside, within

PLACES = ("de", "el", "gr", "gb", "uk", "no", "us", "eu", "eea", "apac", "jp", "global", "mars")


@pytest.mark.parametrize(
    ("place", "wide", "inside"),
    [
        ("de", "eu", True),
        ("eu", "de", False),
        ("de", "eea", True),
        ("no", "eea", True),
        ("no", "eu", False),
        ("gb", "eu", False),
        ("gb", "uk", True),
        ("el", "eu", True),
        ("jp", "apac", True),
        ("us", "global", True),
        ("global", "us", False),
        ("mars", "mars", True),
        ("mars", "global", True),
        ("us", "eu", False),
    ],
)
def test_what_lies_in_what(place: str, wide: str, inside: bool) -> None:
    """A country lies in its union and the union not in it, at any depth; an unknown code lies in itself."""
    assert inside == within(place, wide)


GROUPS = st.frozensets(st.sampled_from(PLACES), max_size=4)


@given(GROUPS, GROUPS, GROUPS)
def test_what_both_allow_is_what_each_of_them_allows(
    places: frozenset[str], one: frozenset[str], two: frozenset[str]
) -> None:
    """Somebody stays inside the meeting of two lists exactly where they stay inside each of them."""
    assert bool(outside(places, one) or outside(places, two)) == bool(outside(places, meet(one, two)))


def test_the_table_is_data_with_source_and_date() -> None:
    """JSON that YAML reads alike, with the 27 members of the union, where it was read and when."""
    text = FILE.read_text()
    table = json.loads(text)
    assert table == yaml.safe_load(text)
    assert (27, True, True) == (len(table["contains"]["eu"]), bool(table["source"]), bool(table["date"]))
