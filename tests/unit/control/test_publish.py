"""Publishing, rolling back and comparing, and what stays as it is when something goes wrong."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.unit.control.documents import TEXT, changed
from understudy.control.document import parse
from understudy.control.versions import Pointer, Version, digest
from understudy.errors import Conflict, DocumentError, StoreError
from understudy.services.publish_control import diff_against_current, publish, rollback

if TYPE_CHECKING:
    from tests.unit.control.conftest import FakeControlStore

BIGGER = changed(TEXT, "model: big", "model: bigger")
BIGGEST = changed(TEXT, "model: big", "model: biggest")


def test_the_first_document_becomes_version_one(store: FakeControlStore) -> None:
    """The text, its canonical form, its digest and who published it are kept, and the pointer shows it."""
    published = publish(store, TEXT, now=100.0, by="ann", note="first")
    document = parse(TEXT)
    expected = Version(1, TEXT, document, digest(document), 100.0, "ann", "first")
    assert expected == store.kept[1]
    assert Pointer(1, 1, 100.0, "ann") == store.current
    expected_outcome = (1, True)
    assert expected_outcome == (published.version, published.moved)


def test_the_next_document_says_what_changed(store: FakeControlStore) -> None:
    """Publishing tells the changes against what was in force, and writes the version before the pointer."""
    publish(store, TEXT, now=100.0, by="ann")
    published = publish(store, BIGGER, now=200.0, by="bob")
    expected = 'Version 2 is in force.\nchanged targets.lead.model: "big" -> "bigger"'
    assert expected == str(published)
    assert Pointer(2, 2, 200.0, "bob") == store.current
    expected_writes = ["version 1", "pointer 1", "version 2", "pointer 2"]
    assert expected_writes == store.writes


def test_the_same_document_publishes_nothing(store: FakeControlStore) -> None:
    """Comments and layout are no change: nothing is written, and the outcome says so."""
    publish(store, TEXT, now=100.0, by="ann")
    again = publish(store, "# a comment\n" + TEXT, now=200.0, by="bob")
    expected = "Nothing to publish: version 1 is in force and says the same."
    assert expected == str(again)
    expected_writes = ["version 1", "pointer 1"]
    assert expected_writes == store.writes


def test_a_wrong_document_changes_nothing(store: FakeControlStore) -> None:
    """A document that is refused leaves neither a version nor a moved pointer."""
    publish(store, TEXT, now=100.0, by="ann")
    before = (dict(store.kept), store.current)
    with pytest.raises(DocumentError):
        publish(store, changed(TEXT, "[lead", "[laed"), now=200.0, by="ann")
    assert before == (store.kept, store.current)


def test_warnings_come_with_the_outcome(store: FakeControlStore) -> None:
    """What is odd but allowed is published and told."""
    published = publish(store, changed(TEXT, "[lead, second]", "[lead]"), now=100.0, by="ann")
    expected = ("No route uses the target `second`.",)
    assert expected == published.warnings[:1]
    assert expected == diff_against_current(store, TEXT.replace("[lead, second]", "[lead]"), now=100.0).warnings[:1]


@pytest.mark.parametrize("moment", ["before_add", "before_move"])
def test_a_rival_publication_wins_and_is_named(store: FakeControlStore, moment: str) -> None:
    """Whoever comes second is told which version came between, and does not undo it."""
    publish(store, TEXT, now=100.0, by="ann")

    def rival() -> None:
        store.before_add = store.before_move = lambda: None
        publish(store, BIGGER, now=150.0, by="bob")

    setattr(store, moment, rival)
    with pytest.raises(Conflict) as caught:
        publish(store, BIGGEST, now=200.0, by="ann")
    assert store.current is not None
    winner = store.current.version
    expected = f"somebody published version {winner} meanwhile; run diff again"
    assert expected == str(caught.value)
    assert parse(BIGGER) == store.version(winner).document


def test_a_store_that_fails_half_way_changes_nothing(store: FakeControlStore) -> None:
    """When the pointer cannot be moved, what was in force still is, and publishing again succeeds."""
    publish(store, TEXT, now=100.0, by="ann")
    before = store.current

    def fail() -> None:
        raise StoreError("down")

    store.before_move = fail
    with pytest.raises(StoreError):
        publish(store, BIGGER, now=200.0, by="ann")
    assert before == store.current
    store.before_move = lambda: None
    expected = 3
    assert expected == publish(store, BIGGER, now=300.0, by="ann").version


def test_rolling_back_moves_only_the_pointer(store: FakeControlStore) -> None:
    """The version before is in force again at once; no version is written or lost."""
    publish(store, TEXT, now=100.0, by="ann")
    publish(store, BIGGER, now=200.0, by="ann")
    back = rollback(store, now=300.0, by="bob")
    expected = 'Version 1 is in force.\nchanged targets.lead.model: "bigger" -> "big"'
    assert expected == str(back)
    assert Pointer(1, 3, 300.0, "bob") == store.current
    versions = [1, 2]
    assert versions == sorted(store.kept)


def test_a_number_can_be_named_and_new_versions_go_on_counting(store: FakeControlStore) -> None:
    """After a rollback the next publication takes a new number, and any version can be put in force again."""
    for now, text in enumerate([TEXT, BIGGER, BIGGEST]):
        publish(store, text, now=float(now), by="ann")
    rollback(store, 1, now=10.0, by="ann")
    expected = 4
    assert expected == publish(store, BIGGER, now=11.0, by="ann").version
    expected = 3
    assert expected == rollback(store, 3, now=12.0, by="ann").version
    assert not rollback(store, 3, now=13.0, by="ann").moved


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (9, "version 9: was never published. Fix: choose a version from 1 to 1."),
        (0, "version 0: was never published. Fix: choose a version from 1 to 1."),
        (None, "rollback: there is no version before 1. Fix: name a version."),
    ],
)
def test_rolling_back_to_nothing_is_refused(store: FakeControlStore, number: int | None, expected: str) -> None:
    """A version that does not exist is refused, and the versions that do are named."""
    publish(store, TEXT, now=100.0, by="ann")
    with pytest.raises(DocumentError) as caught:
        rollback(store, number, now=200.0, by="ann")
    assert expected == str(caught.value)


def test_rolling_back_needs_a_publication(store: FakeControlStore) -> None:
    """Before the first publication there is nothing to roll back."""
    with pytest.raises(DocumentError) as caught:
        rollback(store, now=100.0, by="ann")
    expected = "rollback: nothing has been published yet. Fix: publish a control document first."
    assert expected == str(caught.value)


def test_a_version_that_cannot_be_loaded_is_not_put_in_force(store: FakeControlStore) -> None:
    """Rolling back to a damaged version is refused before the pointer moves."""
    publish(store, TEXT, now=100.0, by="ann")
    publish(store, BIGGER, now=200.0, by="ann")
    store.kept[1] = dataclasses.replace(store.kept[1], document={"schema": 1})
    before = store.current
    with pytest.raises(DocumentError):
        rollback(store, now=300.0, by="ann")
    assert before == store.current


def test_a_rollback_that_is_overtaken_is_refused(store: FakeControlStore) -> None:
    """A rollback does not undo a publication its author has not seen."""
    publish(store, TEXT, now=100.0, by="ann")
    publish(store, BIGGER, now=200.0, by="ann")

    def rival() -> None:
        store.before_move = lambda: None
        publish(store, BIGGEST, now=250.0, by="bob")

    store.before_move = rival
    with pytest.raises(Conflict, match="somebody published version 3 meanwhile; run diff again"):
        rollback(store, now=300.0, by="ann")


def test_comparing_writes_nothing(store: FakeControlStore) -> None:
    """The difference names the version in force and the changes, and leaves the store as it is."""
    first = diff_against_current(store, TEXT, now=100.0)
    assert first.current is None
    assert first.changes
    publish(store, TEXT, now=100.0, by="ann")
    writes = list(store.writes)
    told = diff_against_current(store, BIGGER, now=200.0)
    expected = (1, ['changed targets.lead.model: "big" -> "bigger"'])
    assert expected == (told.current, [str(change) for change in told.changes])
    assert writes == store.writes
