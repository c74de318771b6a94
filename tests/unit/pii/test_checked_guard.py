"""What the checked guard finds, on texts whose contents are known."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.benchmarks.pii import judged, labelled
from understudy.catalog import PII_KINDS
from understudy.pii.national import IDS

pytest.importorskip("phonenumbers", reason="the extra `pii` is not installed")
pytest.importorskip("stdnum", reason="the extra `pii` is not installed")


@pytest.fixture(scope="module")
def guard() -> Any:
    from understudy.pii.checked import load

    return load()


def found(guard: Any, text: str, *countries: str, kinds: frozenset[str] = PII_KINDS) -> set[tuple[str, str]]:
    return {(one.kind, text[one.start : one.end]) for one in guard.find(text, kinds, frozenset(countries))}


def test_the_labelled_set_is_found_but_for_what_is_known_to_be_missed(guard: Any) -> None:
    """Nothing is found that is not there; what is missed is labelled so, and still is."""
    rows = labelled()
    known = judged(guard, [row for row in rows if row.get("missed")])
    others = judged(guard, [row for row in rows if not row.get("missed")])
    assert [] == others.wrong
    assert (sum(known.missed.values()), 0) == (len(known.wrong), sum(known.right.values()))


def test_every_kind_has_labels() -> None:
    """A figure for a kind without labels would say nothing."""
    assert set() == {kind for kind in PII_KINDS if sum(len(row.get(kind, ())) for row in labelled()) < 5}


@pytest.mark.parametrize("kind", sorted(PII_KINDS))
def test_only_the_kinds_that_are_asked_for_are_found(guard: Any, kind: str) -> None:
    """Whatever else is in the text."""
    text = "ann@example.com 4111 1111 1111 1111 DE89 3704 0044 0532 0130 00 tel +49 30 901820 93.184.216.34 536-90-4399"
    assert {kind} == {one.kind for one in guard.find(text, frozenset({kind}), frozenset())}


def test_digits_of_any_script_are_digits(guard: Any) -> None:
    """Full-width and Arabic-Indic ones check like those of ASCII."""
    for zero in (0xFF10, 0x660):
        card = "".join(chr(zero + int(digit)) for digit in "4111111111111111")
        assert {("credit_card", card)} == found(guard, f"card {card}")


def test_every_national_id_has_its_check(guard: Any) -> None:
    """Each row's module is there, and a wrong number of its shape is none."""
    assert len(IDS) == len(guard._ids)
    assert [] == [one.module for one, checks in guard._ids if checks("0")]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ann,4111111111111111,100", "credit_card"),
        ("7,536-22-1234,1985", "national_id"),
        ("卡号4111111111111111", "credit_card"),
        ("身份证号码11010519491231002X", "national_id"),
        ("-ann@example.com", "email"),
        ("Email:-ann@example.com", "email"),
        ("...ann@example.com", "email"),
        ("_ann@example.com_", "email"),
        ("ann@example.com-Bob", "email"),
    ],
)
def test_what_stands_right_beside_it_hides_nothing(guard: Any, text: str, kind: str) -> None:
    """Rows of a table, marks of a text, and scripts without spaces."""
    assert [kind] == [one.kind for one in guard.find(text, PII_KINDS, frozenset())]


@pytest.mark.parametrize("text", ["1 2 ", "a@", "DE89 ", ":1", "+1 2", "4111-", "1.2.", "A1", "x@x.", "'@'"])
def test_hostile_texts_take_linear_time(guard: Any, text: str) -> None:
    """Four times the length takes no more than about four times as long."""

    def seconds(length: int) -> float:
        whole, times = (text * length)[:length], []
        for _ in range(3):
            began = time.process_time()
            guard.find(whole, PII_KINDS, frozenset())
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(8_000) < 12 * seconds(2_000) + 0.02
