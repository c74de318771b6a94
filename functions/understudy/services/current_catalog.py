"""The control document in force, compiled once for each version, for the rooms of the control plane."""

from __future__ import annotations

from understudy.catalog import Catalog
from understudy.control.load import catalog
from understudy.store_ports import ControlStore


class CurrentCatalog:
    """Asks for the pointer each time, for the document only when the pointer has moved."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self._kept: Catalog | None = None

    def read(self) -> Catalog | None:
        """None before the first publication.  Raises StoreError."""
        pointer = self._store.pointer()
        if pointer is None:
            return None
        if self._kept is None or self._kept.version != pointer.version:
            version = self._store.version(pointer.version)
            self._kept = catalog(version.document, version.number)
        return self._kept
