"""A detector that is easily foreseen, and worlds in which targets are watched with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.unit.services.worlds import NOW, Queue, Sink, World
from understudy.detectors.confirm import Confirmation
from understudy.detectors.sample import Alarm, Kind, Sample
from understudy.detectors.watch import Kit
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.incidents.incident import Incident
from understudy.services.publish_alerts import PublishAlerts
from understudy.services.update_health import UpdateHealth

CHANGES = frozenset({"tokens", "logprob", "fingerprint", "version"})
STATISTIC = 12.0
ROW = 3
"""Values in a row unlike the first that give an alarm; of a version one is enough."""
WATCHED = """
schema: 1
providers:
  acme: {wire: openai, base_url: "https://acme.example/v1"}
  other: {wire: openai, base_url: "https://other.example/v1"}
targets:
  lead: {provider: acme, model: large}
  spare: {provider: other, model: small}
routes:
  chat: {targets: [lead, spare], quarantine: automatic}
  calm: {targets: [lead, spare]}
health: {breaker: {jitter: 0}}
alerts: {renotify_s: 3600}
"""


class Plain:
    """The first value is normal; so many others in a row are an alarm, and the last of them is normal then."""

    def __init__(self, kind: Kind, plain: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.state: dict[str, Any] = dict(plain or {"kind": kind, "normal": None, "row": 0, "steps": 0, "accepts": 0})

    def step(self, seen: Sample) -> Alarm | None:
        self.state["steps"] += 1
        if self.state["normal"] is None:
            self.state["normal"] = seen.value
        self.state["row"] = 0 if seen.value == self.state["normal"] else self.state["row"] + 1
        if self.state["row"] < (1 if self.kind == "version" else ROW):
            return None
        before, self.state["normal"], self.state["row"] = self.state["normal"], seen.value, 0
        numbers = {} if isinstance(before, str) else {"before": before, "after": seen.value}
        return Alarm(
            self.kind,
            "changed" if self.kind in CHANGES else "degraded",
            seen.at,
            seen.at,
            ROW,
            **numbers,  # type: ignore[arg-type]
            statistic=STATISTIC,
            threshold=STATISTIC,
        )

    def plain(self) -> dict[str, Any]:
        return dict(self.state)

    def accept(self) -> None:
        self.state |= {"normal": None, "row": 0, "accepts": self.state["accepts"] + 1}


def judged(detector: Any, samples: Sequence[Sample]) -> Confirmation:
    """Five values are needed; what most of them say counts."""
    if len(samples) < 5:
        return "unsure"
    unlike = sum(sample.value != detector.state["normal"] for sample in samples)
    return "confirmed" if 2 * unlike > len(samples) else "refuted"


KIT = Kit(
    make=lambda kind, *, in_control_length: Plain(kind),
    restore=lambda plain, *, in_control_length: Plain(plain["kind"], plain),
    judge=judged,
)


class Asked:
    """Tasks of the questions of a golden set that is called `core`: even ones are sums."""

    digest = "one"

    def task(self, item: int) -> tuple[str, float] | None:
        return ("sums" if item % 2 == 0 else "words", 1.0)


class Confirms:
    """Keeps which runs were asked for."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.down = False

    def send(self, target: str, stream: str) -> None:
        if self.down:
            raise ConnectionError("the queue is down")
        self.sent.append((target, stream))


def samples(kind: Kind, values: Sequence[Any], at: float, *, stream: str = "core", run: int = 0) -> list[Sample]:
    """Values of one run, a second apart, the last at `at`; those of a golden set answer its first questions."""
    items = range(len(values)) if stream else [-1] * len(values)
    return [
        Sample(kind, value, at - len(values) + 1 + place, stream, item, run)
        for place, (item, value) in enumerate(zip(items, values, strict=True))
    ]


class Watched:
    """The whole of the control plane, its stream played by hand: each observation and each change comes twice."""

    def __init__(self, world: World | None = None, document: str = WATCHED, *, twice: bool = True) -> None:
        self.world = world or World(document=document)
        self.world.clock.now = NOW
        self.questions = Asked()
        self.confirms, self.sink, self.twice = Confirms(), Sink(), twice
        w = self.world
        self.update = UpdateHealth(
            w.store,
            Queue(),
            clock=w.clock,
            logger=w.log,
            rng=w.rng,
            confirms=self.confirms,
            kit=KIT,
            find=lambda _, name: self.questions if name == "core" else None,
        )
        self.alerts = PublishAlerts(w.store, [("sink", self.sink)], clock=w.clock, logger=w.log)
        self._told: dict[tuple[str, str], Incident] = {}

    def see(self, *values: Sample, target: str = "lead", later: float = 600.0) -> Health:
        """One probe's observation with these values, `later` seconds after the one before."""
        self.world.clock.now += later
        now = self.world.clock.now
        seen = Observation(target, now, source="probe", ok=1, last_ok_at=now).measured(*values)
        for _ in range(2 if self.twice else 1):
            before = self.health(target)
            self.update.observe(seen)
            self.update.learn()
            self.react(before, self.health(target))
        return self.health(target)

    def answers(self, values: Sequence[float], *, run: int = 0, target: str = "lead", later: float = 600.0) -> Health:
        """A run of quality probes."""
        at = self.world.clock.now + later
        return self.see(*samples("quality", values, at, run=run), target=target, later=later)

    def react(self, before: Health, after: Health) -> None:
        self.update.react(before, after)
        for incident in self.world.store.incidents():
            key = (incident.subject, incident.kind)
            self.alerts.publish(self._told.get(key), incident)
            self._told[key] = incident

    def health(self, target: str = "lead") -> Health:
        return self.world.store.health([target]).get(target) or Health(target)

    def states(self, target: str = "lead") -> list[tuple[str, str]]:
        return [(finding.kind, finding.state) for finding in self.health(target).findings]

    def titles(self) -> list[str]:
        return [notice.subject for notice in self.sink.told]
