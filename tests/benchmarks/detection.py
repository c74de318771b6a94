"""How soon the detectors see a change, and how often they see one that is not there: the table of issue 6.

Run from the repository's root: `python -m tests.benchmarks.detection [--streams N] [--seed S] [--only WORDS]`.
The streams are generated (see streams.py); they go through the same code as `understudy replay`.  A detection is an
alarm at or after the change, its delay the difference of the two numbers; in batches, the change's own counts as the
first.  Every alarm before the change is false, and so is every alarm where nothing got worse; after an improvement
there may be none.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.streams import Scenario, Stream, streams
from understudy.detectors.stream import detector
from understudy.services.replay import Make, alarms, observed

LENGTH = 10_000.0
FALSE = 1.5
"""False alarms per 10,000 observations in control, over all scenarios."""
FALSE_ABORTED = 0.2
"""False alarms a stream with one bad run: the issue's 4, on twenty streams."""
DETECTED = 95.0
NOW = 4_000_000_000.0
EVERY = 25
"""Steps between two looks at the size of the state."""


@dataclass(slots=True)
class Outcome:
    """What became of the streams of one scenario."""

    scenario: Scenario
    streams: int = 0
    delays: list[int] = field(default_factory=list)
    false: int = 0
    false_streams: int = 0
    degraded: int = 0
    better: int = 0
    """Alarms after an improvement."""
    in_control: int = 0
    refused: int = 0

    def add(self, stream: Stream, found: Sequence[tuple[int, str]], refused: int = 0) -> None:
        """One more stream, and the `seq` and verdict of each of its alarms."""
        self.streams += 1
        self.refused += refused
        counts = self.scenario.means == "change"
        changed = stream.changed if counts and stream.changed is not None else math.inf
        excused = range(*stream.excused)
        self.in_control += sum(
            row["seq"] < changed and not row["calib"] and row["seq"] not in excused for row in stream.observations
        )
        found = [one for one in found if one[0] not in excused]
        false = [verdict for seq, verdict in found if seq < changed]
        self.false += len(false)
        self.false_streams += bool(false)
        self.degraded += false.count("degraded")
        if self.scenario.means == "improvement" and stream.changed is not None:
            self.better += sum(seq >= stream.changed for seq, _ in found)
        late = [seq for seq, _ in found if seq >= changed]
        if late:
            self.delays.append(self._delay(stream, min(late)))

    def _delay(self, stream: Stream, seq: int) -> int:
        assert stream.changed is not None
        if self.scenario.unit == "observations":
            return seq - stream.changed
        return len({row["run"] for row in stream.observations[stream.changed : seq + 1]})

    @property
    def detected(self) -> float:
        return 100 * len(self.delays) / max(1, self.streams)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.delays) if self.delays else math.nan

    @property
    def rate(self) -> float:
        """False alarms per 10,000 observations in control."""
        return 10_000 * self.false / max(1, self.in_control)

    @property
    def verdict(self) -> str:
        if self.refused:
            return f"{self.refused} REFUSED"
        if self.scenario.means == "change":
            late = self.scenario.bar is not None and not self.mean <= self.scenario.bar
            return "MISS" if late or self.detected < DETECTED else "ok"
        if self.scenario.means == "improvement":
            return "MISS" if self.better else "ok"
        if self.scenario.means == "bad run":
            return "MISS" if self.false > FALSE_ABORTED * self.streams else "ok"
        return "MISS" if self.rate > FALSE else "ok"


def judged(scenario: Scenario, number: int, seed: int, length: float = LENGTH, make: Make = detector) -> Outcome:
    """A scenario's streams, each by itself through the replay."""
    outcome = Outcome(scenario)
    for stream in streams(scenario, number, seed):
        refused: list[int] = []
        rows = alarms(
            stream.observations,
            now=NOW,
            in_control_length=length,
            make=make,
            refused=lambda place, _, all_=refused: all_.append(place),  # type: ignore[misc]
        )
        outcome.add(stream, [(alarm["seq"], alarm["verdict"]) for alarm in rows], len(refused))
    return outcome


@dataclass(slots=True)
class Spent:
    """Microseconds a step, and the largest state in bytes."""

    steps: int = 0
    seconds: float = 0.0
    state: int = 0


def spent(scenarios: Sequence[Scenario], seed: int, length: float = LENGTH, make: Make = detector) -> dict[str, Spent]:
    """By kind, over two streams of each scenario; the detector's own steps, without reading and checking."""
    found: dict[str, Spent] = {}
    for scenario in scenarios:
        for stream in streams(scenario, 2, seed):
            samples = [observed(row, NOW)[1] for row in stream.observations]
            watch, into = make(stream.kind, in_control_length=length), found.setdefault(stream.kind, Spent())
            for first in range(0, len(samples), EVERY):
                part = samples[first : first + EVERY]
                began = time.perf_counter()
                for sample in part:
                    watch.step(sample)
                into.seconds += time.perf_counter() - began
                into.steps += len(part)
                size = len(json.dumps(watch.plain(), separators=(",", ":")).encode())
                into.state = max(into.state, size)
    return found


HEAD = (
    f"{'scenario':24}{'streams':>8}{'found %':>9}{'mean':>8}{'median':>8}{'p90':>7}{'false':>7}{'/10,000':>9}"
    f"{'bar':>6}{'ref':>6}  "
)


def line(outcome: Outcome) -> str:
    """A row of the table."""
    delays, what = sorted(outcome.delays), outcome.scenario
    middle = f"{statistics.median(delays):.0f}" if delays else "-"
    tail = f"{delays[math.ceil(0.9 * len(delays)) - 1]}" if delays else "-"
    found = f"{outcome.detected:.0f}" if what.means == "change" else "-"
    bars = f"{what.bar or '-':>6}{what.reference or '-':>6}"
    note = "" if what.unit == "observations" else " (batches)"
    if what.means != "change" and outcome.false:
        note += f" ({outcome.false_streams} streams, {outcome.degraded} as degraded"
        note += f", {outcome.better} after it)" if what.means == "improvement" else ")"
    mean = f"{outcome.mean:.1f}" if delays else "-"
    return (
        f"{what.name:24}{outcome.streams:>8}{found:>9}{mean:>8}{middle:>8}{tail:>7}{outcome.false:>7}"
        f"{outcome.rate:>9.2f}{bars}  {outcome.verdict}{note}"
    )


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """False alarms over all scenarios, over those where nothing but chance happens, and how many rows are as wished;
    the odd ones apart."""
    found = []
    for odd, words in ((False, "scenarios of the issue"), (True, "odd scenarios")):
        chosen = [one for one in outcomes if one.scenario.odd == odd]
        plain = [one for one in chosen if one.scenario.means in ("change", "no change")]
        length, missed = sum(one.in_control for one in chosen), sum(one.verdict != "ok" for one in chosen)
        if chosen:
            found.append(
                f"{words}: {len(chosen) - missed} ok, {missed} missed; "
                f"false alarms per 10,000 observations in control {_rate(chosen):.2f} (of {length:,}), "
                f"without improvements and aborted runs {_rate(plain):.2f} (bar {FALSE})"
            )
    return found


def _rate(outcomes: Sequence[Outcome]) -> float:
    return 10_000 * sum(one.false for one in outcomes) / max(1, sum(one.in_control for one in outcomes))


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20, help="of each scenario (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-control-length", type=float, default=LENGTH, help="(10000)")
    parser.add_argument("--only", default="", metavar="WORDS", help="scenarios whose name contains one of them, a|b")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    options = parser.parse_args()
    chosen = [one for one in SCENARIOS if any(word in one.name for word in options.only.split("|"))]
    say(HEAD)
    outcomes = []
    asked = [(one.name, options.streams, options.seed, options.in_control_length) for one in chosen]
    if options.jobs > 1:
        with ProcessPoolExecutor(options.jobs) as pool:
            for outcome in pool.map(_one, *zip(*asked, strict=True)):
                outcomes.append(outcome)
                say(line(outcomes[-1]))
    else:
        for arguments in asked:
            outcomes.append(_one(*arguments))
            say(line(outcomes[-1]))
    for text in summary(outcomes):
        say(text)
    for kind, cost in sorted(spent(chosen, options.seed, options.in_control_length).items()):
        say(f"{kind:12}{1e6 * cost.seconds / max(1, cost.steps):8.1f} us an observation{cost.state:8} bytes of state")


def _one(name: str, number: int, seed: int, length: float) -> Outcome:
    """In another process a scenario cannot be sent, since it holds functions; its name can."""
    scenario = next(one for one in SCENARIOS if one.name == name)
    outcome = judged(scenario, number, seed, length)
    outcome.scenario = replace(scenario, make=_nothing)
    return outcome


def _nothing(*_: object) -> Stream:
    raise AssertionError("only for its figures")


if __name__ == "__main__":
    main()
