"""A guard for tests that are not about finding: what is personal is easy to see."""

from __future__ import annotations

import re
from collections.abc import Set

from understudy.ports import PiiFinding

_SEEN = re.compile(r"(?P<email>\w+@\w+\.example)|(?P<credit_card>\b4\d{15}\b)")


class PlainGuard:
    """Finds e-mail addresses of example domains and numbers of sixteen digits that begin with 4."""

    def find(self, text: str, kinds: Set[str], countries: Set[str]) -> list[PiiFinding]:
        found = ((match.lastgroup or "", *match.span()) for match in _SEEN.finditer(text))
        return [PiiFinding(kind, start, end) for kind, start, end in found if kind in kinds]
