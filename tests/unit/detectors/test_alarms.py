"""When the detectors speak and when they are silent, on generated streams whose change is known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.benchmarks.detection import judged
from tests.benchmarks.scenarios import BARRED, SCENARIOS
from understudy.detectors.confirm import confirmation
from understudy.detectors.sample import ONE_SHOT, Alarm, Kind, Sample
from understudy.detectors.stream import Detector, detector, detector_from

LENGTH = 10_000.0
MINUTE, DAY = 60.0, 86_400.0
NAMED = {scenario.name: scenario for scenario in SCENARIOS}


def once(kind: Kind, values: Iterator[float | str] | list[float | str], begin: float = 0.0) -> list[Sample]:
    """One-shot values, a minute apart."""
    return [Sample(kind, value, begin + place * MINUTE) for place, value in enumerate(values)]


def asked(
    kind: Kind, runs: int, value: Callable[[int, int], float | str], *, items: int = 40, first: int = 0
) -> list[Sample]:
    """Every item once in each run; `value` of item and run."""
    return [
        Sample(kind, value(item, run), (run * items + item) * MINUTE, "core", item, run)
        for run in range(first, first + runs)
        for item in range(items)
    ]


def fed(watch: Detector, samples: list[Sample]) -> list[tuple[int, Alarm]]:
    """The alarms, each with its place."""
    found = ((place, watch.step(sample)) for place, sample in enumerate(samples))
    return [(place, alarm) for place, alarm in found if alarm]


class TestBars:
    """The bars of the issue, on few streams; `python -m tests.benchmarks.detection` has many."""

    @pytest.mark.parametrize("name", [scenario.name for scenario in BARRED])
    def test_a_change_is_seen_in_time(self, name: str) -> None:
        """Nine in ten changes are seen, after no more values on average than the issue allows."""
        outcome = judged(NAMED[name], 5 if name.startswith("latency") else 12, seed=11)
        assert NAMED[name].bar is not None
        assert outcome.detected >= 90
        assert outcome.mean <= NAMED[name].bar

    @pytest.mark.parametrize("name", [name for name in NAMED if "steady" in name])
    def test_no_change_is_seldom_seen(self, name: str) -> None:
        """Where nothing changes, a detector speaks twice at most in about one and a half in-control lengths."""
        outcome = judged(NAMED[name], 6, seed=12)
        assert outcome.in_control >= LENGTH
        assert outcome.false_streams <= 2

    @pytest.mark.parametrize("name", ["canary improves", "quality improves"])
    def test_an_improvement_is_no_degradation(self, name: str) -> None:
        """Better answers raise no alarm, not even in passing."""
        outcome = judged(NAMED[name], 8, seed=13)
        late = [stream for stream in range(outcome.streams) if outcome.false_streams > 1]
        assert [] == late


class TestQuality:
    def test_one_bad_run_is_none_of_the_models(self) -> None:
        """A run whose answers are all aborted raises no alarm, and is not learned as normal."""
        watch = detector("quality", in_control_length=LENGTH)
        good = fed(watch, asked("quality", 8, lambda item, run: float(item < 34)))
        bad = fed(watch, asked("quality", 1, lambda item, run: 0.0, first=8))
        after = fed(watch, asked("quality", 6, lambda item, run: float(item < 34), first=9))
        assert ([], [], []) == (good, bad, after)

    def test_two_bad_runs_are(self) -> None:
        """If the next run is as bad, the alarm comes early in it."""
        watch = detector("quality", in_control_length=LENGTH)
        fed(watch, asked("quality", 8, lambda item, run: float(item < 34)))
        alarms = fed(watch, asked("quality", 2, lambda item, run: 0.0, first=8))
        assert [("quality", "degraded")] == [(alarm.kind, alarm.verdict) for _, alarm in alarms][:1]
        assert 40 <= alarms[0][0] <= 50

    def test_five_lost_items_of_forty_are_seen_in_one_run(self) -> None:
        """Items that were always right and are now wrong are seen at the fifth, though 29 of 40 are still right."""
        watch = detector("quality", in_control_length=LENGTH)
        fed(watch, asked("quality", 8, lambda item, run: float(item < 34)))
        lost = {3, 9, 15, 21, 27}
        alarms = fed(watch, asked("quality", 1, lambda item, run: float(item < 34 and item not in lost), first=8))
        assert [27] == [place for place, _ in alarms]
        assert alarms[0][1].after is not None
        assert alarms[0][1].before is not None
        assert alarms[0][1].before > 0.9 > alarms[0][1].after

    def test_an_item_that_was_never_right_says_nothing(self) -> None:
        """Wrong answers to questions that were always answered wrongly raise no alarm."""
        watch = detector("quality", in_control_length=LENGTH)
        assert [] == fed(watch, asked("quality", 40, lambda item, run: 0.0))

    def test_gains_are_set_against_losses(self) -> None:
        """A model that loses three items and gains eight is not degraded."""
        watch = detector("quality", in_control_length=LENGTH)
        fed(watch, asked("quality", 8, lambda item, run: float(item < 25)))
        swapped = {5, 12, 20} | set(range(30, 38))
        alarms = fed(watch, asked("quality", 12, lambda item, run: float((item < 25) != (item in swapped)), first=8))
        assert [] == alarms

    def test_one_shot_and_repeated_values_are_kept_apart(self) -> None:
        """Wrong answers to a stream's one-shot questions do not touch its repeated ones."""
        watch, alone = (detector("quality", in_control_length=LENGTH) for _ in range(2))
        samples = asked("quality", 8, lambda item, run: float(item < 34))
        for sample in samples:
            watch.step(replace(sample, item=ONE_SHOT, value=0.5))
            watch.step(sample)
            alone.step(sample)
        assert alone.plain()["repeated"] == watch.plain()["repeated"]


class TestAmounts:
    def test_a_silent_cut_of_tokens_is_a_change(self) -> None:
        """Tokens that fall by a fifth on the same questions are a change within ten answers."""
        rng = random.Random(4)
        watch = detector("tokens", in_control_length=LENGTH)
        usual = asked("tokens", 8, lambda item, run: round((50 + 9 * item) * rng.lognormvariate(0, 0.03)))
        assert [] == fed(watch, usual)
        less = asked("tokens", 1, lambda item, run: round(0.8 * (50 + 9 * item) * rng.lognormvariate(0, 0.03)), first=8)
        (place, alarm), *_ = fed(watch, less)
        assert (True, "changed", True) == (place < 10, alarm.verdict, 0.7 < (alarm.after or 0) < 0.9)

    def test_a_cheaper_answer_is_no_degradation(self) -> None:
        """Cost that falls raises no alarm; cost that rises is a degradation."""
        rng = random.Random(5)
        usual = asked("cost", 8, lambda item, run: (1 + item) * 1e-4 * rng.lognormvariate(0, 0.05))
        for factor, verdicts in ((0.7, []), (1.3, ["degraded"])):
            watch = detector("cost", in_control_length=LENGTH)
            fed(watch, usual)
            after = asked("cost", 1, lambda item, run, by=factor: by * (1 + item) * 1e-4, first=8)  # type: ignore[misc]
            assert verdicts == [alarm.verdict for _, alarm in fed(watch, after)]

    @pytest.mark.parametrize("kind", ["tokens", "cost", "latency", "speed"])
    def test_nothing_and_always_the_same_are_borne(self, kind: Kind) -> None:
        """Zeros and values that never vary raise no alarm and break nothing."""
        watch = detector(kind, in_control_length=LENGTH)
        assert [] == fed(watch, once(kind, [0.0] * 200))
        same = detector(kind, in_control_length=LENGTH)
        assert [] == fed(same, asked(kind, 20, lambda item, run: 7.0))


class TestLatency:
    def test_a_spike_is_not_a_change(self) -> None:
        """One answer that takes fifty times as long raises no alarm."""
        rng = random.Random(6)
        values = [rng.lognormvariate(-0.5, 0.3) for _ in range(400)]
        values[350] *= 50
        assert [] == fed(detector("latency", in_control_length=LENGTH), once("latency", values))

    def test_slower_answers_are_worse_and_faster_ones_are_not(self) -> None:
        """Half as many tokens a second is a degradation, twice as many is none."""
        for factor, verdicts in ((0.5, ["degraded"]), (2.0, [])):
            rng = random.Random(7)
            watch = detector("speed", in_control_length=LENGTH)
            fed(watch, once("speed", [60 * rng.lognormvariate(0, 0.2) for _ in range(300)]))
            after = [60 * factor * rng.lognormvariate(0, 0.2) for _ in range(60)]
            assert verdicts == [alarm.verdict for _, alarm in fed(watch, once("speed", after, 300 * MINUTE))][:1]


class TestVersions:
    def test_a_new_version_is_told_once(self) -> None:
        """A version that comes twice is a change, told with the one before it; going on with it is none."""
        watch = detector("version")
        alarms = fed(watch, once("version", ["m-1"] * 9 + ["m-2"] * 9))
        assert [(10, "m-1", "m-2")] == [(p, a.evidence["before"], a.evidence["after"]) for p, a in alarms]

    def test_two_builds_side_by_side_are_no_change(self) -> None:
        """Versions that take turns are each known after their first time."""
        watch = detector("version")
        fed(watch, once("version", ["m/a", "m/b", "m/b"] * 3))
        assert [] == fed(watch, once("version", ["m/a", "m/b"] * 20))

    def test_acceptance_keeps_the_versions_that_are_still_served(self) -> None:
        """Builds that take turns stay accepted; one that was gone by then is news when it returns."""
        watch = detector("version")
        assert 1 == len(fed(watch, once("version", ["m/a"] * 5 + ["m/b", "m/b", "m/a"])))
        watch.accept()
        assert [] == fed(watch, once("version", ["m/a", "m/a", "m/b", "m/b"] * 5))
        assert 1 == len(fed(watch, once("version", ["m/c"] * 3)))
        watch.accept()
        assert 1 == len(fed(watch, once("version", ["m/a"] * 3)))

    def test_many_builds_in_rotation_are_each_told_once(self) -> None:
        """Also where their names differ at the end only, behind a long name of a model; the state stays small."""
        watch = detector("version")
        names = [f"{'m' * 90}/{number}" for number in range(60)]
        assert 59 == len(fed(watch, once("version", [name for name in names for _ in range(2)])))
        assert [] == fed(watch, once("version", names * 2))
        fed(watch, once("version", [f"{name}/{again}" for again in range(3) for name in names for _ in range(2)]))
        assert len(json.dumps(watch.plain())) < 1200


class TestState:
    def test_the_largest_states_fit(self) -> None:
        """With more items than are kept, the state is at most 4 KB as JSON."""
        rng = random.Random(8)
        sizes = {}
        for kind, value in {
            "quality": lambda: round(rng.random(), 3),
            "tokens": lambda: rng.randint(1, 90_000),
            "cost": lambda: rng.random() / 7,
            "fingerprint": lambda: f"t{rng.randint(0, 9)}",
        }.items():
            watch = detector(kind, in_control_length=1e12)  # type: ignore[arg-type]
            fed(watch, asked(kind, 70, lambda item, run, v=value: v(), items=250))  # type: ignore[arg-type, misc]
            fed(watch, once(kind, [value() for _ in range(200)]))  # type: ignore[arg-type, misc]
            sizes[kind] = len(json.dumps(watch.plain(), separators=(",", ":")))
        for kind in ("latency", "errors"):
            watch = detector(kind, in_control_length=1e12)  # type: ignore[arg-type]
            fed(watch, once(kind, [rng.random() for _ in range(3000)], 1.7e9))  # type: ignore[arg-type]
            sizes[kind] = len(json.dumps(watch.plain(), separators=(",", ":")))
        assert {} == {kind: size for kind, size in sizes.items() if size > 4096}

    @pytest.mark.parametrize(
        "kind", ["quality", "tokens", "cost", "fingerprint", "logprob", "version", "latency", "errors"]
    )
    def test_acceptance_forgets_the_baseline(self, kind: Kind) -> None:
        """What was accepted is normal: the same values raise no alarm afterwards."""
        before = {"fingerprint": "yes", "logprob": -1.0, "version": "m-1"}.get(kind, 1.0)
        after = {"fingerprint": "no", "logprob": -0.3, "version": "m-2", "errors": 0.9, "latency": 3.0}.get(kind, 0.3)
        watch = detector(kind, in_control_length=LENGTH)
        fed(watch, asked(kind, 8, lambda item, run: before))
        watch.accept()
        assert [] == fed(watch, asked(kind, 8, lambda item, run: after, first=8))[1:]


class TestConfirmation:
    def run(self, value: Callable[[int, int], float]) -> list[Sample]:
        return asked("quality", 1, value, first=-1)

    def watch(self) -> Detector:
        watch = detector("quality", in_control_length=LENGTH)
        fed(watch, asked("quality", 8, lambda item, run: float(item < 34)))
        return watch

    @pytest.mark.parametrize(("lost", "verdict"), [(0, "refuted"), (1, "unsure"), (8, "confirmed")])
    def test_the_second_look_decides(self, lost: int, verdict: str) -> None:
        """All as before refutes, many lost items confirm, and one of forty leaves it open."""
        assert verdict == confirmation(self.watch(), self.run(lambda item, run: float(lost <= item < 34)))

    def test_without_baselines_nothing_is_said(self) -> None:
        """A detector that has learned nothing is unsure."""
        assert "unsure" == confirmation(detector("quality"), self.run(lambda item, run: 0.0))

    def test_looking_teaches_nothing(self) -> None:
        """The state after a confirmation is the state before it."""
        watch = self.watch()
        before = json.dumps(watch.plain())
        confirmation(watch, self.run(lambda item, run: 0.0))
        assert before == json.dumps(watch.plain())


@pytest.mark.parametrize(
    "name", ["canary 86-64", "tokens x1.03", "latency x1.5", "errors 45%", "swapped model", "logprob, swap"]
)
def test_a_state_that_was_stored_goes_on_as_if_nothing_was(name: str) -> None:
    """Saved and restored after every value, a detector raises the same alarms, word for word."""
    stream = NAMED[name].make(random.Random(3), "s")
    kept = detector(stream.kind, in_control_length=LENGTH)  # type: ignore[arg-type]
    stored = detector(stream.kind, in_control_length=LENGTH)  # type: ignore[arg-type]
    for row in stream.observations[:1200]:
        sample = Sample(stream.kind, row["value"], row["t"], "", row["item"], row["run"], row["calib"])  # type: ignore[arg-type]
        stored = detector_from(json.loads(json.dumps(stored.plain())), in_control_length=LENGTH)
        assert kept.step(sample) == stored.step(sample)
