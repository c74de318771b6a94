"""Where golden sets come from: the one that comes with the package, and those of a control document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from understudy.chat.schema import Unjudgeable, check_schema
from understudy.detectors.sample import LIVENESS
from understudy.errors import DocumentError, Problem
from understudy.golden.checkers import judged, needs_judge
from understudy.golden.drift import DRIFT
from understudy.golden.forms import Fault, Path, checker
from understudy.golden.item import CORE, GoldenSet, Item

RESERVED = frozenset({CORE, DRIFT, LIVENESS, "shadow"})
"""Names that no set of a control document may have: they name streams of samples already."""
MAX_ITEMS = 500
"""Items of all sets of one document."""
MAX_TOOLS = 32
MAX_NUMBER = 9_999
_ROLES = ("system", "developer", "user", "assistant", "tool")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@lru_cache(maxsize=1)
def built_in() -> GoldenSet:
    """The set that comes with the package: a file for each task, put together by the numbers of the items."""
    items: list[Item] = []
    for name, data in core_files().items():
        items += golden_set(name, data).items
    return GoldenSet(CORE, tuple(sorted(items, key=lambda item: item.number)), "comes with the package")


def core_files() -> Mapping[str, Any]:
    """The files of the built-in set as they were read, by their names."""
    import yaml  # the command line shows its help without it

    folder = resources.files("understudy.golden").joinpath("core")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    # The one that is written in C reads ten times as fast, where it was built.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {file.name.removesuffix(".yaml"): yaml.load(file.read_text("utf-8"), loader) for file in files}  # noqa: S506  # nosec B506


def golden_set(name: str, data: Mapping[str, Any]) -> GoldenSet:
    """A set of a control document: its `golden_sets.NAME`, as it is written or in canonical form.

    Raises DocumentError with every problem, each with its path from the set's own place.
    """
    items, faults = read_set(data)
    if faults:
        place = ("golden_sets", name)
        raise DocumentError([Problem(_written((*place, *one.path)), one.message, one.fix) for one in faults])
    return GoldenSet(name, tuple(sorted(items, key=lambda item: item.number)), "control document")


def find(name: str, section: Mapping[str, Any]) -> GoldenSet | None:
    """The set of this name: the built-in one, or one of a document's `golden_sets`; None where there is none."""
    if name == CORE:
        return built_in()
    return golden_set(name, section[name]) if name in section else None


def read_set(data: Any) -> tuple[list[Item], list[Fault]]:
    """The items that could be read, in the order of the text, and everything that is wrong with the others."""
    faults: list[Fault] = []
    if not isinstance(data, Mapping):
        return [], [Fault((), "is not a golden set.", "write `{task: NAME, items: [...]}`")]
    task, entries = data.get("task"), data.get("items")
    if not isinstance(task, str):
        faults.append(Fault(("task",), "is missing or not text.", "name what the questions are about"))
    if not isinstance(entries, list) or not entries:
        faults.append(Fault(("items",), "there are no items.", "write at least one question"))
        return [], faults
    found = [_item(str(task), entry, i, faults) for i, entry in enumerate(entries[:MAX_ITEMS])]
    faults += _repeated("id", [one.get("id") if isinstance(one, Mapping) else None for one in entries])
    faults += _repeated("number", [_numbered(one, i) for i, one in enumerate(entries)])
    return [item for item in found if item is not None], faults


def _repeated(field: str, values: Iterable[Any]) -> Iterator[Fault]:
    first: dict[Any, int] = {}
    for i, value in enumerate(values):
        if not isinstance(value, str | int) or isinstance(value, bool):
            continue
        if value in first:
            fix = "give each question one of its own, and never one that another had before"
            yield Fault(("items", i, field), f"is `{value!s:.60}`, as that of items[{first[value]}].", fix)
        first.setdefault(value, i)


def _numbered(entry: Any, position: int) -> Any:
    given = entry.get("number") if isinstance(entry, Mapping) else None
    return position if given is None else given


def _item(task: str, entry: Any, position: int, faults: list[Fault]) -> Item | None:
    path: Path = ("items", position)
    if not isinstance(entry, Mapping):
        faults.append(Fault(path, "is not a question.", "write `{id: NAME, prompt: TEXT, checker: {kind: ...}}`"))
        return None
    before = len(faults)
    tools = _tools(entry.get("tools"), (*path, "tools"), faults)
    messages = _messages(entry, path, faults)
    found = checker(entry.get("checker"), tools, (*path, "checker"), faults)
    number, answer_format = _numbered(entry, position), entry.get("response_format")
    wrong = [
        ("id", not isinstance(entry.get("id"), str), "is missing or not text.", "give the question a name"),
        ("number", not _whole(number, 0, MAX_NUMBER), "is not a number.", f"write 0 to {MAX_NUMBER}, or leave it out"),
        ("weight", not _positive(entry.get("weight", 1.0)), "is not a weight.", "write a number above 0"),
        (
            "max_tokens",
            not _whole(entry.get("max_tokens", 64), 1, 4096),
            "is not a number of tokens.",
            "write 1 to 4096",
        ),
        ("response_format", not isinstance(answer_format, Mapping | None), "is not a mapping.", "write or remove it"),
    ]
    faults += [Fault((*path, field), message, fix) for field, is_wrong, message, fix in wrong if is_wrong]
    if len(faults) > before or found is None:
        return None
    item = Item(
        number=number,
        id=entry["id"],
        task=task,
        messages=messages,
        checker=found,
        weight=float(entry.get("weight", 1.0)),
        max_tokens=entry.get("max_tokens", 64),
        tools=tools,
        response_format=answer_format,
    )
    faults += _examples(item, entry, path)
    return item


def _messages(entry: Mapping[str, Any], path: Path, faults: list[Fault]) -> tuple[Mapping[str, Any], ...]:
    prompt, messages = entry.get("prompt"), entry.get("messages")
    if (prompt is None) == (messages is None):
        message = "has no question." if prompt is None else "has a `prompt` and `messages`."
        faults.append(Fault(path, message, "write either `prompt`, or `messages`"))
        return ()
    if messages is None:
        if isinstance(prompt, str) and prompt.strip():
            return ({"role": "user", "content": prompt},)
        faults.append(Fault((*path, "prompt"), "is no text, or an empty one.", "write what is asked"))
        return ()
    if not isinstance(messages, list) or not messages:
        faults.append(Fault((*path, "messages"), "is not a conversation.", "write `[{role: user, content: TEXT}]`"))
        return ()
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            fix = "write `{role: user, content: TEXT}`"
            faults.append(Fault((*path, "messages", i), f"is no message of one of {', '.join(_ROLES)}.", fix))
    return tuple(messages)


def _tools(given: Any, path: Path, faults: list[Fault]) -> tuple[Mapping[str, Any], ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_TOOLS:
        faults.append(Fault(path, f"is no list of up to {MAX_TOOLS} tools.", "write them as in a chat request"))
        return ()
    for i, tool in enumerate(given):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            fix = "write `{type: function, function: {name: NAME, parameters: {...}}}`"
            faults.append(Fault((*path, i), "is not a tool as in a chat request.", fix))
            continue
        try:
            check_schema(function.get("parameters", True))
        except Unjudgeable as reason:
            where = (*path, i, "function", "parameters")
            faults.append(Fault(where, f"cannot be judged: {reason}.", "leave that part out, or say it in another way"))
    return tuple(tool for tool in given if isinstance(tool, Mapping))


def example_message(example: Any) -> Mapping[str, Any] | None:
    """An example of an answer as an assistant message: a text, or `{name, arguments}` for a tool call."""
    if isinstance(example, str):
        return {"role": "assistant", "content": example}
    if isinstance(example, Mapping) and isinstance(example.get("name"), str):
        function = {"name": example["name"], "arguments": json.dumps(example.get("arguments"), default=str)}
        return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}
    return None


def _examples(item: Item, entry: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """The examples that the item's checker does not tell apart as they say."""
    for field in ("right", "wrong"):
        if entry.get(field) is None:
            continue
        message = example_message(entry[field])
        if message is None:
            fix = "write a text in quotes, or `{name: TOOL, arguments: {...}}` for a tool call"
            yield Fault((*path, field), "is not an answer.", fix)
        elif not needs_judge(item):
            verdict = judged(item, message)
            if (field == "right") != (verdict.value == 1.0):
                said = f"{verdict.value:g}" if verdict.value is not None else "nothing to read"
                fix = "correct the checker, or the example"
                yield Fault((*path, field), f"the checker says {said} of it: {verdict.why}.", fix)


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _written(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _BARE.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text
