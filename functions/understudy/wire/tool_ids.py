"""Tool-call ids that a strict protocol accepts, whatever another provider or the caller minted.

Pure functions of the conversation: the same history gives the same ids on every turn and in every process.
"""

from __future__ import annotations

import hashlib
import re

_FITS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MINTED = "call_us_"


class ToolIds:
    """Ids of one conversation, walked from its first message to its last.

    An id that fits `^[a-zA-Z0-9_-]{1,64}$` is kept.  Another one becomes a prefix and a digest; ids that already
    have the prefix are digested too, so no kept id can equal a minted one.  A provider that numbers its calls
    from zero in every turn repeats ids: the second call of a name counts as another id, and a result belongs to
    the latest call before it.
    """

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}

    def of_call(self, id: str) -> str:
        """The id to send for a call."""
        self._uses[id] = self._uses.get(id, 0) + 1
        return self.of_result(id)

    def of_result(self, id: str) -> str:
        """The id to send for the result of a call made before."""
        use = self._uses.get(id, 1)
        if use == 1 and _FITS.fullmatch(id) and not id.startswith(_MINTED):
            return id
        # The length keeps "a" used the 12th time apart from "a1" used the 2nd.
        key = f"{len(id)}:{id}:{use}".encode("utf-8", "surrogatepass")
        return _MINTED + hashlib.sha256(key).hexdigest()[:32]
