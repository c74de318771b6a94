"""Nothing leaves for a target that may not see it: `python -m tests.fuzz.egress --cases 100000`.

Each case is a random control document with random health, keys, headers, faults and probes, through the services of
production in virtual time.  Every call is held against an oracle at the transport, at the moment at which it is made.
Cases are drawn from a seed that is printed; a breach prints its case, and `--only SEED` runs that one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.egress_worlds import Drawn, Oracle, constraints, demands, drawn, header
from tests.spoken import JSON, SSE, OpenAI
from tests.virtual import run
from understudy.chat.bound import marked, owner_of_target
from understudy.control.versions import Pointer, Version
from understudy.errors import Transient
from understudy.keys import ClientKey, hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.feedback import Feedback
from understudy.services.keepsakes import Keepsakes
from understudy.services.outcomes import LocalOutcomes
from understudy.services.probe_targets import ProbeTargets
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.services.upstream import Upstream
from understudy.store.memory import MemoryTable
from understudy.store.store import Store

BATCH = 500
KEY = "us-key"
FAULTS = ("ok", "ok", "ok", "late", "500", "503", "429", "401", "reset", "cut", "cut", "stall", "silent", "refusal",
          "garbage")  # fmt: skip
_MARK = re.compile(rb"\[(request|golden|by|alive) ?([a-z0-9-]*)\]")


class Breach(AssertionError):
    """Something left for a target that may not see it, or nothing did although it could."""


@dataclass(slots=True)
class Asked:
    """One request of a caller: everything that is demanded of whoever sees it."""

    route: str
    demands: list[Mapping[str, Any]]
    calls: int = 0


@dataclass(slots=True)
class Reply:
    """Satisfies `understudy.ports.Reply`."""

    status: int
    headers: Mapping[str, str]
    pieces: list[bytes | float]

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            elif piece == b"reset":
                raise Transient("the connection broke")
            else:
                yield piece


@dataclass(slots=True)
class Checkpoint:
    """Satisfies `understudy.ports.Transport`: the last place before the network."""

    world: Drawn
    oracle: Oracle
    rng: random.Random
    clock: Any
    asked: dict[str, Asked] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float) -> AsyncIterator[Reply]:
        provider, model = url.split("/")[2].partition(".")[0], json.loads(body)["model"]
        name = next(n for n, t in self.oracle.targets.items() if (t["provider"], t["model"]) == (provider, model))
        self.check(name, body)
        yield self._reply(name, self.rng.choice(FAULTS), streams=b'"stream":true' in body.replace(b" ", b""))

    def check(self, name: str, body: bytes) -> None:
        """Hold one call against the oracle: what is in it says on whose behalf it is made."""
        now, marks = self.clock(), dict[str, str]()
        for kind, what in _MARK.findall(body):
            marks.setdefault(kind.decode(), what.decode())
        if "request" in marks:
            asked = self.asked[marks["request"]]
            asked.calls += 1
            kind, fine = "requests", self.oracle.may(name, asked.demands, now)
        elif "golden" in marks and "by" in marks:
            kind, fine = "judged", self.oracle.judges(name, marks["golden"], marks["by"], now)
        elif "golden" in marks:
            kind, fine = "golden", self.oracle.asked_a_set(name, marks["golden"], now)
        else:
            kind, fine = "alive or drift", True
        fine = fine and (kind in ("requests", "judged") or self.oracle.on_some_route(name, now))
        self.seen[f"calls: {kind}"] += 1
        if not fine:
            raise Breach(f"{kind}: {name} was sent {marks} at {now}")

    def _reply(self, name: str, fault: str, *, streams: bool) -> Reply:
        self.seen[f"fault: {fault}"] += 1
        if fault in ("500", "503", "401"):
            return Reply(int(fault), JSON, [OpenAI().problem("server_error", "no")])
        if fault == "429":
            return Reply(
                429, JSON | {"retry-after": self.rng.choice(("1", "90"))}, [OpenAI().problem("rate_limit", "no")]
            )
        if fault == "garbage":
            return Reply(200, {"content-type": "text/html"}, [b"<html>"])
        if fault == "reset":
            raise Transient("connection refused")
        if not streams:
            wait = {"late": 0.6, "silent": 50.0}.get(fault, 0.01)
            return Reply(200, JSON, [wait, _whole(name)])
        hello, role, *texts, stop, counted, done = _pieces(name, "content_filter" if fault == "refusal" else "stop")
        middle: list[bytes | float] = [*texts]
        if fault == "cut":
            return Reply(200, SSE, [hello, role, *texts[: self.rng.randint(0, 3)], b"reset"])
        if fault in ("stall", "silent"):
            middle = [*texts[: 2 if fault == "stall" else 0], 50.0]
        return Reply(200, SSE, [hello, role, 0.6 if fault == "late" else 0.02, *middle, stop, counted, done])


_TEXTS = ["one ", "two ", "three ", "four"]
_MADE: dict[tuple[str, str], list[bytes]] = {}


def _pieces(name: str, finish: str) -> list[bytes]:
    if (name, finish) not in _MADE:
        _MADE[name, finish] = OpenAI().pieces([f"[by {name}] ", *_TEXTS], finish=finish)
    return _MADE[name, finish]


def _whole(name: str) -> bytes:
    return OpenAI().whole(f"[by {name}] one two three four")


class Lines:
    """Counts what the lines of the log show to have happened; a traceback is a finding."""

    def __init__(self, seen: Counter[str]) -> None:
        self._seen = seen

    def info(self, message: str, /, **fields: Any) -> None:
        if message == "decision":
            attempts = fields["attempts"]
            self._seen["hedges"] += sum(bool(one.get("hedge")) for one in attempts)
            self._seen["failovers"] += len({one["target"] for one in attempts}) > 1
            self._seen["resumed"] += bool(fields["resumed"])
            self._seen["canaries in front"] += str(fields["canary"]).endswith("in front")
            skipped = " ".join(one["reason"] for one in fields["skipped"])
            self._seen["denied after the decision"] += "denied by contract" in skipped
        elif message == "shadow":
            self._seen["copies"] += 1

    def warning(self, message: str, /, **fields: Any) -> None:
        pass

    def exception(self, message: str, /, **fields: Any) -> None:
        error = sys.exc_info()[1]
        raise error if isinstance(error, Breach) else AssertionError(f"{message}: {error!r}") from error


class _NoQueue:
    def send(self, messages: Any) -> None:
        pass


async def case(seed: str) -> Counter[str]:
    """One world from its first request to its last probe.  Raises Breach."""
    rng = random.Random(seed)
    world, loop = drawn(rng), asyncio.get_running_loop()
    base = world.starts_at - loop.time()

    def clock() -> float:
        return base + loop.time()

    oracle = Oracle(world.document)
    point = Checkpoint(world, oracle, rng, clock)
    store = _store(world)
    log: Any = Lines(point.seen)
    outcomes = LocalOutcomes(store, clock, log, rng)
    upstream = Upstream(point, None, "test", clock)  # type: ignore[arg-type]
    shared: Any = {"clock": clock, "logger": log, "rng": rng}
    keepsakes, feedback = Keepsakes(store, clock, log), Feedback(store, outcomes, clock, log)
    router = RouteRequest(ReadModel(store, clock, log), outcomes, upstream, keepsakes, feedback, **shared)
    probes = ProbeTargets(store, upstream, _NoQueue(), **shared)  # type: ignore[arg-type]
    work = [_request(router, point, str(number)) for number in range(rng.choice((1, 2, 2, 3)))]
    if rng.random() < 0.35:
        work.append(_probe(probes, world, rng, clock()))
    done = await asyncio.gather(*work, return_exceptions=True)
    for error in done:
        if isinstance(error, BaseException):
            raise error
    return point.seen


class _Published(Store):
    """A store with one document, which it neither packs nor unpacks: that would be a third of the time of a case."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(MemoryTable())
        self._version = Version(1, "", document, "d", 0.0, "test", "")

    def version(self, number: int) -> Version:
        return self._version


def _store(world: Drawn) -> Store:
    store, now = _Published(world.document), world.starts_at
    store.move_pointer(Pointer(version=1, rev=1, moved_at=now, moved_by="test"), None)
    store.put_key(ClientKey(hash_key(KEY), "app", 0.0, constraints=constraints(world.key)))
    for health in world.healths:
        store.put_health(health)
    return store


async def _request(router: RouteRequest, point: Checkpoint, number: str) -> None:
    rng, oracle, world = point.rng, point.oracle, point.world
    await asyncio.sleep(rng.choice((0.0, 0.0, 0.5, 2.0)))
    route = rng.choice(list(oracle.routes))
    own: dict[str, Any] = {}
    if rng.random() < 0.4:
        own = demands(rng, list(world.document["providers"]), 0.2)
        if oracle.classes and rng.random() < 0.3:
            own["data_classes"] = [rng.choice(list(oracle.classes))]
        # What nobody here has would be refused: a slip of the pen must not deny nothing.
        known = {n for t in oracle.targets.values() for n in (t["model"], t["data"]["family"])}
        used = {t["provider"] for t in oracle.targets.values()}
        if not (set(own.get("denied_models", ())) <= known and set(own.get("denied_providers", ())) <= used):
            own = {}
    asked = Asked(route, [oracle.routes[route]["constraints"], world.key, own])
    point.asked[number] = asked
    headers = {"authorization": f"Bearer {KEY}"} | ({"x-understudy-constraints": header(own)} if own else {})
    now = point.clock()
    some = any(oracle.may(entry["target"], asked.demands, now) for entry in oracle.routes[route]["targets"])
    path, body = _body(rng, route, number, list(oracle.targets))
    answer = await router.answer(ApiRequest("POST", path, headers, json.dumps(body).encode(), number))
    if not isinstance(answer.body, bytes):
        async for _ in answer.body:
            pass
    point.seen["requests"] += 1
    point.seen[f"status {answer.status}"] += 1
    if answer.status == 403 and asked.calls:
        raise Breach(f"request {number} was refused, and {asked.calls} calls were made")
    if (answer.status == 403) != (not some):
        raise Breach(f"request {number} has the status {answer.status}; somebody may serve it: {some}")
    if answer.status == 403 and b"denied by " not in bytes(answer.body):  # type: ignore[arg-type]
        raise Breach(f"request {number} was refused, and no rule is named")


def _body(rng: random.Random, route: str, number: str, names: list[str]) -> tuple[str, dict[str, Any]]:
    text = f"[request {number}] count"
    if rng.random() < 0.06:
        return "/embeddings", {"model": route, "input": text}
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    if rng.random() < 0.15:
        sealed = marked("c2VhbGVk", owner_of_target(rng.choice(names)))
        thought = {"type": "reasoning.encrypted", "data": sealed, "index": 0}
        messages += [
            {"role": "assistant", "content": "one", "reasoning_details": [thought]},
            {"role": "user", "content": "go on"},
        ]
    return "/chat/completions", {"model": route, "messages": messages, "stream": rng.random() < 0.6}


async def _probe(probes: ProbeTargets, world: Drawn, rng: random.Random, now: float) -> None:
    """Messages for every target, as the queues may still hold them, whether or not it may be asked."""
    kinds: list[dict[str, str]] = [{}, {"ask": "drift", "set": "drift"}]
    kinds += [{"ask": ask, "set": name} for ask in ("quality", "confirm") for name in ("parcels", "letters", "core")]
    chosen = rng.choices(kinds, weights=(3, 1, 4, 4, 0.1, 4, 4, 0.1), k=2 * len(world.document["targets"]))
    wanted = list(zip([*world.document["targets"]] * 2, chosen, strict=True))
    await asyncio.sleep(rng.choice((0.0, 0.9, 2.5)))
    messages = {str(n): (json.dumps({"target": t, "due": now, **kind}), 1) for n, (t, kind) in enumerate(wanted)}
    failed = await probes.handle(messages)
    assert not failed
    for name in rng.sample(list(world.document["targets"]), 1):
        await probes.recover(name)


async def several(seed: int, cases: int) -> tuple[Counter[str], list[str]]:
    """So many cases one after another; what was counted, and what was wrong."""
    seen, wrong = Counter[str](), list[str]()
    for number in range(seed, seed + cases):
        try:
            seen.update(await case(f"egress:{number}"))
        except Exception as error:  # noqa: BLE001 - any exception is a finding
            wrong.append(f"case {number}: {type(error).__name__}: {error}")
        seen["documents"] += 1
    return seen, wrong


def batch(job: tuple[int, int]) -> tuple[Counter[str], list[str]]:
    return run(several(*job))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.egress", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case, by its number")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.only is not None:
        print(run(case(f"egress:{given.only}")))
        return 0
    jobs = [(given.seed + n, min(BATCH, given.cases - n)) for n in range(0, given.cases, BATCH)]
    seen, wrong, began = Counter[str](), list[str](), time.monotonic()
    with multiprocessing.Pool(given.processes) as pool:
        for counted, found in pool.imap_unordered(batch, jobs):
            seen.update(counted)
            wrong += found
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s")
    for name, count in sorted(seen.items()):
        print(f"   {name:<32}{count:>9}")
    for one in wrong[:20]:
        print(one)
    calls = sum(count for name, count in seen.items() if name.startswith("calls: "))
    print(f"{seen['documents']} documents, {seen['requests']} requests, {calls} calls: {len(wrong)} breaches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
