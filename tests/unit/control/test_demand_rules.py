"""Constraints, data classes and contracts of a control document: what is refused, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.control.documents import TEXT, changed, problems
from understudy.control.document import parse, warnings
from understudy.control.load import catalog
from understudy.errors import DocumentError
from understudy.facts import Constraints
from understudy.services.publish_control import diff_against_current, publish, rollback

if TYPE_CHECKING:
    from tests.unit.control.conftest import FakeControlStore

NEW_YEAR = 1_893_456_000.0
"""2030-01-01, 00:00 UTC."""


def under(constraints: str, *, classes: str = "", lead: str = "") -> str:
    text = changed(TEXT, "targets: [lead, second]", f"targets: [lead, second]\n    constraints: {{{constraints}}}")
    text = changed(text, "lead: {", f"lead: {{{lead}, ") if lead else text
    return text + (f"data_classes: {{{classes}}}\n" if classes else "")


MISTAKES = [
    ("jurisdictions: []", "", "routes.chat.constraints.jurisdictions", "an empty list would allow nobody."),
    ("providers: []", "", "routes.chat.constraints.providers", "an empty list would allow nobody."),
    ("models: []", "", "routes.chat.constraints.models", "an empty list would allow nobody."),
    ("providers: [alpah]", "", "routes.chat.constraints.providers[0]", "did you mean `alpha`?"),
    ("denied_providers: [beta]", "", "routes.chat.constraints.denied_providers[0]", "there is no provider `beta`."),
    ("models: [bigg]", "", "routes.chat.constraints.models[0]", "did you mean `big`?"),
    ("providers: [alpha], denied_providers: [alpha]", "", "constraints.denied_providers", "denied_providers denies."),
    ("models: [big], denied_models: [big, small]", "", "constraints.denied_models", "denied_models denies."),
    ("certifications: ['SOC 2']", "", "constraints.certifications[0]", "write a short name such as `SOC2`"),
    (
        "data_classes: [phi]",
        "",
        "routes.chat.constraints.data_classes[0]",
        "say under `data_classes` what `phi` demands",
    ),
    ("data_classes: [ph]", "phi: {}", "routes.chat.constraints.data_classes[0]", "did you mean `phi`?"),
    ("jurisdictions: [us], data_classes: [a]", "a: {jurisdictions: [eu]}", "data_classes", "leave no jurisdictions"),
    (
        "data_classes: [a]",
        "a: {certifications: [SOC2]}",
        "routes.chat.constraints",
        "certifications: SOC2 not declared",
    ),
    ("denied_models: [big, small]", "", "routes.chat.constraints", "denied_models: small is denied"),
    ("", "a: {providers: [x]}", "data_classes.a.providers[0]", "there is no provider `x`."),
    ("", "a: {data_classes: [a]}", "data_classes.a.data_classes", "there is no field `data_classes` here."),
    ("max_retention_days: -1", "", "routes.chat.constraints.max_retention_days", "must be at least 0"),
]


@pytest.mark.parametrize(("constraints", "classes", "place", "said"), MISTAKES)
def test_contradictions_have_a_place_and_a_reason(constraints: str, classes: str, place: str, said: str) -> None:
    """Demands that nobody can meet, that contradict each other or name nothing are refused where they stand."""
    told = problems(under(constraints, classes=classes))
    problem = told[-1]
    assert (True, True) == (place in problem.partition(" (line")[0], said in problem), problem


@pytest.mark.parametrize("day", ["2030-13-01", "2030-02-30", "31.12.2030", "1999-12-31", "20301231", "soon"])
def test_a_day_that_is_none_is_refused(day: str) -> None:
    """The last day of a contract is a day of the calendar, written in one way."""
    (problem,) = problems(changed(TEXT, "lead: {", f"lead: {{data: {{contract: {{expires: '{day}'}}}}, "))
    assert "write a date as year-month-day" in problem


def test_a_class_adds_its_demands_to_a_route() -> None:
    """What the classes of a route demand is part of its constraints, which name the classes."""
    facts = "data: {jurisdictions: [de], retention_days: 0, trains_on_data: false}"
    classes = "a: {jurisdictions: [eea]}, b: {jurisdictions: [eu], no_training: true, denied_models: [small]}"
    text = under("data_classes: [a, b], max_retention_days: 7", classes=classes, lead=facts)
    loaded = catalog(parse(text), 1)
    denied, names = frozenset({"small"}), frozenset({"a", "b"})
    expected = Constraints(frozenset({"eu"}), 7, no_training=True, denied_models=denied, classes=names)
    assert expected == loaded.routes["chat"].constraints
    assert Constraints(frozenset({"eea"})) == loaded.data_classes["a"]


def test_an_older_document_with_empty_lists_demands_nothing() -> None:
    """Documents that were stored when an empty list was the default mean what they meant."""
    document = parse(TEXT)
    document["routes"]["chat"]["constraints"] = {"jurisdictions": [], "max_retention_days": None, "no_training": False}
    del document["data_classes"]
    assert Constraints() == catalog(document, 1).routes["chat"].constraints
    assert [] == warnings(document)


def test_a_demand_that_nobody_knows_is_not_passed_over() -> None:
    """A document of a newer version whose constraints say more is refused, and not served without them."""
    document = parse(TEXT)
    document["routes"]["chat"]["constraints"]["no_fly_list"] = True
    with pytest.raises(DocumentError, match=r"routes\.chat\.constraints\.no_fly_list: this software does not know"):
        catalog(document, 1)


def contract(day: str, text: str = TEXT) -> str:
    return changed(text, "lead: {", f"lead: {{data: {{contract: {{id: C-1, expires: {day}}}}}, ")


def test_a_contract_counts_until_its_last_day_is_over() -> None:
    """The last day is a day in UTC, and the first moment after it is the first at which nobody may be asked."""
    assert NEW_YEAR == catalog(parse(contract("2029-12-31")), 1).targets["lead"].data.contract.expires_at


def test_a_day_in_the_past_is_refused_where_it_is_new(store: FakeControlStore) -> None:
    """Whoever writes down a contract that has ended already is told the place and the day."""
    for attempt in (publish, diff_against_current):
        with pytest.raises(DocumentError) as caught:
            attempt(store, contract("2029-12-31"), now=NEW_YEAR, **({"by": "ann"} if attempt is publish else {}))
        (problem,) = caught.value.problems
        assert ("targets.lead.data.contract.expires (line 7,", "the contract ended with 2029-12-31.") == (
            problem.path.rsplit(" ", 2)[0],
            problem.message,
        )
    assert [] == store.writes


def test_a_contract_that_ended_meanwhile_keeps_nobody_from_publishing(store: FakeControlStore) -> None:
    """What is in force already is a warning, so that another change can be published; a newly written day is not."""
    publish(store, contract("2029-12-31"), now=NEW_YEAR - 1, by="ann")
    later = changed(contract("2029-12-31"), "model: small", "model: smaller")
    done = publish(store, later, now=NEW_YEAR, by="ann")
    reasons = [
        "The route `chat` never uses its target `lead`: contract: its contract has expired.",
        "The contract of the target `lead` ended with 2029-12-31: nobody is sent to it, probes neither.",
    ]
    assert (2, reasons) == (done.version, list(done.warnings[:2]))
    with pytest.raises(DocumentError, match="the contract ended with 2029-12-30"):
        publish(store, contract("2029-12-30"), now=NEW_YEAR, by="ann")
    assert 1 == rollback(store, 1, now=NEW_YEAR, by="ann").version


@pytest.mark.parametrize(("days", "told"), [(31, False), (30, True), (1, True)])
def test_a_contract_that_ends_soon_is_told(days: int, told: bool) -> None:
    """Publishing warns 30 days ahead."""
    expected = ["The contract of the target `lead` ends with 2029-12-31: from then on nobody is sent to it."]
    assert (expected if told else []) == warnings(parse(contract("2029-12-31")), NEW_YEAR - days * 86_400)


def test_a_denied_model_that_nobody_has_is_told() -> None:
    """A slip of the pen would deny nothing; a precaution may stand."""
    (warning,) = warnings(parse(under("denied_models: [bgi]")))
    assert "routes.chat.constraints.denied_models denies `bgi`, and no target has this model or family." == warning
