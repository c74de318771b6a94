"""A fleet in virtual time: many execution environments and the control plane over one table, before scripted providers.

What AWS does between the rooms is played as infra/local plays it: the table stream calls update_health in order and
again after a failure, the queue delivers probes after whole seconds, the schedule ticks every minute.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import traceback
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

from tests.callers import Record, read
from tests.providers import PROBE, TEXT, Call, Provider, Providers
from tests.tables import StreamedTable
from understudy.health.item import Health, health_from
from understudy.health.observation import observation_from
from understudy.keys import ClientKey, hash_key
from understudy.ports import Due
from understudy.runtime.gateway import ApiRequest
from understudy.services.feedback import Feedback
from understudy.services.keepsakes import Keepsakes
from understudy.services.outcomes import LocalOutcomes
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.services.update_health import UpdateHealth
from understudy.store import keys
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Item, Table

EPOCH = 1_800_000_000.0
KEY = "us-key"
DOCUMENT = """
schema: 1
providers:
  alpha: {wire: openai, base_url: "https://alpha.example/v1"}
  beta: {wire: openai, base_url: "https://beta.example/v1"}
targets:
  lead: {provider: alpha, model: large}
  understudy: {provider: beta, model: large}
routes:
  chat: {targets: [lead, understudy]}
  alone: {targets: [understudy]}
health: {quality: {sets: []}, drift: {prompts: 0}}
"""
STREAM_LAG = 0.3
"""Seconds between a write and its record's arrival at update_health."""
STORE_DELAY = 0.005
"""Seconds of one healthy call to the table."""
TICK = 60.0
QUEUE_LAG = 0.1
VISIBILITY = 360.0
"""Seconds after which the probe queue delivers a failed message again (template.yaml)."""
RECEIVES = 3
BATCH = 100
RECORD_PAUSE = 0.5
RECORD_RETRIES = 5


class Log:
    """Keeps (time, level, who, message, fields) of every line; an exception brings its traceback."""

    def __init__(self, fleet: Fleet, who: str) -> None:
        self._fleet = fleet
        self._who = who

    def info(self, message: str, /, **fields: Any) -> None:
        self._keep("info", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._keep("warning", message, fields)

    def exception(self, message: str, /, **fields: Any) -> None:
        self._keep("exception", message, fields | {"traceback": traceback.format_exc()})

    def _keep(self, level: str, message: str, fields: dict[str, Any]) -> None:
        self._fleet.lines.append((self._fleet.now, level, self._who, message, fields))


class Fleet:
    """Use as `async with Fleet(...) as fleet` on a virtual loop.

    `records` are the callers' requests, `providers` know the calls, `health` holds (time, item) of every health item
    written, `lines` everything logged, `buried` the stream records that update_health could not handle.
    """

    def __init__(
        self,
        lead: Provider | None = None,
        understudy: Provider | None = None,
        *,
        environments: int = 1,
        table: Table | None = None,
        stream_lag: float = STREAM_LAG,
        store_delay: float = STORE_DELAY,
        document: str = DOCUMENT,
        seed: int = 1,
    ) -> None:
        # The two cut the same text differently: a resumption must go by characters, not by chunks.
        self.providers = Providers({"lead": lead or Provider(), "understudy": understudy or Provider(pieces=17)})
        self.table = StreamedTable(table or MemoryTable(), self._changed, store_delay)
        self.store = Store(self.table)
        self.records: list[Record] = []
        self.health: list[tuple[float, Health]] = []
        self.lines: list[tuple[float, str, str, str, dict[str, Any]]] = []
        self.buried: list[Item] = []
        self._lag = stream_lag
        self._document = document
        self._seed = seed
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stream: asyncio.Queue[tuple[float, Item | None, Item]] = asyncio.Queue()
        self._environments = [self._environment(f"environment {n}") for n in range(environments)]
        control: Any = {"clock": self.clock, "logger": Log(self, "control"), "rng": random.Random(f"{seed} control")}
        self._probes = ProbeTargets(self.store, self.providers.asked_by(PROBE), _Sweeps(self), **control)
        self._update = UpdateHealth(self.store, self, **control)

    def _environment(self, name: str) -> RouteRequest:
        log, rng = Log(self, name), random.Random(f"{self._seed} {name}")
        outcomes = LocalOutcomes(self.store, self.clock, log, rng)
        return RouteRequest(
            ReadModel(self.store, self.clock, log),
            outcomes,
            self.providers.asked_by(name),  # type: ignore[arg-type]
            Keepsakes(self.store, self.clock, log),
            Feedback(self.store, outcomes, self.clock, log),
            clock=self.clock,
            logger=log,
            rng=rng,
        )

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return asyncio.get_running_loop().time()

    def clock(self) -> float:
        return EPOCH + self.now

    async def __aenter__(self) -> Fleet:
        publish(self.store, self._document, now=self.clock(), by="test")
        self.store.put_key(ClientKey(hash_key(KEY), "app", self.clock()))
        self._start(self._consume())
        self._start(self._schedule())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # callers

    async def ask(self, *, stream: bool = False, environment: int = 0, route: str = "chat") -> Record:
        """One request, answered to its end."""
        name = f"environment {environment}"
        record = Record(next(self._numbers), name, stream, self.now)
        self.records.append(record)
        body = {
            "model": route,
            "messages": [{"role": "user", "content": "count"}],
            "user": str(record.number),
            "stream": stream,
        }
        request = ApiRequest(
            method="POST",
            path="/chat/completions",
            headers={"authorization": f"Bearer {KEY}"},
            body=json.dumps(body).encode(),
            request_id=f"request {record.number}",
        )
        await read(await self._environments[environment].answer(request), record, lambda: self.now)
        return record

    async def traffic(self, rate: float, seconds: float, *, stream: bool = False, route: str = "chat") -> None:
        """`rate` requests a second from now on, whether or not they are answered, spread over the environments in
        turn; ends when the last one is answered."""
        began = self.now
        async with asyncio.TaskGroup() as group:
            for n in range(round(rate * seconds)):
                await self.until(began + n / rate)
                environment = n % len(self._environments)
                group.create_task(self.ask(stream=stream, environment=environment, route=route))

    async def until(self, moment: float) -> None:
        await asyncio.sleep(moment - self.now)

    # what AWS does between the rooms

    def send(self, target: str, delay: float) -> None:
        """The queue of recovery probes.  Satisfies `understudy.ports.ProbeQueue`."""
        self._start(self._deliver(target, max(0, math.floor(delay)) + QUEUE_LAG))

    async def _deliver(self, target: str, delay: float) -> None:
        for _ in range(RECEIVES):
            await asyncio.sleep(delay)
            try:
                await self._probes.recover(target)
                return
            except Exception:  # noqa: BLE001 - as Lambda: the message comes again
                Log(self, "queue").exception("a recovery probe failed", target=target)
            delay = VISIBILITY

    def sweep(self, messages: Sequence[Due]) -> None:
        """The queue of sweeps: each message is delivered once, by itself; what fails is probed in the next round."""
        for message in messages:
            self._start(self._deliver_due(message))

    async def _deliver_due(self, message: Due) -> None:
        await asyncio.sleep(message.delay + QUEUE_LAG)
        await self._probes.handle({message.target: (json.dumps(message.plain()), 1)})

    async def _schedule(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._start(self._tick())

    async def _tick(self) -> None:
        try:
            await self._probes.tick()
        except Exception:  # noqa: BLE001 - as Lambda: the next tick comes in a minute
            Log(self, "schedule").exception("a tick failed")

    def _changed(self, before: Item | None, after: Item) -> None:
        if after.key[1] == keys.HEALTH:
            self.health.append((self.now, health_from(after.body, after.rev)))
        if after.key[1] == keys.HEALTH or (after.key[1].startswith(keys.OBSERVATION) and before is None):
            self._stream.put_nowait((self.now, before, after))

    async def _consume(self) -> None:
        """One record after the other; after a batch, as many as have come meanwhile, their values."""
        handled = 0
        while True:
            at, before, after = await self._stream.get()
            await self.until(max(self.now, at + self._lag))
            for tries in range(RECORD_RETRIES + 1):
                try:
                    await asyncio.to_thread(self._handle, before, after)
                    break
                except Exception:  # noqa: BLE001 - as Lambda: the record comes again, and at last is buried
                    Log(self, "stream").exception("a record could not be handled", key=after.key, tries=tries)
                    await asyncio.sleep(RECORD_PAUSE)
            else:
                self.buried.append(after)
            handled += 1
            if self._stream.empty() or handled >= BATCH:
                handled = 0
                await asyncio.to_thread(self._update.learn)

    def _handle(self, before: Item | None, after: Item) -> None:
        if after.key[1] == keys.HEALTH:
            old = health_from(before.body, before.rev) if before else None
            self._update.react(old, health_from(after.body, after.rev))
        else:
            self._update.observe(observation_from(after.body))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what can be said afterwards

    @property
    def calls(self) -> list[Call]:
        """The calls on the lead, in order."""
        return self.providers["lead"].calls

    def crashes(self) -> list[str]:
        """Tracebacks of what was no failure of a provider, of the store or of a caller: mistakes of the code."""
        return [fields["traceback"] for _, level, _, _, fields in self.lines if level == "exception"]

    def leases_at_once(self, target: str) -> list[float]:
        """Moments at which a probe lease was taken while another one held."""
        items = [(at, health.breaker) for at, health in self.health if health.target == target]
        return [
            at for (_, before), (at, after) in pairwise(items) if after.lease_until > before.lease_until > EPOCH + at
        ]

    def probes_at_once(self, target: str) -> list[float]:
        """Moments at which a probe began while another one was under way."""
        probes = [call for call in self.providers[target].calls if call.by == PROBE]
        return [later.began_at for earlier, later in pairwise(probes) if later.began_at < earlier.ended_at]

    def own_seconds(self, record: Record) -> float:
        """Seconds of an answered request that were the router's own: no call under way, no wait for a retry."""
        calls = [call for call in self.providers.calls() if call.request == str(record.number)]
        retried = [(a.ended_at, b.began_at) for a, b in pairwise(calls) if a.target == b.target]
        own, until = record.seconds, record.sent_at
        for start, end in sorted([(call.began_at, call.ended_at) for call in calls] + retried):
            own -= max(0.0, end - max(start, until))
            until = max(until, end)
        return own

    def trace(self, start: float = 0.0, end: float = math.inf) -> str:
        """Everything that happened, one line each, in order: for reading."""
        return "\n".join(f"{at:9.3f} {what}" for at, what in sorted(self._events()) if start <= at <= end)

    def _events(self) -> Iterator[tuple[float, str]]:
        for call in self.providers.calls():
            who = f"{call.by} request {call.request}" if call.request else call.by
            yield call.began_at, f"call on {call.target} by {who}"
            yield call.ended_at, f"call on {call.target} by {who} ended: {call.outcome}, {_took(call)}"
        for record in self.records:
            yield record.sent_at, f"request {record.number} sent"
            how = record.error or f"answered by {record.target} after {record.attempts}"
            yield record.done_at, f"request {record.number} {how}, {record.seconds:.3f} s"
        for at, health in self.health:
            b = health.breaker
            leased = f", leased until {b.lease_until - EPOCH:.3f}" if b.lease_until else ""
            yield at, f"health of {health.target}: {b.state}, {b.opens} openings{leased}"
        for at, level, who, message, fields in self.lines:
            if message != "decision":
                yield at, f"{who} {level}: {message} {fields}"


def _took(call: Call) -> str:
    return f"{call.ended_at - call.began_at:.3f} s"


class _Sweeps:
    """Satisfies `understudy.ports.DueQueue`; the fleet's own `send` is the queue of recovery probes."""

    def __init__(self, fleet: Fleet) -> None:
        self.send = fleet.sweep


@dataclass(frozen=True, slots=True)
class Timeline:
    """What an outage of the lead looked like.  Seconds; None where it did not happen.

    `first_failure` is when the first failing call ended, counted from the beginning of the outage, `first_doubt` when
    that call began.  `left_after` is from the first failure, `left_after_doubt` from the first doubt, to the last
    caller's call on the lead during the outage; `returned_after` from the end of the outage to the first caller's
    answer by the lead after it.  `calls` and `probes` are the calls on the lead during the outage (`probes` are among
    the calls), `p50` and `p99` of the requests sent during it, `worst` of all.
    """

    first_doubt: float | None
    first_failure: float | None
    left_after: float | None
    left_after_doubt: float | None
    returned_after: float | None
    calls: int
    probes: int
    p50: float
    p99: float
    worst: float
    errors: int
    wrong: int


def timeline(fleet: Fleet, start: float, end: float) -> Timeline:
    """The timeline of an outage of the lead from `start` to `end`."""
    during = [call for call in fleet.calls if start <= call.began_at < end]
    failed = min((call for call in during if call.failed), key=lambda call: call.ended_at, default=None)
    last = max((call.began_at for call in during if call.by != PROBE), default=None)
    well = {call.request for call in fleet.calls if not call.failed and call.began_at >= end}
    back = [r.sent_at for r in fleet.records if r.target == "lead" and str(r.number) in well]
    seconds = [record.seconds for record in fleet.records if start <= record.sent_at < end]
    return Timeline(
        first_doubt=None if failed is None else failed.began_at - start,
        first_failure=None if failed is None else failed.ended_at - start,
        left_after=None if failed is None or last is None else max(0.0, last - failed.ended_at),
        left_after_doubt=None if failed is None or last is None else last - failed.began_at,
        returned_after=min(back) - end if back else None,
        calls=len(during),
        probes=sum(call.by == PROBE for call in during),
        p50=percentile(seconds, 50),
        p99=percentile(seconds, 99),
        worst=max((record.seconds for record in fleet.records), default=0.0),
        errors=sum(record.error is not None for record in fleet.records),
        wrong=sum(record.wrong(TEXT) for record in fleet.records),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1] if values else 0.0


def table(rows: Sequence[tuple[str, Timeline]]) -> str:
    """Timelines one below the other, seconds with three digits."""
    names = Timeline.__slots__
    width = max([len(name) for name, _ in rows] + [4])
    lines = [" ".join([" " * width, *(f"{name:>16}" for name in names)])]
    for name, row in rows:
        lines.append(" ".join([f"{name:<{width}}", *(f"{_cell(getattr(row, field)):>16}" for field in names)]))
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
