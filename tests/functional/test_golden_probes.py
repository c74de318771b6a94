"""Golden questions and drift prompts through the real rooms, asked of simulated providers of both kinds."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.local.aws import TABLE
from infra.local.stack import DOCUMENT, LocalStack
from tests.local_stacks import local_stack
from understudy.detectors.sample import Sample
from understudy.health.observation import observation_from
from understudy.store.dynamodb import DynamoTable

# Runs so far apart that none comes by itself.
RARE = "health: {quality: {period_s: 86400, items: 24}, drift: {period_s: 86400, prompts: 8}}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with local_stack(tmp_path_factory.mktemp("golden"), f"{DOCUMENT.read_text()}\n{RARE}\n") as stack:
        yield stack


def asked(stack: LocalStack, target: str, ask: str, stream: str, fault: str | None) -> tuple[Sample, ...]:
    """The samples of one run, with the target broken like this."""
    document = stack.store.version(1).document["targets"][target]
    for simulator in stack.simulators.values():
        simulator.set_fault(document["model"], fault)
    handler: Callable[[Any, Any], Any] = importlib.import_module("probe_targets.handler").handler
    number = stack.store.probing([target], time.time())[target].rotas
    due = time.time() + (50_000 if stream in number else 0)
    body = json.dumps({"target": target, "ask": ask, "set": stream, "due": due})
    record = {"messageId": "1", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    assert {"batchItemFailures": []} == handler({"Records": [record]}, None)
    seen = DynamoTable(TABLE).query(f"target#{target}", prefix="observation#")
    runs = [observation_from(item.body).samples for item in seen]
    return max(runs, key=lambda run: max((s.run for s in run if s.stream == stream), default=0))


@pytest.mark.parametrize("target", ["lead", "understudy"])
def test_a_worse_model_shows_by_its_answers(stack: LocalStack, target: str) -> None:
    """A healthy one is right in every question of every task, whatever protocol it speaks; a worse one is not."""
    well, worse = (asked(stack, target, "quality", "core", fault) for fault in (None, "worse"))
    rights = [[float(s.value) for s in run if s.kind == "quality"] for run in (well, worse)]
    assert [24, 24] == [len(values) for values in rights]
    assert 1.0 == sum(rights[0]) / 24
    assert 0.6 < sum(rights[1]) / 24 < 0.95


def test_a_swapped_model_shows_by_its_first_words(stack: LocalStack) -> None:
    """By their probabilities, where the target declares that it tells them, and by the version that is reported."""
    well, other = (asked(stack, "lead", "drift", "drift", fault) for fault in (None, "swapped"))
    firsts = [{s.value for s in run if s.kind == "fingerprint"} for run in (well, other)]
    versions = [{s.value for s in run if s.kind == "version"} for run in (well, other)]
    assert (1, 1, False) == (len(firsts[0]), len(firsts[1]), firsts[0] == firsts[1])
    assert [{"simulated-gpt/fp_simulated"}, {"simulated-gpt/fp_swapped"}] == versions
    chances = [[float(s.value) for s in run if s.kind == "logprob"] for run in (well, other)]
    assert [8, 8] == [len(run) for run in chances]
    assert all(-2 <= value <= 0 for run in chances for value in run)


def test_a_protocol_without_probabilities_shows_first_words_alone(stack: LocalStack) -> None:
    """And is asked nothing that it would refuse."""
    run = asked(stack, "understudy", "drift", "drift", None)
    assert (8, 0) == tuple(sum(s.kind == kind for s in run) for kind in ("fingerprint", "logprob"))
