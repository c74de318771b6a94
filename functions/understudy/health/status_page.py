"""What a provider's own status page says.  It corroborates what was measured, and is never a gate: such pages are
edited by people, late, and say nothing of one model or one account.

Source: the public API of Atlassian Statuspage, `/api/v2/summary.json` and `/api/v2/status.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

Indicator = Literal["none", "minor", "major", "critical", "maintenance"]
_KNOWN: frozenset[Indicator] = frozenset(get_args(Indicator))
LONGEST = 200
"""Characters of a description that are kept: it is somebody else's text."""
MOST = 1_000_000
"""Characters of a page that is read."""


@dataclass(frozen=True, slots=True)
class Corroboration:
    """`indicator` "none" says that all is well; `at` is when the page was last changed, in epoch seconds."""

    indicator: Indicator
    description: str
    at: float

    @property
    def trouble(self) -> bool:
        """Whether the provider itself says that something is wrong."""
        return self.indicator in ("minor", "major", "critical")


def corroboration(body: str | bytes, now: float) -> Corroboration:
    """Read a status page.  `now` stands for a time of change that is missing or in the future.

    Raises ValueError where it cannot be read, which says nothing of the provider.
    """
    if len(body) > MOST:
        raise ValueError(f"the status page is larger than {MOST} bytes")
    try:
        page: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the status page is not JSON") from error
    status = page.get("status") if isinstance(page, dict) else None
    named = status.get("indicator") if isinstance(status, dict) else None
    indicator = next((known for known in _KNOWN if known == named), None)
    if not isinstance(status, dict) or indicator is None:
        raise ValueError("the status page has no `status.indicator` that is known")
    said = status.get("description")
    description = "".join(c if c.isprintable() else " " for c in said[:LONGEST]) if isinstance(said, str) else ""
    return Corroboration(indicator, description, min(now, _changed_at(page.get("page"), now)))


def _changed_at(page: Any, now: float) -> float:
    text = page.get("updated_at") if isinstance(page, dict) else None
    if not isinstance(text, str):
        return now
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return now
