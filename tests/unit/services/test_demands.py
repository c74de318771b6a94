"""What a request demands: its header, its key, its route and the classes of its data."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import target
from understudy.catalog import Candidate, Catalog, Route
from understudy.compliance import Denied, judge
from understudy.errors import InvalidRequest, NoCompliantTarget
from understudy.facts import NO_CONSTRAINTS, Constraints, DataFacts
from understudy.keys import ClientKey
from understudy.services.demands import EXAMPLE, HEADER, asked, in_force, read

EU, US = frozenset({"eu"}), frozenset({"us"})
LEAD = target("lead", data=DataFacts(family="gpt"))
PHI = Constraints(max_retention_days=0, certifications=frozenset({"HIPAA-BAA"}))


def route(constraints: Constraints = NO_CONSTRAINTS) -> Route:
    return Route("chat", (Candidate(LEAD, 1),), constraints=constraints)


def catalog(**classes: Constraints) -> Catalog:
    return Catalog(1, {"lead": LEAD}, {"chat": route()}, data_classes=classes)


def client(constraints: Constraints = NO_CONSTRAINTS) -> ClientKey:
    return ClientKey("h", "app", 0.0, constraints=constraints)


READ = [
    ("jurisdictions=eu", Constraints(EU)),
    ("jurisdictions = EU , us ;", Constraints(EU | US)),
    ("max_retention_days=0; no_training", Constraints(None, 0, no_training=True)),
    ("no_training=true", Constraints(no_training=True)),
    ("certifications=soc2,ISO27001", Constraints(certifications=frozenset({"SOC2", "ISO27001"}))),
    ("providers=a,b; denied_models=x:1", Constraints(providers=frozenset("ab"), denied_models=frozenset({"x:1"}))),
    ("models=m; denied_providers=a", Constraints(models=frozenset("m"), denied_providers=frozenset("a"))),
    ("pii=redact", Constraints(pii="redact")),
    ("data_class=phi", Constraints(classes=frozenset({"phi"}))),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_header_is_read(text: str, expected: Constraints) -> None:
    """Every word of the header becomes its demand."""
    assert expected == read(text)


WRONG = [
    ("", "demands nothing"),
    (";", "demands nothing"),
    ("region=eu", "unknown word `region`: the words are jurisdictions,"),
    ("eu", "unknown word `eu`"),
    ("=eu", "unknown word ``"),
    ("no_training=false", "`no_training=false`, and can only tighten: write `no_training`, or leave it out"),
    ("pii=off", "`pii=off`, and can only tighten: write `pii` with one of detect, redact, block"),
    ("no_training; no_training", "`no_training` twice"),
    ("max_retention_days", "without a number of days: write `max_retention_days=0`"),
    ("max_retention_days=none", "without a number of days"),
    ("max_retention_days=-1", "without a number of days"),
    ("jurisdictions=", "`jurisdictions` with the entry ``: write `jurisdictions=eu`"),
    ("jurisdictions=e_u", "the jurisdiction `e_u`: write short codes"),
    ("certifications=A,,B", "`certifications` with the entry ``"),
    ("models=a, no_training", "`models` with the entry `no_training`"),
    ("jurisdictions=eu, max_retention_days=0", "`jurisdictions` with the entry `max_retention_days=0`"),
    ("certifications=" + "A" * 2000, "longer than 2000 characters"),
    ("data_class=secret", "unknown data class `secret`: there are phi"),
    ("denied_providers=alhpa", "denies the provider `alhpa`, which is not here: there are alpha"),
    ("denied_models=hug", "denies the model `hug`, which is not here: there are big, gpt"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_a_wrong_header_says_what_to_write(text: str, why: str) -> None:
    """What is unknown, malformed or would loosen is refused by the header's name with what to write instead."""
    with pytest.raises(InvalidRequest) as caught:
        asked(text, catalog(phi=PHI))
    assert (HEADER, True) == (caught.value.param, why in caught.value.message), caught.value.message


def test_the_example_in_our_own_words_is_right() -> None:
    """What the errors tell callers to write is read without one."""
    assert {"eu"} == asked(EXAMPLE, catalog(phi=PHI)).jurisdictions


def test_everything_that_demands_something_is_in_force() -> None:
    """Route, key, header and the classes that any of them names are added up."""
    held = in_force(
        route(Constraints(EU, 30)),
        client(Constraints(no_training=True, classes=frozenset({"phi"}))),
        "jurisdictions=de; certifications=SOC2; data_class=pii",
        catalog(phi=PHI, pii=Constraints(denied_models=frozenset({"x"}), pii="redact")),
    )
    papers, classes = frozenset({"HIPAA-BAA", "SOC2"}), frozenset({"phi", "pii"})
    expected = Constraints(frozenset({"de"}), 0, True, papers, denied_models=frozenset({"x"}), classes=classes)
    assert replace(expected, pii="redact") == held


def test_a_route_alone_costs_nothing() -> None:
    """Without a key's or a header's demands the route's own are those in force."""
    own = Constraints(EU)
    assert own is in_force(route(own), client(), None, catalog())


def test_a_key_whose_class_is_not_defined_is_served_by_nobody() -> None:
    """What a class demands that the document does not know nobody can say, so nobody meets it."""
    with pytest.raises(NoCompliantTarget) as caught:
        in_force(route(), client(Constraints(classes=frozenset({"phi"}))), None, catalog())
    assert ["denied by data_class: the key's class phi is not defined in the control document"] == [
        cause.reason for cause in caught.value.causes
    ]


PLACES = st.none() | st.frozensets(st.sampled_from(["de", "eu", "us", "global"]), min_size=1)
NAMES = st.frozensets(st.sampled_from(["A", "B"]))
DEMANDS = st.builds(Constraints, PLACES, st.none() | st.integers(0, 9), st.booleans(), NAMES)
FACTS = st.builds(
    DataFacts, st.frozensets(st.sampled_from(["de", "eu", "us"])), st.none() | st.integers(0, 9),
    st.none() | st.booleans(), NAMES,
)  # fmt: skip
HEADERS = st.sampled_from([None, *(text for text, _ in READ if "data_class" not in text and "denied" not in text)])


@given(DEMANDS, DEMANDS, HEADERS, FACTS)
def test_nobody_loosens_what_another_demands(
    own: Constraints, keys: Constraints, text: str | None, facts: DataFacts
) -> None:
    """Whoever is denied by the route, by the key or by the header alone is denied by all together."""
    one = target("lead", data=facts)
    each = [own, keys, *([read(text)] if text else [])]
    together = in_force(route(own), client(keys), text, catalog())
    alone = any(isinstance(judge(one, demands, 0.0), Denied) for demands in each)
    assert alone == isinstance(judge(one, together, 0.0), Denied)
