"""From the messages of a chat request to the system instruction and the contents of the Gemini API.

Sources: the Gemini API reference, "Content" and "Part", and its guides "Function calling", "Thought signatures",
"Image understanding", "Audio understanding" and "Document understanding".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from understudy.chat.bound import kept_by, signature_of
from understudy.errors import InvalidRequest
from understudy.wire.turns import DATA_URL, Places, alternating, arguments, visible

UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a call that the model did not make or whose own is lost ("Thought signatures", FAQ)."""

# The model's signatures stand for its thinking; `parsed` is what an SDK adds.
_PLACES = Places(
    user={"text", "image_url", "input_audio", "file"},
    tool={"text", "image_url"},
    assistant={"extra_content", "parsed", "reasoning_details"},
)
_CALL_FIELDS = frozenset({"id", "type", "index", "function", "extra_content"})
_FORMAT = re.compile(r"[a-z0-9.+-]{1,40}", re.IGNORECASE)
# By the end of an address; a picture of another kind goes without one, and the provider looks for itself.
_IMAGES = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "gif": "gif", "heic": "heic", "heif": "heif"}

Part = dict[str, Any]


def message_misfits(message: Mapping[str, Any], path: str, *, image_urls: bool) -> Iterator[str]:
    """The paths of what a message holds and a content has no place for."""
    part = partial(_part_misfits, image_urls=image_urls)
    return _PLACES.misfits(message, path, part=part, call=_call_misfits)


def _call_misfits(call: Mapping[str, Any], path: str) -> Iterator[str]:
    if (call.get("type") or "function") != "function":
        yield path
        return
    extra = [name for name in call.keys() - _CALL_FIELDS if call[name] not in (None, "", [], {})]
    yield from (f"{path}.{name}" for name in extra)


def _part_misfits(part: Mapping[str, Any], path: str, *, image_urls: bool) -> Iterator[str]:
    kind = part["type"]
    for name in part.keys() - {"type", kind, "annotations"}:
        if part[name] is not None:
            yield f"{path}.{name}"
    inner = part.get(kind)
    if kind == "image_url" and isinstance(inner, Mapping):
        # Images are always seen in full, so "high" asks for what happens anyway.
        if inner.get("detail") not in (None, "auto", "high"):
            yield f"{path}.image_url.detail"
        if not image_urls and _is_address(inner.get("url")):
            yield path
    # A file's name is a label; one that is kept elsewhere is out of reach.
    if kind == "file" and isinstance(inner, Mapping) and inner.get("file_id") is not None:
        yield f"{path}.file.file_id"


def contents(messages: list[Mapping[str, Any]], *, owner: str) -> tuple[list[Part], list[dict[str, Any]]]:
    """The parts of the system instruction, and contents of alternating roles, a turn's results before its text.

    Raises InvalidRequest naming what cannot be read.
    """
    calls: dict[str, str] = {}

    def written(message: Mapping[str, Any], path: str) -> list[Part]:
        return list(_parts(message, path, calls, owner))

    system, turns = alternating(messages, written, assistant="model", content="parts")
    _put_results_first(turns)
    _sign_current_turn(turns)
    return system, turns


def _put_results_first(turns: list[dict[str, Any]]) -> None:
    """The results of a turn come first, in the order of the calls that they answer."""
    order: dict[str, int] = {}
    for turn in turns:
        if turn["role"] == "model":
            ids = [part["functionCall"]["id"] for part in turn["parts"] if "functionCall" in part]
            order = {identifier: place for place, identifier in enumerate(ids)}
        else:
            places = len(order)
            turn["parts"].sort(
                key=lambda part: (
                    order.get(part["functionResponse"]["id"], places) if "functionResponse" in part else places + 1
                )
            )


def _sign_current_turn(turns: list[dict[str, Any]]) -> None:
    """Give the first call of each step since the user last spoke a stand-in where it has no signature.

    Models that demand signatures demand these, and no others.
    """
    for turn in reversed(turns):
        kinds = ["functionResponse" in part for part in turn["parts"]]
        if turn["role"] == "user" and not any(kinds):
            return
        first = next((part for part in turn["parts"] if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", UNSIGNED)


def _parts(message: Mapping[str, Any], path: str, calls: dict[str, str], owner: str) -> Iterator[Part]:
    """The parts of one message; `calls` are the names of the functions called so far, by call id."""
    parts = _content(message.get("content"), f"{path}.content")
    if message["role"] == "tool":
        yield _result(message, parts, path, calls)
        return
    if message["role"] != "assistant":
        yield from parts
        return
    parts += _text(message.get("refusal"), f"{path}.refusal")
    signature = kept_by(signature_of(message), owner)
    if parts and signature:
        parts[-1]["thoughtSignature"] = signature
    yield from parts
    for i, call in enumerate(message.get("tool_calls", ())):
        yield _call(call, f"{path}.tool_calls[{i}]", calls, owner)


def _call(call: Mapping[str, Any], path: str, calls: dict[str, str], owner: str) -> Part:
    identifier, name = call.get("id"), call["function"]["name"]
    if not isinstance(identifier, str):
        raise InvalidRequest(f"`{path}.id` must be a string.", param=f"{path}.id")
    calls[identifier] = name
    given = arguments(call["function"].get("arguments"), f"{path}.function.arguments")
    part: Part = {"functionCall": {"id": identifier, "name": name, "args": given}}
    if signature := kept_by(signature_of(call), owner):
        part["thoughtSignature"] = signature
    return part


def _result(message: Mapping[str, Any], parts: list[Part], path: str, calls: Mapping[str, str]) -> Part:
    identifier = message["tool_call_id"]
    name = calls.get(identifier, message.get("name"))
    if not isinstance(name, str) or not name:
        path = f"{path}.tool_call_id"
        raise InvalidRequest(f"`{path}` answers no call of the conversation, so its tool has no name.", param=path)
    content = message["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content if part["type"] == "text")
    response: Part = {"id": identifier, "name": name, "response": _response(text)}
    if others := [part for part in parts if "text" not in part]:
        response["parts"] = others
    return {"functionResponse": response}


def _response(text: str) -> dict[str, Any]:
    """The object that a result spells; any other result is put into one."""
    try:
        spelled = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
        json.dumps(spelled, allow_nan=False)
    except (ValueError, RecursionError):
        spelled = None
    return spelled if isinstance(spelled, dict) else {"output": text}


def _refuse(_: str) -> None:
    raise ValueError


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if none of its names comes twice: of two values one would be lost."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


def _content(content: Any, path: str) -> list[Part]:
    if not isinstance(content, list):
        return _text(content, path)
    parts: list[Part] = []
    for i, part in enumerate(content):
        kind = part["type"]
        where = f"{path}[{i}].{kind}"
        if kind == "image_url":
            parts.append(_image(part.get(kind), where))
        elif kind == "input_audio":
            parts.append(_audio(part.get(kind), where))
        elif kind == "file":
            parts.append(_inline(_inner(part.get(kind), "file_data", where), f"{where}.file_data"))
        else:
            parts += _text(part.get(kind), where)
    return parts


def _text(text: object, path: str) -> list[Part]:
    said = visible(text, path)
    return [] if said is None else [{"text": said}]


def _image(image: object, path: str) -> Part:
    url = _inner(image, "url", path)
    if not _is_address(url):
        return _inline(url, f"{path}.url", "an http(s) URL or a data: URL in base64")
    kind = _IMAGES.get(url.partition("?")[0].rpartition(".")[2].lower())
    return {"fileData": {"mimeType": f"image/{kind}", "fileUri": url} if kind else {"fileUri": url}}


def _audio(audio: object, path: str) -> Part:
    data, kind = _inner(audio, "data", path), _inner(audio, "format", path)
    if not _FORMAT.fullmatch(kind):
        raise InvalidRequest(f"`{path}.format` must be the name of an audio format.", param=f"{path}.format")
    return {"inlineData": {"mimeType": f"audio/{kind.lower()}", "data": data}}


def _inline(url: str, path: str, wanted: str = "a data: URL in base64") -> Part:
    match = DATA_URL.match(url)
    if match is None:
        raise InvalidRequest(f"`{path}` must be {wanted}.", param=path)
    return {"inlineData": {"mimeType": match["media"].lower(), "data": url[match.end() :]}}


def _inner(value: object, name: str, path: str) -> str:
    inner = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(inner, str):
        raise InvalidRequest(f"`{path}.{name}` must be a string.", param=f"{path}.{name}")
    return inner


def _is_address(url: object) -> bool:
    return isinstance(url, str) and url[:8].lower().startswith(("http://", "https://"))
