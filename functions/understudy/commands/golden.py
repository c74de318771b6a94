"""`understudy golden`: show golden sets, check those of a file, and judge answers that somebody has collected."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError


class AnswersError(UnderstudyError):
    """A line of a file of answers cannot be used; says which and why."""


Say = Callable[[str], None]
Columns = Callable[[Sequence[Sequence[str]]], None]


def add_parsers(commands: Any, say: Say, columns: Columns) -> None:
    """The command and its actions; `say` prints a line, `columns` rows."""
    golden = commands.add_parser("golden", help="questions with known answers: list, show, check")
    actions = golden.add_subparsers(dest="action", required=True, metavar="ACTION")
    of = argparse.ArgumentParser(add_help=False)
    of.add_argument("--file", type=Path, metavar="FILE", help="also the sets of this control document or file of sets")
    listed = actions.add_parser("list", parents=[of], help="the sets, with their tasks and number of items")
    listed.set_defaults(run=lambda options: _list(options, columns))
    shown = actions.add_parser("show", parents=[of], help="the questions of a set and what checks their answers")
    shown.set_defaults(run=lambda options: _show(options, columns))
    shown.add_argument("name", metavar="NAME", help="`core` is the one that comes with Understudy")
    checked = actions.add_parser("check", help="check a file of sets; with --answers judge answers to them")
    checked.set_defaults(run=lambda options: _check(options, say))
    checked.add_argument("file", type=Path, metavar="FILE", help="golden sets, or a control document (YAML)")
    checked.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help='JSON lines: {"set": NAME, "id": ITEM, "answer": text or assistant message}; set may be left out',
    )


def _known(file: Path | None) -> dict[str, Any]:
    from understudy.golden.sets import built_in

    core = built_in()
    return {core.name: core} | ({} if file is None else _of_file(file))


def _of_file(file: Path) -> dict[str, Any]:
    from understudy.control.golden_file import golden_sets

    return dict(golden_sets(file.read_text("utf-8"), name=file.stem.lower(), filename=str(file)))


def _list(options: argparse.Namespace, columns: Columns) -> int:
    rows = [("SET", "ITEMS", "DIGEST", "TASKS")]
    sets = _known(options.file).values()
    columns(rows + [(one.name, str(len(one.items)), one.digest, ", ".join(one.tasks)) for one in sets])
    return 0


def _show(options: argparse.Namespace, columns: Columns) -> int:
    sets = _known(options.file)
    if options.name not in sets:
        raise AnswersError(f"there is no golden set {options.name!r}; there are {', '.join(sets)}")
    rows = [("NUMBER", "TASK", "ID", "CHECKER", "WEIGHT", "QUESTION")]
    for item in sets[options.name].items:
        asked = " ".join(str(item.messages[-1].get("content")).split())
        short = asked if len(asked) <= 60 else f"{asked[:59]}…"
        rows.append((str(item.number), item.task, item.id, item.checker.kind, f"{item.weight:g}", short))
    columns(rows)
    return 0


def _check(options: argparse.Namespace, say: Say) -> int:
    sets = _of_file(options.file)
    count = sum(len(one.items) for one in sets.values())
    say(f"{options.file} is valid: {count} items in {', '.join(sets)}")
    if options.answers is not None:
        _judge(sets, options.answers, say)
    return 0


def _judge(sets: Mapping[str, Any], answers: Path, say: Say) -> None:
    from understudy.golden.checkers import judged

    by_task: dict[str, list[tuple[float, float]]] = defaultdict(list)
    unread = 0
    for item, message in _answers(sets, answers):
        verdict = judged(item, message)
        if verdict.value is None:
            unread += 1
        else:
            by_task[item.task].append((verdict.value, item.weight))
        shown = "-" if verdict.value is None else f"{verdict.value:.2f}"
        say(f"{shown}  {item.id}: {verdict.why}")
    for task, values in sorted(by_task.items()):
        mean = sum(value * weight for value, weight in values) / sum(weight for _, weight in values)
        say(f"{task}: {mean:.1%} of {len(values)} answers")
    if unread:
        say(f"could not read: {unread}")


def _answers(sets: Mapping[str, Any], answers: Path) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    items = {(one.name, item.id): item for one in sets.values() for item in one.items}
    with answers.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _answer(items, line, f"{answers}, line {number}")


def _answer(items: Mapping[tuple[str, str], Any], line: str, place: str) -> tuple[Any, Mapping[str, Any]]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise AnswersError(f"{place}: is not JSON") from None
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise AnswersError(f'{place}: write {{"id": ITEM, "answer": TEXT}}')
    named = [one for one in items if one[1] == given["id"] and given.get("set", one[0]) == one[0]]
    if len(named) != 1:
        hint = "say which set" if named else "there is no such item"
        raise AnswersError(f"{place}: {len(named)} items are called {given['id']!r:.80}; {hint}")
    answer = given.get("answer")
    return items[named[0]], answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
