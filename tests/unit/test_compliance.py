"""Who may see a request at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import target
from understudy.compliance import Allowed, Denied, judge
from understudy.facts import Constraints, Contract, DataFacts

EU, US = frozenset({"EU"}), frozenset({"US"})
PAPERS = frozenset({"SOC2", "HIPAA-BAA"})
SILENT = DataFacts()
BEST = DataFacts(EU, 0, False)

TABLE = [
    (SILENT, Constraints(), None),
    (BEST, Constraints(EU, 0, True), None),
    (DataFacts(EU), Constraints(EU | US), None),
    (DataFacts(US), Constraints(EU), "jurisdictions: US not allowed"),
    (DataFacts(EU | US), Constraints(EU), "jurisdictions: US not allowed"),
    (SILENT, Constraints(EU | US), "jurisdictions: not declared"),
    (DataFacts(retention_days=30), Constraints(max_retention_days=30), None),
    (
        DataFacts(retention_days=31),
        Constraints(max_retention_days=30),
        "max_retention_days: keeps data for 31 days",
    ),
    (
        SILENT,
        Constraints(max_retention_days=0),
        "max_retention_days: retention not declared",
    ),
    (DataFacts(trains_on_data=False), Constraints(no_training=True), None),
    (
        DataFacts(trains_on_data=True),
        Constraints(no_training=True),
        "no_training: trains on data",
    ),
    (SILENT, Constraints(no_training=True), "no_training: training not declared"),
    (DataFacts(frozenset({"de"})), Constraints(frozenset({"eu"})), None),
    (DataFacts(frozenset({"eu"})), Constraints(frozenset({"de"})), "jurisdictions: eu not allowed"),
    (DataFacts(certifications=PAPERS), Constraints(certifications=PAPERS), None),
    (
        DataFacts(certifications=PAPERS),
        Constraints(certifications=PAPERS | {"PCI"}),
        "certifications: PCI not declared",
    ),
    (SILENT, Constraints(providers=frozenset({"alpha"})), None),
    (SILENT, Constraints(providers=frozenset({"beta"})), "providers: alpha is not among those allowed"),
    (SILENT, Constraints(denied_providers=frozenset({"alpha"})), "denied_providers: alpha is denied"),
    (SILENT, Constraints(models=frozenset({"big"})), None),
    (SILENT, Constraints(models=frozenset()), "models: big is not among those allowed"),
    (SILENT, Constraints(denied_models=frozenset({"big"})), "denied_models: big is denied"),
    (
        DataFacts(family="llama"),
        Constraints(denied_models=frozenset({"llama"})),
        "denied_models: the family llama is denied",
    ),
    (DataFacts(contract=Contract("C-1", 0.5)), Constraints(), None),
    (DataFacts(contract=Contract("C-1", 0.0)), Constraints(), "contract: its contract has expired"),
]


@pytest.mark.parametrize(("facts", "constraints", "denial"), TABLE)
def test_judge(facts: DataFacts, constraints: Constraints, denial: str | None) -> None:
    """A target passes only what it declares; a denial names its rule and the fact."""
    verdict = judge(target("lead", data=facts), constraints, 0.0)
    assert denial == (f"{verdict.rule}: {verdict.reason}" if isinstance(verdict, Denied) else None)


PLACES = st.frozensets(st.sampled_from(["EU", "US", "CH"]))
FACTS = st.builds(DataFacts, PLACES, st.none() | st.integers(0, 40), st.none() | st.booleans())
CONSTRAINTS = st.builds(Constraints, st.none() | PLACES, st.none() | st.integers(0, 40), st.booleans())


@given(FACTS, CONSTRAINTS, CONSTRAINTS)
def test_more_demands_never_allow_more(facts: DataFacts, some: Constraints, more: Constraints) -> None:
    """A target denied under some constraints is denied under the same ones with others added."""
    both = some.and_(more)
    if isinstance(judge(target("lead", data=facts), some, 0.0), Denied):
        assert not isinstance(judge(target("lead", data=facts), both, 0.0), Allowed)


@given(CONSTRAINTS)
def test_silence_never_passes_a_demand(constraints: Constraints) -> None:
    """A target that declares nothing is allowed only where nothing is demanded."""
    assert (constraints == Constraints()) == isinstance(judge(target("lead"), constraints, 0.0), Allowed)
