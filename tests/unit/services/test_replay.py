"""`understudy replay`: many streams at once, alarms as JSON lines, bad lines refused where they stand."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.detectors.sample import Alarm, Sample
from understudy.errors import ObservationRefused
from understudy.services.replay import LONGEST_LINE, Replay, alarms, observed, replay_lines

NOW = 1_718_000_000.0
GOOD: dict[str, Any] = {
    "stream": "s0012",
    "seq": 431,
    "t": NOW,
    "kind": "quality",
    "value": 1.0,
    "item": 17,
    "run": 10,
    "calib": False,
    "usd": 0.0138,
}


class ThirdLow:
    """A detector that gives an alarm at every third value below a half, and at every third text."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seen: list[Sample] = []
        self.low = 0

    def step(self, seen: Sample) -> Alarm | None:
        self.seen.append(seen)
        self.low += isinstance(seen.value, str) or seen.value < 0.5
        if self.low < 3:
            return None
        self.low = 0
        return Alarm(
            seen.kind, "degraded", seen.at, NOW, 3, 0.9, 0.0, 0.0, float("inf"), "share", 9.5, 9.0, {"n": (1,)}
        )

    def plain(self) -> dict[str, Any]:
        return {"low": self.low}

    def accept(self) -> None:
        self.low = 0


def make(kind: str, *, in_control_length: float) -> ThirdLow:
    return ThirdLow(kind)


def stream(name: str, values: list[float], **fields: Any) -> list[dict[str, Any]]:
    return [GOOD | {"stream": name, "seq": seq, "value": value} | fields for seq, value in enumerate(values)]


def replayed(lines: list[Any], most: int = 10_000) -> tuple[int, list[dict[str, Any]], list[str]]:
    """How many lines were refused, the alarms, and what was said on standard error; bytes are taken as they are."""
    raw = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    out, complaints = io.StringIO(), io.StringIO()
    refused = replay_lines(io.BytesIO(raw), out, complaints, Replay(NOW, 100, make, most))  # type: ignore[arg-type]
    return refused, [json.loads(line) for line in out.getvalue().splitlines()], complaints.getvalue().splitlines()


def test_an_alarm_is_one_json_line_with_a_sentence() -> None:
    """Each alarm says where, what, since when, how large and how sure, and what it means in words."""
    refused, (alarm,), complaints = replayed(stream("a", [1, 1, 0, 0, 0, 1]))
    assert (0, []) == (refused, complaints)
    message = (
        "a: the quality of the answers fell from 0.9 to 0 (share); seen in the last 3 observations, "
        "from about seq 2; it is worse."
    )
    assert {
        "stream": "a",
        "seq": 4,
        "kind": "quality",
        "verdict": "degraded",
        "at": NOW,
        "changed_at": NOW,
        "changed_seq": 2,
        "before": 0.9,
        "after": 0.0,
        "interval": [0.0, None],
        "unit": "share",
        "statistic": 9.5,
        "threshold": 9.0,
        "evidence": {"n": [1]},
        "message": message,
    } == alarm


def test_numbers_left_out_do_not_move_the_change() -> None:
    """Where observations are missing, the change is still laid at the number of the right one."""
    rows = [GOOD | {"seq": seq, "value": value} for seq, value in ((5, 1), (6, 0), (9, 0), (30, 0))]
    assert [(30, 6)] == [(alarm["seq"], alarm["changed_seq"]) for alarm in replayed(rows)[1]]


def test_it_goes_on_after_an_alarm() -> None:
    """A stream is watched on after its alarm."""
    assert [2, 5] == [alarm["seq"] for alarm in replayed(stream("a", [0] * 7))[1]]


@given(st.randoms(use_true_random=False))
def test_streams_do_not_touch_each_other(rng: random.Random) -> None:
    """However streams are interleaved, each gives the alarms that it gives alone."""
    left = [stream(name, [rng.choice((0, 1)) for _ in range(12)]) for name in "abc"]
    alone = [alarm for rows in left for alarm in replayed(rows)[1]]
    mixed = []
    while any(left):
        mixed.append(rng.choice([rows for rows in left if rows]).pop(0))
    together = sorted(replayed(mixed)[1], key=lambda alarm: (alarm["stream"], alarm["seq"]))
    assert alone == together


WRONG: dict[str, tuple[Any, str]] = {
    "not JSON": (b'{"stream": \n', "not JSON: Expecting value at character 13"),
    "cut": (b'{"stream":"s0012"\n', "not JSON: Expecting ',' delimiter at character 19"),
    "not UTF-8": (b'{"stream":"\xff"}\n', "not UTF-8 at byte 11"),
    "too deep": (b"[" * 60_000 + b"\n", "not JSON: nested too deep, or a number with too many digits"),
    "too long": (b'"' + b"x" * 3 * LONGEST_LINE + b'"\n', f"longer than {LONGEST_LINE} bytes"),
    "a list": ([1], "expected an object, found [1]"),
    "a number": (7, "expected an object, found 7"),
    **{f"no {name}": ({k: v for k, v in GOOD.items() if k != name}, f"{name}: missing") for name in list(GOOD)[:6]},
    "no run": ({k: v for k, v in GOOD.items() if k != "run"}, "run: missing; an item of a set belongs to a run"),
    "stream of no letters": (GOOD | {"stream": ""}, "stream: expected 1 to 200 characters of text, found ''"),
    "stream a number": (GOOD | {"stream": 3}, "stream: expected 1 to 200 characters of text, found 3"),
    "unknown kind": (
        GOOD | {"kind": "mood"},
        "kind: expected one of cost, errors, fingerprint, latency, logprob, quality, speed, tokens, version, "
        "found 'mood'",
    ),
    "kind a list": (
        GOOD | {"kind": []},
        "kind: expected one of cost, errors, fingerprint, latency, logprob, quality, speed, tokens, version, found []",
    ),
    "NaN": (GOOD | {"value": float("nan")}, "value: expected a finite number, 0 or more, found nan"),
    "infinite": (GOOD | {"value": float("inf")}, "value: expected a finite number, 0 or more, found inf"),
    "huge": (GOOD | {"value": 10**400}, "value: expected a finite number, 0 or more, found a huge number"),
    "negative": (GOOD | {"value": -0.5}, "value: expected a finite number, 0 or more, found -0.5"),
    "a probability": (GOOD | {"kind": "logprob"}, "value: expected a finite number, 0 or less, found 1.0"),
    "no probability at all": (
        GOOD | {"kind": "logprob", "value": float("-inf")},
        "value: expected a finite number, 0 or less, found -inf",
    ),
    "text value": (GOOD | {"value": "1.0"}, "value: expected a finite number, 0 or more, found '1.0'"),
    "true": (GOOD | {"value": True}, "value: expected a finite number, 0 or more, found True"),
    "null": (GOOD | {"value": None}, "value: expected a finite number, 0 or more, found None"),
    "quality above 1": (GOOD | {"value": 1.5}, "value: expected a number from 0 to 1, found 1.5"),
    "half an error": (GOOD | {"kind": "errors", "value": 0.5}, "value: expected 0 or 1, found 0.5"),
    "token a number": (GOOD | {"kind": "fingerprint"}, "value: expected at most 1000 characters, found 1.0"),
    "future": (GOOD | {"t": NOW + 86_500}, "t: 1718086500.0 is more than a day in the future"),
    "t NaN": (GOOD | {"t": float("nan")}, "t: expected a finite number, 0 or more, found nan"),
    "t text": (GOOD | {"t": "2024-06-10"}, "t: expected a finite number, 0 or more, found '2024-06-10'"),
    "seq broken": (GOOD | {"seq": 1.5}, "seq: expected a whole number, 0 or more, found 1.5"),
    "seq negative": (GOOD | {"seq": -1}, "seq: expected a whole number, 0 or more, found -1"),
    "item -2": (GOOD | {"item": -2}, "item: expected a whole number, -1 or more, found -2"),
    "run text": (GOOD | {"run": "x"}, "run: expected a whole number, 0 or more, found 'x'"),
    "calib text": (GOOD | {"calib": "no"}, "calib: expected true or false, found 'no'"),
    "usd negative": (GOOD | {"usd": -1}, "usd: expected a finite number, 0 or more, found -1"),
    "another kind": (GOOD | {"seq": 9, "kind": "tokens"}, "kind: tokens, but stream 's0012' is of kind quality"),
    "seq repeats": (GOOD | {"seq": 1}, "seq: 1 after 1: it must grow within a stream"),
    "seq goes back": (GOOD | {"seq": 0}, "seq: 0 after 1: it must grow within a stream"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_bad_line_is_refused_and_the_rest_goes_on(case: str) -> None:
    """Place, field and reason on standard error; the alarms are those without the line."""
    bad, reason = WRONG[case]
    rows = [row | {"seq": seq} for seq, row in zip((0, 1, 10), stream("s0012", [0, 0, 0]), strict=True)]
    refused, found, complaints = replayed([*rows[:2], bad, rows[2]])
    assert (1, [f"line 3: {reason}"], replayed(rows)[1]) == (refused, complaints, found)


def test_a_refused_observation_reaches_no_detector() -> None:
    """Nothing that is refused is stepped, not even as the first of a stream; a good one later begins it."""
    seen: list[ThirdLow] = []
    replay = Replay(NOW, 100, lambda kind, **_: seen.append(ThirdLow(kind)) or seen[-1])  # type: ignore[func-returns-value, arg-type, return-value]
    for row in (GOOD | {"value": float("nan")}, GOOD, GOOD, GOOD | {"kind": "cost", "seq": 900}, GOOD | {"seq": 432}):
        try:
            replay.take(row)
        except ObservationRefused:
            continue
    assert [[NOW, NOW]] == [[sample.at for sample in one.seen] for one in seen]


def test_what_may_be_left_out() -> None:
    """One-shot traffic needs no run; price and calibration are optional; whole numbers may be written as 3.0."""
    row = {"stream": "a", "seq": 3.0, "t": 5, "kind": "fingerprint", "value": "The", "item": -1, "usd": None}
    assert (3, Sample("fingerprint", "The", 5.0, "a")) == observed(row, NOW)
    assert (3, Sample("logprob", -2.0, 5.0, "a")) == observed(row | {"kind": "logprob", "value": -2}, NOW)


def test_empty_lines_are_no_observations() -> None:
    """An empty line is passed over, and counts as a line."""
    assert (1, [], ["line 3: expected an object, found 0"]) == replayed([b"\n", b"  \r\n", 0])


def test_more_streams_than_fit() -> None:
    """The stream heard of longest ago is given up, and standard error says so; it begins anew if it returns."""
    rows = [*stream("a", [0, 0]), *stream("b", [0, 0]), *stream("c", [0]), stream("b", [0, 0, 0])[2]]
    refused, found, complaints = replayed([*rows, stream("a", [0] * 3)[2]], most=2)
    said = [
        "line 5: more than 2 streams at a time; the oldest are forgotten",
        "2 streams were forgotten, since more than 2 were there at a time",
    ]
    assert (0, ["b"], said) == (refused, [alarm["stream"] for alarm in found], complaints)


def test_observations_that_are_read_already() -> None:
    """The detection table goes the same way as the command: same alarms, same refusals."""
    rows = [*stream("a", [0, 0]), 5, stream("a", [0] * 3)[2]]
    places: list[tuple[int, str]] = []
    found = list(alarms(rows, now=NOW, make=make, refused=lambda place, error: places.append((place, error.reason))))  # type: ignore[arg-type]
    assert ([(3, "expected an object, found 5")], replayed(rows)[1]) == (places, found)
