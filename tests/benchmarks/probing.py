"""What probing many targets takes: the tick's calls and time, and how soon all targets are probed.

A script: `python -m tests.benchmarks.probing`.  The tick runs against moto in this process, so its time is this
machine's and mostly moto's; the workers run in virtual time, as in tests/functional/test_probing_at_scale.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from moto.core.models import botocore_stubber

from infra.local.aws import REGION, TABLE, start_aws
from infra.local.template import wiring
from tests import virtual
from tests.builders import Log
from tests.sweeping import Sweep, document, lambda_scales
from understudy.health.item import Health
from understudy.services.probe_targets import ProbeTargets
from understudy.services.publish_control import publish
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store
from understudy.transport.sqs import SqsDueQueue

HANGING = 50
"""One target in so many hangs until the limit of its first token."""
WORKERS = (5, 10, 50)
TICKS = 5
LATENCY = 0.01
"""Seconds in which SQS answers, from the same region."""


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts API calls of the clients that are built inside, by service and operation."""
    calls: Counter[str] = Counter()
    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("before-call", lambda model, **_: calls.update([model.name]))
    yield calls


def answered(client: Any) -> Any:
    """The same client with each call answered after LATENCY instead of by moto, which takes longer for each message
    that a queue holds already."""
    client.meta.events.unregister("before-send", botocore_stubber)
    client.meta.events.register("before-send", _answer)
    return client


def _answer(request: Any, **_: Any) -> AWSResponse:
    time.sleep(LATENCY)
    answer = AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.0"}, None)
    answer._content = b"{}"
    return answer


def tick(targets: int, period: float, *, moto: bool) -> tuple[float, Counter[str], int]:
    """Seconds of a warm tick in which every target is due, the calls it makes, and the messages it sends."""
    aws = start_aws(wiring().table, ("DueQueue",), "127.0.0.1", 0)
    try:
        with counted() as calls:
            store = Store(DynamoTable(TABLE))
            publish(store, document(targets, period), now=time.time(), by="benchmark")
            for number in range(targets):
                store.put_health(Health(f"t{number:04d}", last_ok_at=time.time() - period))
            client = boto3.client("sqs", region_name=REGION)
            queue = SqsDueQueue(aws.queues["DueQueue"], lambda _: client if moto else answered(client))
            return _timed(store, queue, calls, 1 if moto else TICKS)
    finally:
        aws.stop()


def _timed(store: Store, queue: SqsDueQueue, calls: Counter[str], ticks: int) -> tuple[float, Counter[str], int]:
    probes = ProbeTargets(store, _nobody, queue, clock=time.time, logger=Log(), rng=random.Random(1))  # type: ignore[arg-type]
    took, asked = [], 0
    probes._catalog.read()
    for _ in range(ticks):
        calls.clear()
        began = time.perf_counter()
        asked = asyncio.run(probes.tick())
        took.append(time.perf_counter() - began)
    return statistics.median(took), Counter(calls), asked


async def _nobody(*_: Any, **__: Any) -> Any:
    raise AssertionError("a tick asks no target")


def one_by_one(targets: int) -> float:
    """Seconds that the same health takes read item by item."""
    aws = start_aws(wiring().table, (), "127.0.0.1", 0)
    try:
        store = Store(DynamoTable(TABLE))
        names = [f"t{number:04d}" for number in range(targets)]
        for name in names:
            store.put_health(Health(name))
        began = time.perf_counter()
        store.health(names)
        return time.perf_counter() - began
    finally:
        aws.stop()


def swept(targets: int, period: float, workers: int | None, hanging: bool) -> tuple[float, float, Sweep]:
    """Virtual seconds until the last target was asked and observed for the first time, by so many workers or as Lambda
    scales."""
    names = frozenset(f"t{number:04d}" for number in range(0, targets, HANGING)) if hanging else frozenset()
    scale = lambda_scales if workers is None else lambda _: workers

    async def story() -> Sweep:
        return await Sweep(targets, period, workers=scale, hanging=names).run(120)

    sweep = virtual.run(story())
    asked = max((times[0] for times in sweep.asked.values()), default=0.0)
    seen = max((found[0][0] for found in sweep.seen.values()), default=0.0)
    return (asked, seen, sweep) if len(sweep.seen) == targets else (float("inf"), float("inf"), sweep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=1000)
    targets = parser.parse_args().targets
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    print(f"The tick, {targets} targets, table in moto; SQS in moto, or answering after {LATENCY * 1000:.0f} ms:")
    for period, moto in ((60.0, True), (60.0, False), (15.0, False)):
        seconds, calls, asked = tick(targets, period, moto=moto)
        made = ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
        print(f"  period {period:.0f} s, {'moto' if moto else 'answering'}: {seconds:.2f} s, {asked} messages; {made}")
    print(f"  the same health read item by item, as before: {one_by_one(targets):.2f} s, {targets} GetItem")
    for period in (60.0, 15.0):
        print(
            f"First sweep of {targets} targets every {period:.0f} s, 1 s each, in virtual time (1 in {HANGING} hangs):"
        )
        for workers in (*WORKERS, None):
            _print_sweep(targets, period, workers)


def _print_sweep(targets: int, period: float, workers: int | None) -> None:
    asked, seen, sweep = swept(targets, period, workers, hanging=False)
    asked_hang, seen_hang, hang = swept(targets, period, workers, hanging=True)
    who = f"{workers:3d} workers" if workers else "as Lambda scales"
    print(
        f"  {who}: all asked after {asked:.1f} s ({asked_hang:.1f}), observed after {seen:.1f} s ({seen_hang:.1f});"
        f" {sweep.at_once} ({hang.at_once}) at once"
    )


if __name__ == "__main__":
    main()
