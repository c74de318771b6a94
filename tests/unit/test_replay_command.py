"""The command `understudy replay`: standard input, standard output, standard error and the exit status."""

from __future__ import annotations

import io
import json
import random

import pytest

from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.streams import Stream, streams
from understudy.cli import main
from understudy.services.replay import alarms


def generated(name: str) -> Stream:
    return next(streams(next(one for one in SCENARIOS if one.name == name), 1, seed=3))


def run(monkeypatch: pytest.MonkeyPatch, text: str, *options: str) -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return main(["replay", *options])


def test_alarms_of_many_streams(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Interleaved streams of several kinds each give the alarms that the detectors of production give, and status 0."""
    made = [
        generated(name) for name in ("quality 84-35", "errors 85%", "tokens x0.8", "swapped model", "logprob, swap")
    ]
    expected = [list(alarms(one.observations, now=4e9, in_control_length=10_000)) for one in made]
    left, mixed, rng = [list(one.observations) for one in made], [], random.Random(1)
    while left := [rows for rows in left if rows]:
        mixed.append(rng.choice(left).pop(0))
    status = run(monkeypatch, "".join(json.dumps(row) + "\n" for row in mixed), "--in-control-length", "10000")
    out, complaints = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert (0, "") == (status, complaints)
    assert expected == [[alarm for alarm in found if alarm["stream"] == one.name] for one in made]
    assert all(expected)
    assert {len(found)} == {sum(map(len, expected))}


def test_refused_lines_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that cannot be read is told with its number, and the status is 2 when all others were read."""
    row = generated("errors 85%").observations[0]
    text = "\n".join(map(json.dumps, (row, row | {"seq": 1, "value": "x"}, row | {"seq": 2})))
    assert 2 == run(monkeypatch, text)
    assert ("", "line 2: value: expected a finite number, 0 or more, found 'x'\n") == capsys.readouterr()


def test_nothing_to_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No observations, no alarms, status 0."""
    assert (0, ("", "")) == (run(monkeypatch, ""), capsys.readouterr())


@pytest.mark.parametrize("length", ["0", "-5", "nan", "many"])
def test_a_budget_that_makes_no_sense(length: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The in-control length is a number from 100 on."""
    with pytest.raises(SystemExit) as stopped:
        main(["replay", "--in-control-length", length])
    assert 2 == stopped.value.code
    assert f"--in-control-length: expected a number from 100 to 1e9, not {length!r}" in capsys.readouterr().err
