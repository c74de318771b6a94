"""Publish, roll back and compare control documents.

A version is written first and put in force last, by one conditional pointer move; a failure in between leaves
a version that nobody reads and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.control.diff import Change, diff
from understudy.control.document import parse, warnings
from understudy.control.load import catalog
from understudy.control.price_book import PriceBook
from understudy.control.price_fill import filled
from understudy.control.versions import Pointer, Version, digest
from understudy.errors import Conflict, DocumentError, Problem

if TYPE_CHECKING:
    from understudy.ports import ControlStore


@dataclass(frozen=True, slots=True)
class Published:
    """What is in force now.  `moved` is False where it was in force already, and then nothing was written."""

    version: int
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    moved: bool = True

    def __str__(self) -> str:
        if not self.moved:
            return f"Nothing to publish: version {self.version} is in force and says the same."
        return "\n".join([f"Version {self.version} is in force.", *map(str, self.changes)])


@dataclass(frozen=True, slots=True)
class Difference:
    """What publishing a text would change.  `current` is the version in force, None before the first one."""

    current: int | None
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def publish(
    store: ControlStore,
    text: str,
    *,
    now: float,
    by: str,
    note: str = "",
    filename: str = "<document>",
    book: PriceBook | None = None,
) -> Published:
    """Validate YAML `text`, store it as the next version and put it in force; prices that it lacks are those of `book`.

    A text that differs from the version in force only in comments or layout publishes nothing.  `now` is in
    seconds since the epoch.  Raises DocumentError with every mistake, Conflict where somebody else published
    meanwhile, StoreError; in each case the version that was in force still is.
    """
    pointer, current = _current(store)
    document, remarks = _read(text, filename, current, book, now)
    mark = digest(document)
    if current is not None and current.digest == mark:
        return Published(current.number, (), remarks, moved=False)
    changes = diff(current.document if current else None, document)
    newest = next(iter(store.versions(1)), None)
    number = newest.number + 1 if newest else 1
    # Compiled once here, so that what the data plane could not load is never put in force.
    catalog(document, number)
    try:
        store.add_version(Version(number, text, document, mark, now, by, note))
    except Conflict as error:
        raise _meanwhile(number) from error
    _move(store, number, pointer, now=now, by=by)
    return Published(number, tuple(changes), remarks)


def rollback(store: ControlStore, number: int | None = None, *, now: float, by: str) -> Published:
    """Put a version in force again: `number`, or the one numbered next below the version in force.

    Only the pointer moves.  Raises DocumentError for a version that does not exist or cannot be loaded,
    Conflict where somebody else published meanwhile, StoreError; in each case the version that was in force
    still is.
    """
    pointer, current = _current(store)
    if pointer is None or current is None:
        raise _refused("rollback", "nothing has been published yet.", "publish a control document first.")
    wanted = pointer.version - 1 if number is None else number
    newest = next(iter(store.versions(1)), None)
    last = newest.number if newest else 0
    if number is None and wanted < 1:
        raise _refused("rollback", f"there is no version before {pointer.version}.", "name a version.")
    if not 1 <= wanted <= last:
        raise _refused(f"version {wanted}", "was never published.", f"choose a version from 1 to {last}.")
    target = store.version(wanted)
    catalog(target.document, wanted)
    if wanted == pointer.version:
        return Published(wanted, (), tuple(warnings(target.document, now)), moved=False)
    _move(store, wanted, pointer, now=now, by=by)
    changes = tuple(diff(current.document, target.document))
    return Published(wanted, changes, tuple(warnings(target.document, now)))


def diff_against_current(
    store: ControlStore,
    text: str,
    *,
    filename: str = "<document>",
    now: float,
    book: PriceBook | None = None,
) -> Difference:
    """What publishing YAML `text` would change; writes nothing.  `now` (epoch seconds): dates are judged as publishing
    would.  Raises DocumentError, StoreError."""
    _, current = _current(store)
    document, remarks = _read(text, filename, current, book, now)
    changes = diff(current.document if current else None, document)
    return Difference(current.number if current else None, tuple(changes), remarks)


def _read(
    text: str, filename: str, current: Version | None, book: PriceBook | None, now: float
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document that a text means, prices written out, and what is to be said of it."""
    before = current.document if current else None
    document, remarks = filled(parse(text, filename=filename, now=now, in_force=before), before, book, now)
    return document, (*warnings(document, now), *remarks)


def _current(store: ControlStore) -> tuple[Pointer | None, Version | None]:
    pointer = store.pointer()
    return pointer, None if pointer is None else store.version(pointer.version)


def _move(store: ControlStore, number: int, seen: Pointer | None, *, now: float, by: str) -> None:
    rev = seen.rev + 1 if seen else 1
    try:
        store.move_pointer(Pointer(version=number, rev=rev, moved_at=now, moved_by=by), seen)
    except Conflict as error:
        winner = store.pointer()
        raise _meanwhile(winner.version if winner else number) from error


def _meanwhile(number: int) -> Conflict:
    return Conflict(f"somebody published version {number} meanwhile; run diff again")


def _refused(path: str, message: str, fix: str) -> DocumentError:
    return DocumentError([Problem(path, message, fix)])
