"""The first control document: put in force while the stack is deployed, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable

from understudy.ports import Clock
from understudy.services.publish_control import publish
from understudy.store_ports import ControlStore


class ManageRouter:
    """`read` gives the text behind an `s3://BUCKET/KEY` address."""

    def __init__(self, store: ControlStore, read: Callable[[str], str], *, clock: Clock) -> None:
        self._store = store
        self._read = read
        self._clock = clock

    def first_document(self, address: str) -> str:
        """Publish the document behind `address` where none is in force yet; says what is in force now.

        A later deployment must not undo what was published since, so it changes nothing then.  Raises DocumentError,
        StoreError, Conflict.
        """
        pointer = self._store.pointer()
        if pointer is not None:
            return f"Version {pointer.version} is in force already; `understudy publish` changes it."
        text = self._read(address)
        done = publish(self._store, text, now=self._clock(), by="first deployment", filename=address)
        # What is odd is part of the answer: nobody reads anything else of a deployment.
        return "\n".join([str(done), *(f"warning: {remark}" for remark in done.warnings)])
