"""YAML text -> plain data that remembers where it was written.

Built on PyYAML's safe event stream, not on its constructor: so every value keeps its line, a name that is
written twice is seen, no alias is ever expanded, and a bare `no` can be told from a quoted one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from understudy.control.paths import Path

# The parameters of a tool in an item of a golden set begin at 9.
MAX_DEPTH = 16

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# YAML 1.1 reads all of these as booleans; reading them as text would hide the trap from the next tool.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# Numbers as JSON has them (plus a sign).  Octal, base 60, `1_000` and `.inf` stay text and are refused later.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")
_SYNTAX_FIXES = (
    ("'\\t'", "indent with spaces, not with tabs"),
    ("expected ':'", "every line of a mapping is written `name: value`; check the indentation"),
    ("mapping values are not allowed", "check the indentation, and quote text that holds `: `"),
    ("while scanning a quoted scalar", "close the quote"),
    ("special characters", "remove the control character"),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem: where, what, and what to write instead; `mark` where it is not that of the path."""

    path: Path
    message: str
    fix: str = ""
    mark: Mark | None = None


@dataclass(slots=True)
class Tree:
    """What was read.  `bare` holds, by path, the text of unquoted scalars that YAML did not read as text."""

    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    bare: dict[Path, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def mark(self, path: Path) -> Mark | None:
        """Where `path`, or what is nearest above it, was written."""
        for length in range(len(path), -1, -1):
            if (found := self.marks.get(path[:length])) is not None:
                return found
        return None


class UnreadableError(Exception):
    """The text is not YAML as far as this reader takes it; nothing more can be said about the rest."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read(text: str) -> Tree:
    """Read one YAML document.  Raises UnreadableError; duplicates, anchors and tags go to `findings`."""
    reader = _Reader(_events(text))
    reader.document()
    return reader.tree


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # `problem` is the parser's own wording and never quotes a value; the snippet in str(error) would.
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableError(_syntax(said, _mark(error.problem_mark or error.context_mark))) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        raise UnreadableError(_syntax("special characters are not allowed", mark)) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML's scanner lets ValueError out for an escape such as "\UFFFFFFFF".
        raise UnreadableError(_syntax("an escape sequence stands for no character", None)) from None


def _syntax(said: str, mark: Mark | None) -> Finding:
    fix = next((fix for sign, fix in _SYNTAX_FIXES if sign in said), "")
    return Finding((), f"is not valid YAML: {said}.", fix, mark)


def _mark(mark: Any) -> Mark | None:
    return None if mark is None else Mark(mark.line + 1, mark.column + 1)


class _Reader:
    """Consumes the events of one document, one method for each shape of node."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.tree = Tree()
        self._events = events

    def document(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            return
        self.tree.value = self._node(next(self._events), ())
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._find((), "holds more than one YAML document.", "remove what follows the second `---`", event)

    def _node(self, event: yaml.Event, path: Path) -> Any:
        mark = _mark(event.start_mark)
        if mark is not None:
            self.tree.marks.setdefault(path, mark)
        if len(path) > MAX_DEPTH:
            raise UnreadableError(Finding(path[:4], f"is nested deeper than {MAX_DEPTH} levels.", "", mark))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._find(path, "uses a YAML anchor or alias.", "write the value out in each place", event)
        if getattr(event, "tag", None) is not None:
            self._find(path, "uses a YAML tag.", "remove the word that begins with `!`", event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._name(event, path)
            where = (*path, name)
            if name not in entries:
                self.tree.marks[where] = _mark(event.start_mark) or Mark(1, 1)
                entries[name] = self._node(next(self._events), where)
                continue
            first = self.tree.marks[where].line
            self._find(
                where,
                f"`{name}` is written twice, first on line {first}.",
                "rename or remove one of them",
                event,
            )
            self._skip(where)
        return entries

    def _name(self, event: yaml.Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise UnreadableError(
                Finding(path, "has a name that is not text.", "write `name: value`", _mark(event.start_mark))
            )
        value = _plain(event)
        if not isinstance(value, str):
            message = f"the name `{event.value}` is read by YAML as {kind(value)}, not as text."
            self._find((*path, event.value), message, f'quote it: "{event.value}"', event)
        return self._text(event.value, path, event)

    def _skip(self, path: Path) -> None:
        """Read past the second of two equal names: its marks must not replace those of the first."""
        kept, self.tree = self.tree, Tree()
        try:
            self._node(next(self._events), path)
        finally:
            self.tree = kept

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        value = _plain(event)
        if isinstance(value, str):
            return self._text(value, path, event)
        self.tree.bare[path] = event.value
        return value

    def _text(self, text: str, path: Path, event: yaml.Event) -> str:
        # An escape can write half of a surrogate pair, which no UTF-8 text (and no table) can hold.
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._find(path, "holds half of a character.", "write the character itself, not its escape", event)
            return ""
        return text

    def _find(self, path: Path, message: str, fix: str, event: yaml.Event) -> None:
        self.tree.findings.append(Finding(path, message, fix, _mark(event.start_mark)))


def _plain(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    """The value of a scalar: quoted and block text is text, bare text may be something else."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text.lower() in _BOOLEANS and text in (text.lower(), text.upper(), text.capitalize()):
        return _BOOLEANS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def kind(value: object) -> str:
    """What a plain value is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else "text"
