"""`understudy golden`: show, check, judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.golden.sets import built_in

SET = """\
task: shop
items:
  - {id: sum, prompt: "What is 2 + 2?", checker: {kind: number, value: 4}, weight: 3}
  - {id: city, prompt: "Which city?", checker: {kind: normalised, answer: Oslo}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SET)
    return path


def test_sets_are_listed_and_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The built-in set is always there, those of a file beside it; a set shows every question on one line."""
    assert 0 == main(["golden", "list", "--file", str(file)])
    _, core, own = capsys.readouterr().out.splitlines()
    assert ["core", "72", built_in().digest] == core.split()[:3]
    assert ["shop", "2", "shop"] == [own.split()[i] for i in (0, 1, 3)]
    assert 0 == main(["golden", "show", "core"])
    assert 73 == len(capsys.readouterr().out.splitlines())
    assert 1 == main(["golden", "show", "crew"])
    assert "there is no golden set 'crew'; there are core" in capsys.readouterr().err


def test_a_file_is_checked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is said to be good, a bad one has its mistakes told."""
    assert 0 == main(["golden", "check", str(file)])
    assert f"{file} is valid: 2 items in shop\n" == capsys.readouterr().out
    file.write_text(SET.replace("kind: number", "kind: numbr"))
    assert 1 == main(["golden", "check", str(file)])
    assert "golden_sets.shop.items[0].checker.kind (line 3, " in capsys.readouterr().err


def test_answers_are_judged(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Collected answers get their values, the task its weighted mean; what could not be read is counted apart."""
    answers = tmp_path / "answers.jsonl"
    lines = [
        {"id": "sum", "answer": "It is 4."},
        {"set": "shop", "id": "city", "answer": {"role": "assistant", "content": "Bergen"}},
        {"id": "city", "answer": ""},
    ]
    answers.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert 0 == main(["golden", "check", str(file), "--answers", str(answers)])
    expected = [
        "1.00  sum: right",
        "0.00  city: is 'Bergen'; expected 'Oslo'",
        "-  city: the answer is empty",
        "shop: 75.0% of 2 answers",
        "could not read: 1",
    ]
    assert expected == capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: is not JSON"),
        ("3", "write"),
        ('{"id": "x"}', "0 items"),
        ('{"id": "sum", "set": "y"}', "0 items"),
    ],
)
def test_answers_to_nothing_are_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    """A line that is no answer to a question of the file is told with its number."""
    answers = tmp_path / "answers.jsonl"
    answers.write_text(line)
    assert 1 == main(["golden", "check", str(file), "--answers", str(answers)])
    assert said in capsys.readouterr().err
