"""Observations in, alarms out: the detectors of production over what was recorded elsewhere.

`infra/detection.md` describes both forms.  What cannot be read is refused where it stands, before any detector sees it.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

from understudy.detectors.sample import KINDS, ONE_SHOT, TEXTS, Alarm, Kind, Sample
from understudy.detectors.stream import IN_CONTROL_LENGTH, Detector
from understudy.detectors.stream import detector as new_detector
from understudy.errors import ObservationRefused

MOST_STREAMS = 10_000
"""Streams that are watched at a time; of more, the one that was heard of longest ago is forgotten."""
LONGEST_LINE = 65_536
LONGEST_NAME = 200
LONGEST_TEXT = 1000
FUTURE = 86_400.0
"""Seconds by which an observation may be ahead of our clock."""
GAPS = 64
NEEDED = ("stream", "seq", "t", "kind", "value", "item")
MEANT = {"quality": "a number from 0 to 1", "errors": "0 or 1"}

Make = Callable[..., Detector]
"""As `understudy.detectors.stream.detector`."""


@dataclass(slots=True)
class _Watched:
    """One stream: its detector, and where in it we are.  `gaps` are (values seen before it, numbers left out)."""

    kind: Kind
    detector: Detector
    seq: int
    seen: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def move(self, seq: int) -> None:
        skipped = seq - self.seq - 1
        if skipped > 0 and self.seen:
            self.gaps = [*self.gaps[1 - GAPS :], (self.seen, skipped)]
        self.seq = seq
        self.seen += 1

    def back(self, values: int) -> int:
        """The number of the value seen so many before the newest; approximate where many numbers were left out."""
        place = self.seen - values
        return self.seq - values - sum(skipped for before, skipped in self.gaps if before >= place)


@dataclass(slots=True)
class Replay:
    """Watches many streams at once.

    `now`: our clock, epoch seconds.  `make` builds the detector of a stream.
    `forgotten`: streams that were given up because there were more than `most` at a time.
    """

    now: float
    in_control_length: float = IN_CONTROL_LENGTH
    make: Make = new_detector
    most: int = MOST_STREAMS
    forgotten: int = 0
    _watched: OrderedDict[str, _Watched] = field(default_factory=OrderedDict)

    def take(self, plain: object) -> dict[str, Any] | None:
        """One more observation; the alarm that it raises, JSON-able.  ObservationRefused: nothing has changed."""
        seq, seen = observed(plain, self.now + FUTURE)
        watched = self._stream(seen, seq)
        watched.move(seq)
        alarm = watched.detector.step(seen)
        return None if alarm is None else told(seen.stream, seq, alarm, watched.back(alarm.samples_since - 1))

    def _stream(self, seen: Sample, seq: int) -> _Watched:
        watched = self._watched.get(seen.stream)
        if watched is None:
            if len(self._watched) >= self.most:
                self._watched.popitem(last=False)
                self.forgotten += 1
            made = self.make(seen.kind, in_control_length=self.in_control_length)
            watched = self._watched[seen.stream] = _Watched(seen.kind, made, seq - 1)
            return watched
        if watched.kind != seen.kind:
            raise ObservationRefused("kind", f"{seen.kind}, but stream {seen.stream!r} is of kind {watched.kind}")
        if seq <= watched.seq:
            raise ObservationRefused("seq", f"{seq} after {watched.seq}: it must grow within a stream")
        self._watched.move_to_end(seen.stream)
        return watched


def alarms(
    observations: Iterable[object],
    *,
    now: float,
    in_control_length: float = IN_CONTROL_LENGTH,
    make: Make = new_detector,
    refused: Callable[[int, ObservationRefused], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """The alarms of observations that are read already; `refused` is told of the others, counted from 1."""
    replay = Replay(now, in_control_length, make)
    for place, plain in enumerate(observations, 1):
        try:
            alarm = replay.take(plain)
        except ObservationRefused as error:
            if refused is not None:
                refused(place, error)
            continue
        if alarm is not None:
            yield alarm


def replay_lines(lines: BinaryIO, out: TextIO, complaints: TextIO, replay: Replay) -> int:
    """Reads JSON lines to their end and writes a JSON line an alarm at once; returns how many lines were refused."""
    refused = number = 0
    warned = False
    while line := lines.readline(LONGEST_LINE + 1):
        number += 1
        try:
            if len(line) > LONGEST_LINE:
                _skip(lines, line)
                raise ObservationRefused("", f"longer than {LONGEST_LINE} bytes")
            alarm = replay.take(_parsed(line)) if not line.isspace() else None
        except ObservationRefused as error:
            refused += 1
            complaints.write(f"line {number}: {error}\n")
            continue
        if alarm is not None:
            out.write(json.dumps(alarm, ensure_ascii=False, allow_nan=False) + "\n")
            out.flush()
        if replay.forgotten and not warned:
            warned = True
            complaints.write(f"line {number}: more than {replay.most} streams at a time; the oldest are forgotten\n")
    if replay.forgotten:
        complaints.write(
            f"{replay.forgotten} streams were forgotten, since more than {replay.most} were there at a time\n"
        )
    return refused


def _skip(lines: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = lines.readline(LONGEST_LINE)


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ObservationRefused("", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ObservationRefused("", f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise ObservationRefused("", "not JSON: nested too deep, or a number with too many digits") from error


def observed(plain: object, latest: float) -> tuple[int, Sample]:
    """The number of an observation in its stream, and its value; `latest` is the last moment it may be of.

    Raises ObservationRefused with the first field that is wrong."""
    if not isinstance(plain, dict):
        raise ObservationRefused("", f"expected an object, found {_shown(plain)}")
    for name in NEEDED:
        if name not in plain:
            raise ObservationRefused(name, "missing")
    stream, kind = plain["stream"], plain["kind"]
    if type(stream) is not str or not 0 < len(stream) <= LONGEST_NAME:
        raise ObservationRefused("stream", f"expected 1 to {LONGEST_NAME} characters of text, found {_shown(stream)}")
    if type(kind) is not str or kind not in KINDS:
        raise ObservationRefused("kind", f"expected one of {', '.join(sorted(KINDS))}, found {_shown(kind)}")
    at = _number("t", plain["t"])
    if at > latest:
        raise ObservationRefused("t", f"{at} is more than a day in the future")
    item = _whole("item", plain["item"], ONE_SHOT)
    if item >= 0 and plain.get("run") is None:
        raise ObservationRefused("run", "missing; an item of a set belongs to a run")
    calib = plain.get("calib", False)
    if calib is not True and calib is not False:
        raise ObservationRefused("calib", f"expected true or false, found {_shown(calib)}")
    run, usd = plain.get("run"), plain.get("usd")
    return _whole("seq", plain["seq"], 0), Sample(
        kind,  # type: ignore[arg-type]
        _value(kind, plain["value"]),
        at,
        stream,
        item,
        0 if run is None else _whole("run", run, 0),
        calib,
        0.0 if usd is None else _number("usd", usd),
    )


def _value(kind: str, value: object) -> float | str:
    if kind in TEXTS:
        if type(value) is str and len(value) <= LONGEST_TEXT:
            return value
        raise ObservationRefused("value", f"expected at most {LONGEST_TEXT} characters, found {_shown(value)}")
    if kind == "logprob":
        return _number("value", value, -1)
    number = _number("value", value)
    if number not in (0.0, 1.0) and (kind == "errors" or (kind == "quality" and number > 1)):
        raise ObservationRefused("value", f"expected {MEANT[kind]}, found {_shown(value)}")
    return number


def _number(name: str, value: object, sign: int = 1) -> float:
    """A number that is not negative or, with the other sign, not positive."""
    if type(value) is float or type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if 0 <= sign * number < math.inf:
            return number
    wanted = "more" if sign > 0 else "less"
    raise ObservationRefused(name, f"expected a finite number, 0 or {wanted}, found {_shown(value)}")


def _whole(name: str, value: object, least: int) -> int:
    if type(value) is int and least <= value < 1 << 53:
        return value
    if type(value) is float and value.is_integer() and least <= value < 1 << 53:
        return int(value)
    raise ObservationRefused(name, f"expected a whole number, {least} or more, found {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


def told(stream: str, seq: int, alarm: Alarm, changed_seq: int) -> dict[str, Any]:
    """An alarm as `understudy replay` prints it."""
    plain: dict[str, Any] = {
        "stream": stream,
        "seq": seq,
        "kind": alarm.kind,
        "verdict": alarm.verdict,
        "at": alarm.at,
        "changed_at": alarm.changed_at,
        "changed_seq": max(0, changed_seq),
        "before": _finite(alarm.before),
        "after": _finite(alarm.after),
        "interval": [_finite(alarm.low), _finite(alarm.high)],
        "unit": alarm.unit,
        "statistic": _finite(alarm.statistic),
        "threshold": _finite(alarm.threshold),
        "evidence": _clean(alarm.evidence),
    }
    return plain | {"message": sentence(plain, alarm.samples_since)}


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _clean(value: Any) -> Any:
    """Plain data without numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return _finite(value) if isinstance(value, float) else value


NAMES = {
    "errors": "the share of failed calls",
    "latency": "the time to the first token",
    "speed": "the speed of the answers",
    "quality": "the quality of the answers",
    "tokens": "the number of output tokens",
    "cost": "the cost of a call",
    "logprob": "how probable the first tokens are",
    "fingerprint": "what the answers begin with",
    "version": "the reported version",
}


def sentence(plain: Mapping[str, Any], since: int) -> str:
    """What an alarm says, in words."""
    name, before, after = NAMES[plain["kind"]], plain["before"], plain["after"]
    unit = f" ({plain['unit']})" if plain["unit"] else ""
    low, high = plain["interval"]
    if before is None or after is None:
        moved = f"{name} changed{unit}"
    else:
        verb = "rose" if after > before else "fell" if after < before else "changed"
        moved = f"{name} {verb} from {before:.4g} to {after:.4g}{unit}"
    if low is not None and high is not None:
        moved += f", 95 % interval {low:.4g} to {high:.4g}"
    worse = "it is worse" if plain["verdict"] == "degraded" else "it is different, for somebody to compare"
    values = "1 observation" if since == 1 else f"{since} observations"
    return f"{plain['stream']}: {moved}; seen in the last {values}, from about seq {plain['changed_seq']}; {worse}."
