"""Every text of a request's body, looked through for personal data and, where wanted, put down without it.

What is looked through is the body as its caller wrote it, whatever API it speaks: every string, every long number and
every name of a field, known or not, and what stands inside texts that are JSON themselves, as a tool call's arguments.
Both what is sent on natively and what is translated are read from the same body, so nothing can leave beside it.
Left as it is: `model`, which names a route and is replaced by the target's own; files, pictures and sounds, which are
noted as `unread`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from understudy.ports import PiiFinding

DEEPEST = 200
"""Levels of a body, those of JSON inside texts included."""
WINDOW, OVERLAP = 20_000, 1_000
"""Characters that are looked through at once, and by how many the next ones begin earlier: longer than anything found.
Between two windows is looked at the clock."""
SHORTEST, LARGEST = 1_000_000, 1e40
"""Numbers that are not between them say nothing of anybody."""

Find = Callable[[str], Sequence[PiiFinding]]
Path = tuple[Any, ...]
"""(path of what it is in, name or place); empty for the body itself."""

# The parts that are files, pictures and sounds in the APIs that callers speak, and the fields that hold them or name
# them (OpenAI API reference, "Create chat completion" and "Create a model response"; Anthropic's, "Create a Message").
_UNREAD: Mapping[str, frozenset[str]] = {
    kind: frozenset(fields)
    for kind, fields in {
        "audio": ["audio", "data", "source"],
        "audio_url": ["audio_url"],
        "computer_screenshot": ["file_id", "image_url"],
        "container_upload": ["file_id"],
        "document": ["source"],
        "file": ["file", "source"],
        "image": ["image_url", "source", "url"],
        "image_generation_call": ["result"],
        "image_url": ["image_url"],
        "input_audio": ["input_audio"],
        "input_file": ["file_data", "file_id", "file_url"],
        "input_image": ["file_id", "image_url"],
        "video": ["source", "video"],
        "video_url": ["video_url"],
    }.items()
}
# A document that is given as text is read like any other.
_READABLE = frozenset({"text", "content"})
_BYTES = frozenset({"data", "file_data", "result"})
_ENCODED = re.compile(r"(?:data:[^,\s]{0,200};base64,)?[A-Za-z0-9+/=_\s-]*", re.IGNORECASE)
_DATA_URL = "data:"
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?', re.DOTALL)
_FOLDED = re.compile(r"[\s()./-]+")
_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
# Where an API takes no other characters than those of a name.
_NAME = re.compile(r"name|role|type|format|media_type|id|\w+_ids?")


class OutOfTimeError(Exception):
    """It takes too long."""


class TooDeepError(Exception):
    """It is nested too deeply."""


class Review:
    """One body.  `found` counts kinds, `places` says where they are, `unread` where something is that nobody can read.

    `tick` is called before each piece with the number of its characters and raises OutOfTimeError.
    """

    def __init__(self, find: Find, tick: Callable[[int], None]) -> None:
        self._find = find
        self._tick = tick
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.places: dict[str, None] = {}
        self.unread: dict[str, None] = {}

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with placeholders for what was found.  Raises OutOfTimeError and TooDeepError."""
        given = body.get("input")
        if isinstance(given, list) and given and _is_tokens(given[0]):
            # A text that is tokens already.
            self.unread["input"] = None
        rest = {name: value for name, value in body.items() if name != "model"}
        walked = self._mapping(rest, (), 0, unread=False)
        return {"model": body["model"], **walked} if "model" in body else walked

    def header(self, name: str, value: str) -> None:
        """A header that is sent on."""
        self._text(value, ((), name), 0)

    def _walk(self, value: Any, path: Path, depth: int, *, unread: bool) -> Any:
        if isinstance(value, str):
            if not _is_bytes(value, path[1] if unread else None):
                return self._text(value, path, depth)
            if not unread:
                self.unread[_written(path)] = None
            return value
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return self._number(value, path)
        if depth >= DEEPEST:
            raise TooDeepError
        if isinstance(value, list):
            return [self._walk(one, (path, i), depth + 1, unread=unread) for i, one in enumerate(value)]
        if isinstance(value, Mapping):
            if not unread and _is_unread(value):
                self.unread[_written(path)] = None
                unread = True
            return self._mapping(value, path, depth, unread=unread)
        return value

    def _mapping(self, value: Mapping[str, Any], path: Path, depth: int, *, unread: bool) -> dict[str, Any]:
        walked: dict[str, Any] = {}
        for name, inner in value.items():
            kept = self._text(name, (path, "*"), depth, bare=True)
            step = name if kept == name else "*"
            while kept != name and (kept in walked or kept in value):
                kept += "_"
            walked[kept] = self._walk(inner, (path, step), depth + 1, unread=unread)
        return walked

    def _number(self, value: float, path: Path) -> Any:
        """A number of anybody's makes room as a whole, for a text."""
        if not SHORTEST <= abs(value) < LARGEST:
            return value
        said = str(abs(int(value)) if value == int(value) else abs(value))
        self._tick(len(said))
        findings = self._findings(said)
        return self._marked(said, findings[0].kind, path) if findings else value

    def _text(self, text: str, path: Path, depth: int, *, bare: bool = False) -> str:
        self._tick(len(text))
        if text.lstrip()[:1] in ("{", "[") and _is_json(text):
            if depth >= DEEPEST:
                raise TooDeepError
            return _TOKEN.sub(lambda token: self._token(token[0], path, depth + 1), text)
        pieces, at = list[str](), 0
        for one in self._findings(text):
            put = self._marked(text[one.start : one.end], one.kind, path, bare=bare)
            pieces += [text[at : one.start], put]
            at = one.end
        return "".join([*pieces, text[at:]]) if pieces else text

    def _token(self, token: str, path: Path, depth: int) -> str:
        """A string or a number of a text that is JSON, as it is or with placeholders; nothing else of it moves."""
        said = json.loads(token)
        put = self._text(said, (path, "*"), depth) if isinstance(said, str) else self._number(said, (path, "*"))
        return token if put == said else json.dumps(put, ensure_ascii=token.isascii())

    def _marked(self, value: str, kind: str, path: Path, *, bare: bool = False) -> str:
        """Count one, and give the placeholder that stands for it."""
        self.found[kind] += 1
        self.places[_written(path)] = None
        folded = (value if kind == "email" else _FOLDED.sub("", value)).casefold()
        if (number := self._numbers.get((kind, folded))) is None:
            self._last[kind] += 1
            number = self._numbers[kind, folded] = self._last[kind]
        placeholder = f"{kind.upper()}_{number}"
        within = path[1] if path else None
        return placeholder if bare or (isinstance(within, str) and _NAME.fullmatch(within)) else f"<{placeholder}>"

    def _findings(self, text: str) -> list[PiiFinding]:
        """In their order and apart."""
        if len(text) <= WINDOW:
            return _apart((one.start, one.end, one.kind) for one in self._find(text))
        found: set[tuple[int, int, str]] = set()
        for start in range(0, len(text) - OVERLAP, WINDOW - OVERLAP):
            self._tick(0)
            piece = text[start : start + WINDOW]
            for one in self._find(piece):
                # What touches a cut may be a part of something else, which is whole in the window beside it.
                cut = (start and not one.start) or (one.end == len(piece) and start + WINDOW < len(text))
                if not cut:
                    found.add((start + one.start, start + one.end, one.kind))
        return _apart(found)


def _apart(found: Iterable[tuple[int, int, str]]) -> list[PiiFinding]:
    """In their order; those that overlap become one, of the longest one's kind."""
    kept: list[PiiFinding] = []
    longest = 0
    for start, end, kind in sorted(found):
        if not kept or start >= kept[-1].end:
            kept.append(PiiFinding(kind, start, end))
            longest = end - start
            continue
        before = kept[-1]
        if end - start > longest:
            before, longest = PiiFinding(kind, before.start, before.end), end - start
        kept[-1] = PiiFinding(before.kind, before.start, max(before.end, end))
    return kept


def _is_bytes(text: str, field: object) -> bool:
    """Whether a string is bytes and no text: a data URL, or base64 in the `field` of a part that holds it."""
    if text[:5].lower() != _DATA_URL and field not in _BYTES:
        return False
    return _ENCODED.fullmatch(text) is not None


def _is_unread(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    if not isinstance(kind, str) or not part.keys() & _UNREAD.get(kind, frozenset()):
        return False
    source = part.get("source")
    return not (isinstance(source, Mapping) and source.get("type") in _READABLE)


def _is_tokens(one: Any) -> bool:
    return (isinstance(one, int) and not isinstance(one, bool)) or isinstance(one, list)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        raise TooDeepError from None
    except ValueError:
        return False
    return True


def _written(path: Path) -> str:
    """Such as `messages[0].content`; names that may be the caller's own content are an asterisk."""
    steps = list[Any]()
    while path:
        path, step = path
        steps.append(step)
    said = ""
    for step in reversed(steps):
        named = step if isinstance(step, int) or _STEP.fullmatch(step) else "*"
        said += f"[{named}]" if isinstance(named, int) else f".{named}"
    return said.removeprefix(".")
