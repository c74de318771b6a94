"""The messages of Anthropic's API as those of a chat.

Sources: the Anthropic API reference, "Create a Message"; the OpenAI API reference, "Create chat completion".

What only a provider of this API can carry is named by its path in `Turns.needs`.  Left out, because it says nothing
to anybody else: `cache_control`; thinking, which only its maker can read again; the citations under an answer's text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.errors import InvalidRequest

Part = dict[str, Any]

_THINKING = frozenset({"thinking", "redacted_thinking"})
_SILENT = frozenset({"type", "cache_control"})
_UNREAD = _THINKING | {"image", "base64", "url"}
PDF, PLAIN = "application/pdf", "text/plain"


@dataclass(slots=True)
class Turns:
    """A conversation on its way into the chat shape.  `calls` are the ids of all tool calls so far."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)

    def add(self, message: object, path: str) -> None:
        """Translate one message.  Raises InvalidRequest."""
        if not isinstance(message, Mapping):
            raise wrong(path, "must be an object")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise wrong(f"{path}.role", "must be `user` or `assistant`", missing=role is None)
        blocks = _blocks(content, f"{path}.content")
        self._rest(message, {"role", "content"}, path)
        if role == "system":
            self.instruct(blocks, f"{path}.content")
        elif role == "user":
            self._user(blocks, f"{path}.content")
        else:
            self._assistant(blocks, f"{path}.content")

    def instruct(self, content: object, path: str) -> None:
        """Instructions: a text or a list of text blocks."""
        texts = []
        for i, block in enumerate(_blocks(content, path)):
            if block["type"] != "text":
                raise wrong(f"{path}.{i}.type", "must be `text`")
            texts += [part["text"] for part in self._text(block, f"{path}.{i}")]
        if texts:
            self.messages.append({"role": "system", "content": "\n\n".join(texts)})

    def _user(self, blocks: Sequence[Mapping[str, Any]], path: str) -> None:
        parts: list[Part] = []
        shown: list[Part] = []
        for i, block in enumerate(blocks):
            at = f"{path}.{i}"
            if block["type"] == "tool_result":
                text, pictures = self._result(block, at)
                self.messages.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text})
                shown += pictures
            else:
                parts += self._part(block, at)
        if parts := shown + parts:
            self.messages.append({"role": "user", "content": _joined(parts)})

    def _assistant(self, blocks: Sequence[Mapping[str, Any]], path: str) -> None:
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        for i, block in enumerate(blocks):
            at = f"{path}.{i}"
            match block["type"]:
                case "text":
                    texts += [part["text"] for part in self._text(block, at, "citations")]
                case "tool_use":
                    calls.append(self._call(block, at))
                case kind if kind in _THINKING:
                    _string(block, "data" if kind == "redacted_thinking" else "thinking", at)
                case _:
                    self.needs.add(at)
        message: dict[str, Any] = {"role": "assistant"}
        if texts:
            message["content"] = "".join(texts)
        if calls:
            message["tool_calls"] = calls
        if texts or calls:
            self.messages.append(message)

    def _text(self, block: Mapping[str, Any], path: str, *more: str) -> list[Part]:
        text = _string(block, "text", path)
        self._rest(block, {"text", *more}, path)
        return [{"type": "text", "text": text}] if text else []

    def _part(self, block: Mapping[str, Any], path: str) -> list[Part]:
        """A block as parts of a user's message; one that no part can be is needed as it is."""
        match block["type"]:
            case "text":
                return self._text(block, path)
            case "image":
                return self._image(block, path)
            case "document":
                return self._document(block, path)
        self.needs.add(path)
        return []

    def _image(self, block: Mapping[str, Any], path: str) -> list[Part]:
        source = _source(block, path)
        self._rest(block, {"source"}, path)
        match source["type"]:
            case "url":
                url = _string(source, "url", f"{path}.source")
            case "base64":
                data, media = (_string(source, name, f"{path}.source") for name in ("data", "media_type"))
                url = f"data:{media};base64,{data}"
            case _:
                self.needs.add(f"{path}.source")
                return []
        return [{"type": "image_url", "image_url": {"url": url}}]

    def _document(self, block: Mapping[str, Any], path: str) -> list[Part]:
        source = _source(block, path)
        title, said = block.get("title"), [block.get("title"), block.get("context")]
        cited = block.get("citations")
        if not isinstance(cited, Mapping | None) or (cited and cited.get("enabled")):
            self.needs.add(f"{path}.citations")
        self._rest(block, {"source", "title", "context", "citations"}, path)
        about: list[Part] = [{"type": "text", "text": text} for text in said if isinstance(text, str) and text]
        match source["type"], source.get("media_type"):
            case "base64", media if media == PDF:
                name = title if isinstance(title, str) and title else "document.pdf"
                data = f"data:{PDF};base64,{_string(source, 'data', f'{path}.source')}"
                return [*about, {"type": "file", "file": {"filename": name, "file_data": data}}]
            case "text", _:
                return [*about, {"type": "text", "text": _string(source, "data", f"{path}.source")}]
            case "content", _:
                blocks = _blocks(source.get("content"), f"{path}.source.content")
                inner = [self._part(one, f"{path}.source.content.{i}") for i, one in enumerate(blocks)]
                return about + [part for parts in inner for part in parts]
        self.needs.add(f"{path}.source")
        return []

    def _result(self, block: Mapping[str, Any], path: str) -> tuple[str, list[Part]]:
        """What a tool said, and what it showed: a chat's tool messages hold text only."""
        identifier = _string(block, "tool_use_id", path)
        if identifier not in self.calls:
            raise wrong(f"{path}.tool_use_id", f"there is no `tool_use` block with the id {identifier!r} before it")
        self._rest(block, {"tool_use_id", "content", "is_error"}, path)
        content = block.get("content")
        blocks = [] if content is None else _blocks(content, f"{path}.content")
        parts = [part for i, one in enumerate(blocks) for part in self._part(one, f"{path}.content.{i}")]
        text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
        shown = [part for part in parts if part["type"] != "text"]
        if shown:
            # Every server that takes pictures takes them from the user.
            shown.insert(0, {"type": "text", "text": f"What the tool call {identifier} returned besides text:"})
            text = text or "See the next message."
        if block.get("is_error"):
            # There is no other place to say so.
            text = f"Error: {text}" if text else "Error"
        return text, shown

    def _call(self, block: Mapping[str, Any], path: str) -> dict[str, Any]:
        identifier, name = _string(block, "id", path), _string(block, "name", path)
        given = block.get("input")
        if not isinstance(given, Mapping):
            raise wrong(f"{path}.input", "must be an object", missing=given is None)
        if block.get("caller") not in (None, {"type": "direct"}):
            self.needs.add(f"{path}.caller")
        self._rest(block, {"id", "name", "input", "caller"}, path)
        self.calls.add(identifier)
        arguments = json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _rest(self, block: Mapping[str, Any], known: set[str], path: str) -> None:
        """Note the fields that have no place; empty ones ask for nothing."""
        unknown = block.keys() - known - _SILENT
        self.needs.update(f"{path}.{name}" for name in unknown if block[name] not in (None, False, "", [], {}))


def wrong(path: str, said: str, *, missing: bool = False) -> InvalidRequest:
    """The way in which this API names a mistake: the path, then what it is."""
    return InvalidRequest(f"{path}: {'Field required' if missing else said}", param=path, code="invalid_type")


def _blocks(content: object, path: str) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise wrong(path, "must be a string or a list of content blocks", missing=content is None)
    for i, block in enumerate(content):
        if not isinstance(block, Mapping):
            raise wrong(f"{path}.{i}", "must be an object")
        if not isinstance(block.get("type"), str):
            raise wrong(f"{path}.{i}.type", "must be a string", missing=block.get("type") is None)
    return content


def _source(block: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise wrong(f"{path}.source", "must be an object", missing=source is None)
    _string(source, "type", f"{path}.source")
    return source


def _string(block: Mapping[str, Any], name: str, path: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise wrong(f"{path}.{name}", "must be a string", missing=value is None)
    return value


def _joined(parts: list[Part]) -> str | list[Part]:
    """Texts alone become one text: not every server takes a list."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def texts(value: Any, depth: int = 64) -> Iterator[str]:
    """Every text in a request that its model reads; pictures and files are none, and thinking is not read again."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if str(value.get("type")) not in _UNREAD and depth:
            for name, inner in value.items():
                if name not in ("type", "id", "tool_use_id", "cache_control", "role"):
                    yield from texts(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from texts(inner, depth - 1)
