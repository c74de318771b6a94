"""The scenarios of the detection table, with the bars and references of issue 6."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.first_logprobs import another, drift, moved, quiet
from tests.benchmarks.first_tokens import fingerprints
from tests.benchmarks.latencies import latency
from tests.benchmarks.odd_streams import ODD, ODD_QUIET
from tests.benchmarks.streams import (
    Scenario,
    bad_run,
    canaries,
    canary_cost,
    canary_tokens,
    errors,
    graded,
    graded_canaries,
    one_shot_tokens,
    quality_drop,
)

BARRED = (
    Scenario("quality 84-51", quality_drop(0.84, 0.51), bar=36, reference=27),
    Scenario("quality 84-35", quality_drop(0.84, 0.35), bar=20, reference=15),
    Scenario("quality 98-25", quality_drop(0.98, 0.25), bar=7, reference=5),
    Scenario("quality 52-10", quality_drop(0.52, 0.10), bar=32, reference=23),
    Scenario("canary 86-64", canaries(0.86, 0.64), bar=45, reference=29),
    Scenario("canary 86-64 30%", canaries(0.86, 0.64, 0.3), bar=80, reference=64),
    Scenario("canary 86-64 10%", canaries(0.86, 0.64, 0.1, long=2400), bar=215, reference=141),
    Scenario("canary 62-56", canaries(0.62, 0.56), bar=55, reference=38),
    Scenario("tokens x1.03", canary_tokens(1.03), bar=60, reference=41),
    Scenario("cost x1.1", canary_cost(1.1), bar=66, reference=49),
    Scenario("latency x1.5", latency(1.5), bar=44, reference=32),
    Scenario("latency x1.25", latency(1.25), bar=105, reference=59),
    Scenario("errors 45%", errors(0.45), bar=9, reference=7),
    Scenario("errors 85%", errors(0.85), bar=5, reference=3),
    Scenario("swapped model", fingerprints(0.3, 0.6), bar=5, reference=4, unit="batches"),
)
FURTHER = (
    Scenario("graded 84-60", quality_drop(0.84, 0.60, graded)),
    Scenario("graded canary 84-70", graded_canaries(0.84, 0.70)),
    Scenario("tokens x1.1", canary_tokens(1.1)),
    Scenario("tokens x0.8", canary_tokens(0.8)),
    Scenario("one-shot tokens x1.5", one_shot_tokens(1.5)),
    Scenario("swap of 15% items", fingerprints(0.1, 0.2), unit="batches"),
    Scenario("swap, small batches", fingerprints(0.3, 0.6, sizes=(5, 8, 10)), unit="batches"),
    Scenario("swap, 30% of calls", fingerprints(0.3, 0.6, 0.3), unit="batches"),
    Scenario("logprob, swap", drift("logprob", another), unit="batches"),
    Scenario("logprob, swap 30%", drift("logprob", another, 0.3), unit="batches"),
    Scenario("logprob, fewer bits", drift("logprob", moved(0.3)), unit="batches"),
    Scenario("logprob, fewer bits 30%", drift("logprob", moved(0.3), 0.3, quiet), unit="batches"),
    Scenario("logprob, training step", drift("logprob", moved(0.15)), unit="batches"),
)
QUIET = (
    Scenario("canary improves", canaries(0.64, 0.86), "improvement"),
    Scenario("quality improves", quality_drop(0.51, 0.84), "improvement"),
    Scenario("latency x0.7", latency(0.7), "improvement"),
    Scenario("cost x0.8", canary_cost(0.8), "improvement"),
    Scenario("aborted run", bad_run, "bad run"),
    Scenario("canary steady", canaries(0.86, None), "no change"),
    Scenario("tokens steady", canary_tokens(None), "no change"),
    Scenario("one-shot tokens steady", one_shot_tokens(None), "no change"),
    Scenario("cost steady", canary_cost(None), "no change"),
    Scenario("errors steady", errors(None), "no change"),
    Scenario("fingerprint steady", fingerprints(None), "no change"),
    Scenario("logprob steady", drift("logprob", None), "no change"),
    Scenario("latency steady", latency(), "no change"),
    Scenario("latency, spikes", latency(burst=(2, 5.0)), "no change"),
    Scenario("latency, gaps", latency(gaps=0.01), "no change"),
    Scenario("latency, slow drift", latency(drift=0.1), "no change"),
)
SCENARIOS = BARRED + FURTHER + QUIET + tuple(replace(one, odd=True) for one in ODD + ODD_QUIET)
