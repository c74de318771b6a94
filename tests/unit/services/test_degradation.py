"""From values to findings, holds, incidents and notices, every record delivered twice."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.detecting import KIT, ROW, WATCHED, Asked, Watched, samples
from tests.unit.services.worlds import World
from understudy.detectors.inquiry import LOOK
from understudy.detectors.sample import Sample
from understudy.errors import DocumentError, StoreError
from understudy.health.finding import Hold
from understudy.health.observation import Observation
from understudy.health.quality import ALL, Judged, judged
from understudy.services.operate import accept, release
from understudy.services.publish_control import publish
from understudy.services.update_health import LEARNING

RIGHT, WRONG = [1.0] * 6, [0.0] * 6


def suspected(watched: Watched | None = None, target: str = "lead") -> Watched:
    """A target whose quality has given an alarm that nothing has confirmed yet."""
    watched = watched or Watched()
    watched.answers(RIGHT, target=target)
    watched.answers([0.0] * ROW, target=target)
    return watched


def confirmed(watched: Watched | None = None, target: str = "lead") -> Watched:
    watched = suspected(watched, target)
    watched.answers(WRONG, run=-1, target=target)
    return watched


def test_an_alarm_is_a_suspicion_and_buys_a_run_once() -> None:
    """Nobody is told, nothing is held, and the second delivery buys nothing."""
    watched = suspected()
    assert [("quality", "suspected")] == watched.states()
    assert ([("lead", "core")], [], None) == (watched.confirms.sent, watched.titles(), watched.health().hold)


def test_a_run_that_confirms_it_opens_an_incident_and_a_quarantine() -> None:
    """Told once, with what was done; a route that says automatic has its target held."""
    watched = confirmed()
    assert [("quality", "confirmed")] == watched.states()
    assert ["[critical] lead answers worse than it did"] == watched.titles()
    hold = watched.health().hold
    assert ("quarantined", "understudy") == ((hold.state, hold.by) if hold else None)
    done = [what for _, what in watched.world.store.incident("lead", "quality").actions]
    told = ("gave an alarm", "6 further values confirmed it", "quarantined by understudy")
    assert [True] * 3 == [part in what for part, what in zip(told, done, strict=True)]


def test_a_run_that_refutes_it_drops_it() -> None:
    """No incident was, and none is; the next alarm is a new one."""
    watched = suspected()
    watched.answers(RIGHT, run=-1)
    assert ([], [], []) == (watched.states(), watched.titles(), list(watched.world.store.incidents()))


def test_two_looks_that_say_nothing_are_told_as_a_doubt() -> None:
    """Somebody should look, but nothing is held; confirmed later, it is told again as critical."""
    watched = suspected()
    watched.answers([0.0], run=-1)
    assert [] == watched.titles()
    watched.answers([0.0], run=-2)
    assert ["[warning] lead perhaps answers worse than it did"] == watched.titles()
    assert (2, None) == (len(watched.confirms.sent), watched.health().hold)
    watched.answers(WRONG, run=-3)
    assert watched.titles()[1].startswith("[critical] lead answers worse than it did (still")


@pytest.mark.parametrize(("policy", "held"), [("manual", False), ("off", False), ("automatic", True)])
def test_only_a_route_that_says_so_holds_by_itself(policy: str, held: bool) -> None:
    """Manual tells the command instead."""
    watched = confirmed(Watched(document=WATCHED.replace("quarantine: automatic", f"quarantine: {policy}")))
    assert held == (watched.health().hold is not None)
    assert "`understudy quarantine lead --because TEXT`" in watched.sink.told[0].text


def test_good_runs_lift_the_quarantine_and_end_the_incident() -> None:
    """Three good ones in a row; each but the last buys the next; detectors learn anew."""
    watched = confirmed()
    held = []
    for number in range(3):
        watched.answers(RIGHT, run=-2 - number)
        held.append(watched.health().hold is not None)
    assert ([True, True, False], []) == (held, watched.states())
    assert "[resolved] lead answers as well as it did" == watched.titles()[-1]
    assert [("lead", "core")] * 3 == watched.confirms.sent
    assert "3 good looks in a row" == watched.world.store.incident("lead", "quality").facts["over"]


def test_an_end_that_nothing_shows_claims_no_looks() -> None:
    """A finding that is gone without good looks says no more than that."""
    watched = confirmed()
    before = watched.health()
    watched.react(before, replace(before, findings=(), hold=None))
    assert "it no longer stands" == watched.world.store.incident("lead", "quality").facts["over"]


def test_a_hold_that_an_operator_lifted_does_not_come_back() -> None:
    """While the proof stands, neither bad runs nor redeliveries set it again."""
    watched = confirmed()
    release(watched.world.store, "lead", by="ann", now=watched.world.clock.now)
    watched.answers(WRONG, run=-2)
    assert ([("quality", "confirmed")], None) == (watched.states(), watched.health().hold)


def test_a_hold_of_an_operator_stays() -> None:
    """What Understudy did not set it does not lift."""
    watched = suspected()
    store = watched.world.store
    mine = Hold("drained", 1.0, "ann", "maintenance")
    store.put_health(replace(watched.health(), hold=mine))
    for number in range(5):
        watched.answers(WRONG if number == 0 else RIGHT, run=-1 - number)
    assert ([], mine) == (watched.states(), watched.health().hold)


def test_callers_requests_are_looked_at_a_second_time() -> None:
    """Nothing can be bought for them; the next values are the second look."""
    watched = Watched()
    for values in ([0.2] * 5, [0.9] * ROW):
        watched.see(*samples("latency", values, watched.world.clock.now + 600, stream=""))
    assert ([("latency", "suspected")], []) == (watched.states(), watched.confirms.sent)
    watched.see(*samples("latency", [0.9] * LOOK, watched.world.clock.now + 600, stream=""))
    assert ([("latency", "confirmed")], ["[warning] lead is slower than it was"]) == (
        watched.states(),
        watched.titles(),
    )


@pytest.mark.parametrize("broken", [
    {"value": float("nan")}, {"value": 10**400}, {"at": 1e11}, {"kind": "mood"}, {"kind": "version"}, {"stream": "a#b"},
])  # fmt: skip
def test_a_bad_value_is_refused_and_the_rest_goes_on(broken: dict[str, Any]) -> None:
    """The log names the place and the reason; the others are taken in."""
    watched = Watched(twice=False)
    good = samples("quality", RIGHT, watched.world.clock.now + 600)
    watched.see(replace(good[0], **broken), *good[1:])
    told = [fields for message, fields in watched.world.log.lines if message == "a sample was refused"]
    assert [("lead", 0)] == [(fields["target"], fields["sample"]) for fields in told]
    assert (5, True) == (watched.health().quality[ALL].weight, bool(told[0]["reason"]))


def test_a_detector_that_fails_costs_its_own_stream_only() -> None:
    """A state that nobody can read is logged; health and the other streams go on."""
    watched = Watched(twice=False)
    watched.answers(RIGHT)
    (stream,) = watched.world.store.streams("lead")
    kept = watched.world.store.detector("lead", stream)
    watched.world.store.put_detector("lead", stream, replace(kept, plain={**kept.plain, "detector": {}}), 1.0)
    now = watched.world.clock.now + 600
    watched.see(*samples("quality", RIGHT, now), *samples("cost", [1.0], now))
    assert ["a detector failed"] == [message for message, _ in watched.world.log.lines if "detector" in message]
    assert 2 == len(watched.world.store.streams("lead"))


def test_a_golden_set_that_cannot_be_read_costs_its_own_stream_only() -> None:
    """The log says so; the other streams of the target, and what was learned of this one, stay."""
    watched = Watched(twice=False)
    watched.answers(RIGHT)
    watched.questions = Unreadable()
    now = watched.world.clock.now + 600
    watched.see(*samples("quality", RIGHT, now), *samples("latency", [1.0], now, stream=""))
    assert ["a detector failed"] == [message for message, _ in watched.world.log.lines if "detector" in message]
    assert {("core", "quality"), ("", "latency")} == set(watched.world.store.streams("lead"))


class Unreadable(Asked):
    """Questions of a document that is wrong."""

    @property
    def digest(self) -> str:  # type: ignore[override]
        raise DocumentError([])


class Forgetful(Asked):
    """Fails when it is asked of a task for the first time."""

    def __init__(self) -> None:
        self.asked = 0

    def task(self, item: int) -> tuple[str, float] | None:
        self.asked += 1
        if self.asked == 1:
            raise LookupError("no such question")
        return super().task(item)


def test_a_target_whose_values_break_everything_costs_the_others_nothing() -> None:
    """What nobody foresaw is logged, and the next target is learned."""
    watched = Watched(twice=False)
    watched.update.observe(seen_now(watched, "lead"))
    watched.update.observe(seen_now(watched, "spare"))
    watched.questions = Forgetful()
    watched.update.learn()
    assert ["values were not taken in"] == [message for message, _ in watched.world.log.lines]
    assert ({}, {ALL, "sums", "words"}) == (watched.health().quality, set(watched.health("spare").quality))


def test_learning_ends_in_time() -> None:
    """Breakers come first: values for which a batch has no time left are dropped, and the log says whose."""
    watched = Watched(twice=False)
    for target in ("lead", "spare"):
        watched.update.observe(seen_now(watched, target))
    watched.update.learn(watched.world.clock.now - LEARNING)
    assert [("values were left out, for time was up", 2, "lead, spare")] == [
        (message, fields["observations"], fields["targets"]) for message, fields in watched.world.log.lines
    ]
    watched.update.learn()
    assert [] == [stream for target in ("lead", "spare") for stream in watched.world.store.streams(target)]


def seen_now(watched: Watched, target: str) -> Observation:
    now = watched.world.clock.now
    return Observation(target, now, ok=1, last_ok_at=now).measured(*samples("quality", RIGHT, now))


def test_a_target_that_is_not_in_the_document_is_passed_over() -> None:
    """Nothing is kept of it."""
    watched = Watched(twice=False)
    watched.see(*samples("quality", RIGHT, watched.world.clock.now), target="gone")
    assert [] == list(watched.world.store.streams("gone"))


def test_a_rival_write_loses_no_value() -> None:
    """Where somebody else wrote the stream's item first, the values are taken in on top of that."""
    watched = Watched(twice=False)
    watched.answers(RIGHT)
    (stream,) = watched.world.store.streams("lead")
    store = watched.world.store
    kept = store.detector("lead", stream)
    moved = {**kept.plain, "detector": {**kept.plain["detector"], "steps": 100}}
    watched.world.table.before_put = lambda: store.put_detector("lead", stream, replace(kept, plain=moved), 1.0)
    watched.answers(RIGHT)
    assert (106, 3) == (store.detector("lead", stream).plain["detector"]["steps"], store.detector("lead", stream).rev)


def test_all_streams_of_an_observation_are_one_read() -> None:
    """However many streams and values it has."""
    watched = Watched(twice=False)
    now = watched.world.clock.now + 600
    many: list[Sample] = []
    for kind in ("quality", "tokens", "cost", "latency"):
        many += samples(kind, [1.0] * 10, now)  # type: ignore[arg-type]
    watched.world.table.reads = 0
    watched.see(*many)
    assert 1 == watched.world.table.reads


def test_other_questions_are_another_stream() -> None:
    """A golden set whose content changed is learned from nothing, and what was only suspected is dropped."""
    watched = suspected()
    watched.questions.digest = "two"
    watched.answers(WRONG)
    assert ([], None) == (watched.states(), watched.health().hold)
    (stream,) = watched.world.store.streams("lead")
    assert 6 == watched.world.store.detector("lead", stream).plain["detector"]["steps"]


def test_a_proved_loss_outlives_its_questions() -> None:
    """Editing a set frees no target: the finding and the hold stand, whatever is answered, until somebody accepts."""
    watched = confirmed()
    watched.questions.digest = "two"
    for number in range(5):
        watched.answers(WRONG if number < 3 else RIGHT, run=-2 - number if number % 2 else 0)
    assert ([("quality", "confirmed")], True) == (watched.states(), watched.health().hold is not None)
    told = watched.world.store.incident("lead", "quality")
    assert ("open", True) == (told.status, any("its questions were changed" in what for _, what in told.actions))
    before = watched.health()
    accept(watched.world.store, "lead", "core", by="ann", now=watched.world.clock.now, kit=KIT)
    watched.react(before, watched.health())
    watched.answers(WRONG)
    assert ([], None) == (watched.states(), watched.health().hold)


def test_quality_is_known_by_task() -> None:
    """Each answer counts for its task and for all together, once; what is normal is known after twenty."""
    watched = Watched()
    for _ in range(8):
        watched.answers([1.0, 0.0] * 3)
    quality = watched.health().quality
    assert {ALL: (0.5, 48, 0.5), "sums": (1.0, 24, 1.0), "words": (0.0, 24, 0.0)} == {
        task: (round(one.mean, 6), one.weight, one.baseline) for task, one in quality.items()
    }


def test_an_answer_may_weigh_more_than_all_that_is_remembered() -> None:
    """Its quality is then that of the answer, and stays between 0 and 1."""
    known = judged({}, [Judged("sums", 1.0, 1.0, 1000.0), Judged("sums", 0.0, 2.0, 1000.0)])
    assert 0.0 == known["sums"].mean


def test_a_lost_request_for_a_run_is_logged_and_not_the_end() -> None:
    """The finding stands; the stream's own next values look a second time."""
    watched = Watched()
    watched.confirms.down = True
    suspected(watched)
    assert [("quality", "suspected")] == watched.states()
    assert ["a run that confirms an alarm could not be asked for"] == [
        m for m, _ in watched.world.log.lines if "run" in m
    ]
    watched.answers([0.0] * LOOK)
    assert [("quality", "confirmed")] == watched.states()


def version(watched: Watched, name: str) -> Sample:
    """What the first answer of the next run reports."""
    return Sample("version", name, watched.world.clock.now + 540, "core", -1)


def changed_version(values: list[float]) -> Watched:
    """Forty questions asked three times, a new version with the next run, and these answers of it."""
    watched = Watched()
    for number in range(4):
        at = watched.world.clock.now + 600
        watched.see(*samples("quality", [1.0] * 40, at), version(watched, "v1" if number < 3 else "v2"))
    watched.answers(values, run=-1)
    return watched


def test_a_new_version_is_told_and_its_answers_are_bought() -> None:
    """An incident of its own at once, and a run of the questions it was asked before."""
    watched = Watched()
    for name in ("v1", "v2"):
        watched.see(*samples("quality", RIGHT, watched.world.clock.now + 600), version(watched, name))
    assert ["[warning] lead is another version now"] == watched.titles()
    assert [("lead", "core")] == watched.confirms.sent


def test_a_version_without_loss_is_accepted_with_the_figures() -> None:
    """The incident ends by itself and says by which numbers."""
    watched = changed_version([1.0] * 40)
    assert ([], "[resolved] lead is accepted in its new version") == (watched.states(), watched.titles()[-1])
    facts = watched.world.store.incident("lead", "version").facts
    assert (40, "1.000, 1.000", "-0.047 to +0.047") == (
        facts["questions compared"],
        facts["quality before and after"],
        facts["difference, 95 % interval"],
    )


def test_a_version_with_a_loss_is_worse_and_not_accepted() -> None:
    """A second incident, of its quality; the version stays open until somebody accepts it."""
    watched = Watched()
    for _ in range(3):
        at = watched.world.clock.now + 600
        watched.see(*samples("quality", [1.0] * 40, at), version(watched, "v1"))
    at = watched.world.clock.now + 600
    mixed = [1.0, 1.0, 0.0, 0.0] * 10
    watched.see(*samples("quality", mixed, at), version(watched, "v2"))
    assert {("version", "confirmed"), ("quality", "confirmed")} == set(watched.states())
    assert "quarantined" == getattr(watched.health().hold, "state", None)


def test_a_change_stands_until_somebody_accepts_it() -> None:
    """Accepting ends the incident by name, learns anew, and removes the finding."""
    watched = Watched()
    for values in ([12.0] * 6, [15.0] * ROW, [15.0] * 6):
        watched.see(*samples("tokens", values, watched.world.clock.now + 600, run=-1 if len(values) == 6 and
                             values[0] == 15.0 else 0))  # fmt: skip
    assert ["[warning] lead writes answers of another length"] == watched.titles()
    before = watched.health()
    accept(watched.world.store, "lead", "core", by="ann", now=watched.world.clock.now, kit=KIT)
    watched.react(before, watched.health())
    assert ([], "[resolved] lead has a usual length of answers again") == (watched.states(), watched.titles()[-1])
    assert "accepted by ann" == watched.world.store.incident("lead", "tokens").facts["over"]


def moved(watched: Watched) -> None:
    """First words and their probabilities change together, and what comes after says so too."""
    for words, odds, times in (("Yes", -0.2, 6), ("Sure", -1.2, ROW), ("Sure", -1.2, LOOK)):
        at = watched.world.clock.now + 600
        kinds = (("fingerprint", words), ("logprob", odds))
        watched.see(*(one for kind, value in kinds for one in samples(kind, [value] * times, at, stream="drift")))  # type: ignore[arg-type]


GIVES = WATCHED.replace("model: large}", "model: large, capabilities: {logprobs: true}}")


def test_first_words_and_their_probabilities_are_one_incident() -> None:
    """One notice of both, and one acceptance ends both."""
    watched = Watched(document=GIVES)
    moved(watched)
    assert {("fingerprint", "confirmed"), ("logprob", "confirmed")} == set(watched.states())
    assert ["[warning] lead answers like another model"] == watched.titles()
    before = watched.health()
    accept(watched.world.store, "lead", "drift", by="ann", now=watched.world.clock.now, kit=KIT)
    watched.react(before, watched.health())
    assert ([], "[resolved] lead no longer counts as changed") == (watched.states(), watched.titles()[-1])


def test_probabilities_that_are_asked_no_more_are_no_finding() -> None:
    """A target that no longer declares them keeps what its first words say."""
    watched = Watched(document=GIVES)
    moved(watched)
    publish(watched.world.store, WATCHED, now=watched.world.clock.now, by="test")
    watched.see(*samples("fingerprint", ["Sure"] * 3, watched.world.clock.now + 600, stream="drift"))
    assert [("fingerprint", "confirmed")] == watched.states()


FLEET = """
schema: 1
providers: {acme: {wire: openai, base_url: "https://acme.example/v1", simulated: true}}
targets: {a: {provider: acme, model: m}, b: {provider: acme, model: m}, c: {provider: acme, model: n}}
routes: {chat: {targets: [a, b, c]}}
health: {breaker: {jitter: 0}}
"""


def slower(watched: Watched, target: str) -> None:
    for values in ([0.2] * 5, [0.9] * ROW, [0.9] * LOOK):
        watched.see(*samples("latency", values, watched.world.clock.now + 60, stream=""), target=target, later=60)


def test_a_drift_that_a_whole_provider_shares_is_one_incident() -> None:
    """The first target is told alone; when all have it there is one incident, the provider's, and no third."""
    watched = Watched(document=FLEET)
    for target in ("a", "b", "c"):
        slower(watched, target)
    assert ["[warning] a is slower than it was", "[warning] b is slower than it was",
            "[warning] Every target of acme is slower than it was"] == watched.titles()  # fmt: skip
    states = {(i.subject, i.status) for i in watched.world.store.incidents()}
    assert {("a", "resolved"), ("b", "resolved"), ("provider:acme", "open")} == states
    assert "a, b, c" == watched.world.store.incident("provider:acme", "latency").facts["targets"]


def test_a_shared_incident_ends_with_the_last_target() -> None:
    """Two targets that are well again leave it open; the third ends it."""
    watched = Watched(document=FLEET)
    for target in ("a", "b", "c"):
        slower(watched, target)
    open_ = []
    for target in ("a", "b", "c"):
        for _ in range(3):
            watched.see(
                *samples("latency", [0.2] * LOOK, watched.world.clock.now + 60, stream=""), target=target, later=60
            )
        open_.append(watched.world.store.incident("provider:acme", "latency").status)
    assert ["open", "open", "resolved"] == open_
    assert "[resolved] Every target of acme is as fast as it was" == watched.titles()[-1]


def test_many_streams_need_more_than_one_look() -> None:
    """Where a thousand targets are watched on busy streams, one look at twenty values proves nothing yet."""
    names = ", ".join(f"t{n}: {{provider: acme, model: m}}" for n in range(1000))
    document = FLEET.replace("targets: {a:", f"targets: {{{names}, a:", 1)
    watched = Watched(document=document, twice=False)
    for values in ([0.2] * 48, [0.9] * ROW, *([[0.9] * LOOK] * 2)):
        watched.see(*samples("latency", values, watched.world.clock.now + 9, stream=""), target="a", later=9)
    told = watched.health("a").findings[0]
    assert ("confirmed", True) == (told.state, told.alarm.evidence["e_value"] > 1001 / 0.05)


def test_a_store_that_is_down_makes_the_record_come_again() -> None:
    """Nothing is lost by it: the second delivery does everything."""
    watched = suspected()
    watched.world.table.down = True
    with pytest.raises(StoreError):
        watched.answers(WRONG, run=-1, later=0)
    watched.world.table.down = False
    watched.answers(WRONG, run=-1, later=0)
    assert [("quality", "confirmed")] == watched.states()


def test_whatever_comes_twice_and_in_disorder_ends_the_same() -> None:
    """Runs delivered again at random end in the same finding as each delivered once."""
    rng = random.Random(4)
    once, often = Watched(World(document=WATCHED), twice=False), Watched(World(document=WATCHED))
    for values, run in ((RIGHT, 0), (RIGHT, 0), ([0.0] * ROW, 0), (WRONG, -1), (RIGHT, -2), (WRONG, 0)):
        for watched in (once, often):
            watched.answers(values, run=run)
        if rng.random() < 0.5:
            often.answers(values, run=run, later=0)
    first, second = once.health(), often.health()
    assert [f.plain() | {"alarm": 0} for f in first.findings] == [f.plain() | {"alarm": 0} for f in second.findings]
