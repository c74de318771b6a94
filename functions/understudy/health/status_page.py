"""What a provider's own status page says.  It corroborates what was measured, and is never a gate: such pages are
edited by people, late, and say nothing of one model or one account.

Source: the public API of Atlassian Statuspage, `/api/v2/summary.json` and `/api/v2/status.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

Indicator = Literal["none", "minor", "major", "critical", "maintenance"]
_KNOWN: frozenset[Indicator] = frozenset(get_args(Indicator))
LONGEST = 200
"""Characters of a description that are kept: it is somebody else's text."""
MOST = 1_000_000
"""Bytes of a page that are read."""
EVERY = 300.0
"""Seconds between two times that a provider's page is asked for, at least."""
FRESH = 3 * EVERY
"""Seconds for which what was read is repeated: an older word says nothing of trouble that is here now."""
UNREAD = "could not be read"


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

    @property
    def words(self) -> str:
        """What a sentence that begins with "its own status page" goes on with."""
        if self.indicator == "none":
            return "says that all is well"
        changed = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        said = f"{self.description} ({self.indicator})" if self.description.strip() else self.indicator
        return f"says: {said}, changed {changed}"


@dataclass(frozen=True, slots=True)
class StatusPage:
    """What is known of a provider's status page: when it was last asked for and read (epoch seconds, 0 for never), at
    which address, and what it said; None where it could not be read."""

    provider: str
    url: str = ""
    asked_at: float = 0.0
    read_at: float = 0.0
    said: Corroboration | None = None
    rev: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision."""
        return {name: value for name, value in asdict(self).items() if name != "rev"}

    def words(self, url: str, now: float) -> str:
        """What is repeated now of the page at `url`, after "its own status page"; empty where nothing is known."""
        if self.url != url or not self.read_at or now - self.read_at > FRESH:
            return ""
        return self.said.words if self.said is not None else UNREAD

    def due(self, url: str, now: float) -> bool:
        """Whether it may be asked for: whoever has asked may still be reading, or have failed."""
        # A clock that is a little behind must not ask again.
        return self.url != url or abs(now - self.asked_at) >= EVERY


def status_page_from(plain: Mapping[str, Any], rev: int) -> StatusPage:
    """What `plain()` wrote; fields of a newer version are ignored."""
    known = {name: plain[name] for name in StatusPage.__slots__ if name in plain}
    said = known.get("said")
    kept = {name: said[name] for name in Corroboration.__slots__} if said else None
    return StatusPage(**known | {"said": Corroboration(**kept) if kept else None, "rev": rev})


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
        return max(0.0, (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        return now
