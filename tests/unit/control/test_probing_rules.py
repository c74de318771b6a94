"""What a document says of probes that leads nowhere, and what is odd about it."""

from __future__ import annotations

import pytest

from tests.unit.control.documents import TEXT, problems
from understudy.control.document import parse, warnings

SETS = """
golden_sets:
  parcels:
    task: support
    items:
      - {id: one, prompt: "Where is it?", checker: {kind: exact, answer: here}}
      - {id: two, prompt: "Is that polite?", checker: {kind: judge, rubric: polite}}
"""


@pytest.mark.parametrize(
    ("health", "path", "words"),
    [
        ("quality: {sets: [core, parcel]}", "health.quality.sets[1]", "did you mean `parcels`?"),
        ("quality: {judge: leed}", "health.quality.judge", "did you mean `lead`?"),
        ('probe: {usd_per_day: "a lot"}', "health.probe.usd_per_day", 'such as "0.50"'),
        ("quality: {items: 61}", "health.quality.items", "60"),
        ("quality: {period_s: 60}", "health.quality.period_s", "300"),
        ("drift: {prompts: -1}", "health.drift.prompts", "0"),
    ],
)
def test_mistakes_are_named_with_a_fix(health: str, path: str, words: str) -> None:
    """Each names its place and what to write instead."""
    found = problems(f"{TEXT}{SETS}health: {{{health}}}\n")
    assert [(True, True)] == [(path in line, words in line) for line in found]


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        ("items: 10", []),
        ("items: 3", []),
        ("items: 2", ["72 items", "48 are asked", "items to 3"]),
        ("period_s: 86400", ["72 items", "10 are asked", "items to 72"]),
        ("sets: [parcels], judge: lead, items: 1", []),
        ("sets: [parcels], period_s: 86400, items: 1, judge: lead", ["2 items", "1 are asked", "items to 2"]),
        ("sets: [parcels]", ["1 items of the golden set `parcels` are never asked"]),
    ],
)
def test_a_set_is_asked_whole_within_a_day(quality: str, expected: list[str]) -> None:
    """Where period and number of items leave items out, a warning says so and what would be enough; so it does of items
    that nobody can judge."""
    found = warnings(parse(f"{TEXT}{SETS}health: {{quality: {{{quality}}}}}\n"))
    assert len(expected[:1]) == len(found)
    assert [True] * len(expected) == [words in found[0] for words in expected]
