"""How a place in a control document is written: `routes.chat.targets[1]`, `routes["gpt-4.1"].limits`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

Path = tuple[str | int, ...]

# A name with a dot, a slash or a space would read like more than one step of the path.
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def child(parent: str, part: str | int) -> str:
    """The path of one step below `parent`, which is empty at the top."""
    if isinstance(part, int):
        return f"{parent}[{part}]"
    if not _BARE.fullmatch(part):
        return f"{parent}[{json.dumps(part, ensure_ascii=False)}]"
    return f"{parent}.{part}" if parent else part


def written(path: Iterable[str | int]) -> str:
    """A whole path as text; empty for the document itself."""
    text = ""
    for part in path:
        text = child(text, part)
    return text
