"""A control change: who changed what of the router, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.audit.chain import moment

Action = Literal[
    "publish",
    "rollback",
    "key_created",
    "key_rotated",
    "key_revoked",
    "key_changed",
    "drain",
    "quarantine",
    "release",
    "accept",
    "acknowledge",
]
LONGEST = 500
"""Characters of one text of a change."""
MOST = 100
"""Entries of one list of a change; how many there were stands beside it."""


@dataclass(frozen=True, slots=True)
class ControlChange:
    """`subject` is what was changed: a target, a version of the document, the first characters of a key's hash.

    `by` is the name that the operator's machine gives; `details` are plain data without floats.
    """

    at: float
    by: str
    action: Action
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As it stands in the chain."""
        told = {name: bounded(value) for name, value in self.details.items()}
        plain = {"kind": "change", "at": moment(self.at), "by": self.by[:LONGEST], "action": self.action}
        return plain | {"subject": self.subject[:LONGEST], "details": told}


def bounded(value: Any) -> Any:
    """Plain data no longer than a record may have it."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    if isinstance(value, Mapping):
        return {str(name): bounded(inner) for name, inner in list(value.items())[:MOST]}
    if isinstance(value, list | tuple | set | frozenset):
        listed = [bounded(inner) for inner in list(value)[:MOST]]
        return listed if len(value) <= MOST else [*listed, f"… {len(value)} in all"]
    return value if value is None or isinstance(value, bool | int) else str(value)
