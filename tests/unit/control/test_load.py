"""What the data plane makes of a canonical document."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.control.documents import EXAMPLE, TEXT, changed
from understudy.catalog import (
    AlertSettings,
    Auth,
    Candidate,
    Capabilities,
    Catalog,
    Constraints,
    DataFacts,
    DetectionSettings,
    DriftSettings,
    HealthSettings,
    Limits,
    Price,
    Provider,
    QualitySettings,
    Route,
    Share,
    Target,
)
from understudy.control.document import parse, warnings
from understudy.control.load import catalog
from understudy.errors import DocumentError


def test_a_minimal_document_is_all_defaults(text: str) -> None:
    """What the document leaves out is what the catalog's dataclasses say."""
    alpha = Provider("alpha", "openai", "https://alpha.example/v1")
    lead, second = Target("lead", alpha, "big"), Target("second", alpha, "small")
    expected = Catalog(
        version=7,
        targets={"lead": lead, "second": second},
        routes={"chat": Route("chat", (Candidate(lead, 1), Candidate(second, 2)))},
    )
    assert expected == catalog(parse(text), 7)


def test_every_field_of_the_example_arrives() -> None:
    """Values that differ from the defaults reach their field of the catalog, in its types and units."""
    loaded = catalog(parse(EXAMPLE.read_text()), 1)
    assert (
        Auth("x-api-key", "", "ssm:/understudy/anthropic/api-key") == loaded.targets["claude-understudy"].provider.auth
    )
    eu, careful = loaded.targets["gpt-eu"], loaded.routes["careful"]
    expected_eu = Target(
        name="gpt-eu",
        provider=Provider(
            name="openai-eu",
            wire="openai",
            base_url="https://eu.api.openai.com/v1",
            auth=Auth("Authorization", "Bearer", "secretsmanager:understudy/openai-eu#api_key"),
            headers={"OpenAI-Project": "proj_example"},
        ),
        model="gpt-4.1",
        region="eu",
        capabilities=Capabilities(context_window=1_000_000, max_output_tokens=32_768),
        data=DataFacts(
            frozenset({"eu"}),
            retention_days=0,
            trains_on_data=False,
            certifications=frozenset({"GDPR-DPA", "HIPAA-BAA"}),
        ),
        price=Price(Decimal("2.2"), Decimal("8.8"), "EXAMPLE, check the price page"),
    )
    assert expected_eu == eu
    limits = Limits(
        connect=3,
        first_token_min=20,
        first_token=60,
        first_token_reasoning=120,
        stall_min=5,
        stall=30,
        request=300,
        retries_per_target=0,
        attempts_per_request=3,
        backoff=0.5,
        retry_after_cap=10,
        max_cost=Decimal("2.5"),
    )
    assert limits == careful.limits
    shares = [("claude-understudy", 1, 1.0), ("gpt-lead", 1, 3.0), ("gpt-small", 2, 1.0)]
    assert shares == [(c.target.name, c.order, c.weight) for c in careful.candidates]
    expected_flags = (True, True, True, False)
    assert expected_flags == (careful.assured, careful.reroute_refusals, careful.hedge, careful.continue_in_user_turn)
    assert (5.0, "none") == (
        loaded.targets["gpt-lead"].min_tokens_per_s,
        loaded.targets["gpt-lead"].capabilities.prefill,
    )
    assert "message" == loaded.targets["claude-understudy"].capabilities.prefill
    assert Constraints(frozenset({"eu"}), 0, no_training=True) == loaded.routes["chat-eu"].constraints
    assert frozenset({"logit_bias", "seed"}) == loaded.routes["chat"].may_drop
    assert HealthSettings() == loaded.health
    assert AlertSettings(3600, "https://wiki.example.com/understudy/on-call") == loaded.alerts
    assert loaded.targets["simulated-lead"].provider.simulated


def test_health_settings_arrive_in_seconds(text: str) -> None:
    """Every setting of health and alerts can be changed by the document."""
    settings_of_health = """
health:
  breaker: {consecutive_failures: 2, quiet_failures: 19, quiet_calls: 20, failure_ratio: 0.4, minimum_calls: 3,
    window_s: 4, open_first_s: 5, open_steady_s: 5.5, open_max_s: 6, jitter: 0.7,
    successes_to_close: 8, ramp: [0.9], ramp_step_s: 10, lease_s: 11}
  score: {availability: 21, latency: 22, quality: 23, cost: 24, hysteresis: 25, half_life_s: 260}
  probe: {period_s: 17, prompt: "13", max_tokens: 14, usd_per_day: "1.50", reasoning_tokens: 21}
  quality: {period_s: 1800, items: 22, sets: [], judge: second, confirm_items: 23}
  drift: {period_s: 120, prompts: 4}
  detection: {in_control_length: 200, false_discovery_rate: 0.3, max_loss: 0.2}
  flush_s: 15
  evaluations_to_resolve: 16
alerts: {renotify_s: 18}
"""
    loaded = catalog(parse(text + settings_of_health), 1)
    breaker = loaded.health.breaker
    expected = [2, 19, 20, 0.4, 3, 4, 5, 5.5, 6, 0.7, 8, (0.9,), 10, 11]
    assert expected == [getattr(breaker, name) for name in type(breaker).__slots__]
    assert [21, 22, 23, 24, 25, 260] == [getattr(loaded.health.score, n) for n in type(loaded.health.score).__slots__]
    quality, drift = QualitySettings(1800, 22, (), "second", 23), DriftSettings(120, 4)
    detection = DetectionSettings(200, 0.3, 0.2)
    rest = [17, "13", 14, Decimal("1.5"), 21, quality, drift, detection, 15, 16]
    assert rest == [getattr(loaded.health, name) for name in type(loaded.health).__slots__][2:]
    renotify = 18
    assert renotify == loaded.alerts.renotify


def test_strategies_and_trials_arrive(text: str) -> None:
    """A route's strategy, bounds and trials are compiled in their types and units; trials need not be on its list."""
    more = """
    targets: [lead]
    strategy: best
    task: sums
    max_price_per_million: "2.50"
    first_token_objective_s: 1.5
    canary: {target: second, share: 0.1}
    shadow: {target: lead, share: 1}
    quarantine: off
"""
    document = parse(changed(text, "\n    targets: [lead, second]\n", more))
    loaded = catalog(document, 1)
    lead, second, route = loaded.targets["lead"], loaded.targets["second"], loaded.routes["chat"]
    expected = Route(
        "chat",
        (Candidate(lead, 1),),
        strategy="best",
        task="sums",
        max_price_per_million=Decimal("2.5"),
        first_token_objective=1.5,
        canary=Share(second, 0.1),
        shadow=Share(lead, 1.0),
        quarantine="off",
    )
    assert (expected, {"lead": lead, "second": second}) == (route, route.asked)
    (told,) = warnings(document)
    assert "The route `chat` copies 100% of its requests to `lead`" in told


def test_fields_of_a_newer_document_are_passed_over(text: str) -> None:
    """An older data plane reads a document that says more than it knows."""
    document = parse(text)
    newer: dict[str, Any] = copy.deepcopy(document)
    for part in [newer, newer["providers"]["alpha"], newer["targets"]["lead"], newer["routes"]["chat"],
                 newer["routes"]["chat"]["targets"][0], newer["routes"]["chat"]["limits"], newer["health"],
                 newer["health"]["breaker"], newer["health"]["probe"], newer["alerts"]]:  # fmt: skip
        part["from_the_future"] = {"x": 1}
    assert catalog(document, 1) == catalog(newer, 1)


def test_fields_of_an_older_document_take_their_default(text: str) -> None:
    """A document from before a field existed means the default of that field."""
    document = parse(text)
    older: dict[str, Any] = copy.deepcopy(document)
    del older["health"], older["alerts"], older["targets"]["lead"]["capabilities"]
    del older["routes"]["chat"]["assured"], older["routes"]["chat"]["limits"]["stall_s"]
    assert catalog(document, 1) == catalog(older, 1)


NEEDED = [
    ("providers",), ("targets",), ("routes",), ("providers", "alpha", "wire"), ("providers", "alpha", "base_url"),
    ("targets", "lead", "provider"), ("targets", "lead", "model"), ("routes", "chat", "targets"),
    ("routes", "chat", "targets", 0, "target"), ("routes", "chat", "targets", 0, "order"),
]  # fmt: skip


@pytest.mark.parametrize("path", NEEDED)
def test_a_field_without_default_must_be_there(text: str, path: tuple[Any, ...]) -> None:
    """Half a document is refused with the path of what is missing, never filled in by guess."""
    document: Any = parse(text)
    part = document
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    with pytest.raises(DocumentError) as caught:
        catalog(document, 1)
    expected = ".".join(str(step) for step in path).replace(".0", "[0]")
    assert expected == caught.value.problems[0].path


def test_names_that_lead_nowhere_are_refused(text: str) -> None:
    """A stored document that was damaged does not become a catalog with holes."""
    document = parse(text)
    document["routes"]["chat"]["targets"][1]["target"] = "gone"
    with pytest.raises(DocumentError) as caught:
        catalog(document, 1)
    expected = (
        "routes.chat.targets[1].target: there is no target `gone`. "
        "Fix: publish a document made for this version of the software."
    )
    assert expected == str(caught.value)


def test_another_schema_is_refused(text: str) -> None:
    """A document of a schema that this software does not know is not read as if it were its own."""
    with pytest.raises(DocumentError) as caught:
        catalog(parse(text) | {"schema": 2}, 1)
    expected = "schema: is 2; this software reads schema 1."
    assert expected == str(caught.value).split(" Fix")[0]


def test_loading_needs_no_schema_library_and_no_yaml() -> None:
    """The data plane's cold start does not pay for what only publishing needs."""
    code = (
        "import sys, understudy.control.load, understudy.control.versions, understudy.control.diff;"
        "print(sorted({'pydantic', 'yaml', 'boto3', 'httpx'} & set(sys.modules)))"
    )
    path = str(EXAMPLE.parents[1] / "functions")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    expected = "[]"
    assert expected == done.stdout.strip()


WORDS = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
SECONDS = st.floats(0.1, 30, allow_nan=False)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Valid documents as they may be written, with all, some or none of the optional parts."""
    providers = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
    targets = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    limits = st.fixed_dictionaries({}, optional={"connect_s": SECONDS, "first_token_s": SECONDS, "stall_s": SECONDS})
    data = st.fixed_dictionaries(
        {}, optional={"jurisdictions": st.lists(WORDS.filter(str.isalpha)), "retention_days": st.integers(0, 99)}
    )
    price = st.decimals(0, 1000, places=4, allow_nan=False).map(str)
    route = st.fixed_dictionaries(
        {"targets": st.lists(st.sampled_from(targets), min_size=1, unique=True)},
        optional={"limits": limits, "assured": st.booleans(), "may_drop": st.just(["seed"])},
    )
    return {
        "schema": 1,
        "defaults": {"limits": draw(limits)},
        "providers": {
            name: {"wire": draw(st.sampled_from(["openai", "anthropic"])), "base_url": "https://h.example"}
            for name in providers
        },
        "targets": {
            name: {
                "provider": draw(st.sampled_from(providers)),
                "model": draw(WORDS),
                "data": draw(data),
                "price": {"input_per_million": draw(price), "output_per_million": draw(price)},
            }
            for name in targets
        },
        "routes": draw(st.dictionaries(WORDS, route, min_size=1, max_size=3)),
    }


@settings(max_examples=100, deadline=None)
@given(documents())
def test_every_valid_document_can_be_loaded(written: dict[str, Any]) -> None:
    """What publishing accepts, the data plane compiles, with every target and route in it."""
    # JSON is YAML too.
    loaded = catalog(parse(json.dumps(written)), 1)
    assert written["targets"].keys() == loaded.targets.keys()
    assert {n: set(r["targets"]) for n, r in written["routes"].items()} == {
        n: {c.target.name for c in r.candidates} for n, r in loaded.routes.items()
    }
    for name, target in written["targets"].items():
        price = loaded.targets[name].price
        assert price is not None
        assert Decimal(target["price"]["input_per_million"]) == price.input_per_million


def test_route_limits_override_the_defaults() -> None:
    """A route's own limits win, the document's defaults come next, the software's last."""
    written = changed(TEXT, "schema: 1", "schema: 1\ndefaults: {limits: {connect_s: 1, stall_s: 2}}")
    written = changed(written, "[lead, second]", "[lead, second]\n    limits: {stall_s: 3}")
    assert Limits(connect=1.0, stall=3.0) == catalog(parse(written), 1).routes["chat"].limits
