"""What the control document promises to the person who writes it."""

from __future__ import annotations

import base64
import copy
import json
import random
import re
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.control.documents import EXAMPLE, changed, problems
from understudy.control.document import MAX_BYTES, fields, parse, warnings
from understudy.errors import DocumentError

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_text(text: str) -> None:
    """Mistakes of every sort are found in one reading, from the top down."""
    wrong = changed(text, "wire: openai", "wire: x")
    wrong = changed(wrong, "model: big", "modle: big")
    wrong = changed(wrong, "[lead, second]", "[lead, secnd]")
    paths = ["providers.alpha.wire", "targets.lead.model", "targets.lead.modle", "routes.chat.targets[1]"]
    assert paths == [problem.split(" ")[0] for problem in problems(wrong)]


def test_an_empty_text_says_how_to_begin() -> None:
    """An empty file is told as such, under its own name."""
    with pytest.raises(DocumentError) as caught:
        parse("# nothing\n", filename="router.yaml")
    expected = "router.yaml: is empty. Fix: begin with `schema: 1`; infra/router.example.yaml is a complete document."
    assert expected == str(caught.value)


@pytest.mark.parametrize("section", ["providers", "targets", "routes"])
def test_sections_without_entries_are_refused(section: str) -> None:
    """A document needs at least one provider, target and route."""
    found = problems(f"schema: 1\n{section}: {{}}\n")
    expected = f"{section} (line 2, column 1): there are no {section}. Fix: define at least one under `{section}`."
    assert expected in found


def test_route_names_may_be_public_model_names(text: str) -> None:
    """Routes take upper case, slashes and colons, and their paths stay readable."""
    document = parse(changed(text, "  chat:", '  "Org/gpt-4.1:free":'))
    expected = ["Org/gpt-4.1:free"]
    assert expected == list(document["routes"])
    found = problems(changed(changed(text, "  chat:", "  gpt-4.1:"), "second]", "b]"))
    expected = 'routes["gpt-4.1"].targets[1] (line 11, column 21)'
    assert expected == found[0].split(":")[0]


@pytest.mark.parametrize("name", ["Lead", "-x", "a b", "x" * 65, "ü"])
def test_names_of_targets_are_plain(text: str, name: str) -> None:
    """A target's name that could not stand in a path, a key or a header is refused."""
    found = problems(changed(text, "  second:", f'  "{name}":'))
    assert any("is not a valid name." in problem for problem in found)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8080/v1/", "http://127.0.0.1:1", "http://[::1]:9/x", "https://h.example:8443/v1"],
)
def test_urls_to_loopback_may_be_plain(text: str, url: str) -> None:
    """Local simulators are reached without encryption; the slash at the end is not kept."""
    document = parse(changed(text, "https://alpha.example/v1", f'"{url}"'))
    assert url.rstrip("/") == document["providers"]["alpha"]["base_url"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "alpha.example",
        "https://",
        "https://h:99999999/",
        "https://h/ x",
        "http://localhost.evil/",
    ],
)
def test_other_urls_are_refused(text: str, url: str) -> None:
    """What is no https URL is refused at its place."""
    found = problems(changed(text, "https://alpha.example/v1", f'"{url}"'))
    expected = ["providers.alpha.base_url"]
    assert expected == [problem.split(" ")[0] for problem in found]


@pytest.mark.parametrize(
    "secret",
    [
        "env:ALPHA_API_KEY",
        "ssm:/understudy/alpha",
        "secretsmanager:understudy/alpha",
        "secretsmanager:a/b#api_key",
        "secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:understudy-AbCdEf#key",
    ],
)
def test_references_to_secrets_are_kept(text: str, secret: str) -> None:
    """The three forms of a reference are taken as they are."""
    auth = f'auth: {{header: Authorization, scheme: Bearer, secret: "{secret}"}}'
    document = parse(changed(text, "wire: openai", f"wire: openai\n    {auth}"))
    assert secret == document["providers"]["alpha"]["auth"]["secret"]


def test_the_canonical_form_writes_out_every_default(text: str) -> None:
    """Orders, limits and defaults that were left out are in the canonical form, and it is plain JSON."""
    document = parse(changed(text, "[lead, second]", "[lead, second]\n    limits: {stall_s: 7}"))
    route = document["routes"]["chat"]
    candidates = [
        {"target": "lead", "order": 1, "weight": 1.0},
        {"target": "second", "order": 2, "weight": 1.0},
    ]
    assert candidates == route["targets"]
    assert document["defaults"]["limits"] | {"stall_s": 7.0} == route["limits"]
    expected = {"jurisdictions": [], "retention_days": None, "trains_on_data": None, "certifications": [], "entity": ""}
    expected |= {"contract": {"id": "", "expires": None}, "family": "", "open_weights": None}
    assert expected == document["targets"]["lead"]["data"]
    assert document == json.loads(json.dumps(document))


def test_prices_are_decimals_without_needless_zeros(text: str) -> None:
    """A price stays decimal text, and the same price written differently is the same document."""
    price = 'model: big, price: {input_per_million: "2.50", output_per_million: "10.00"}}'
    kept = parse(changed(text, "model: big}", price))["targets"]["lead"]["price"]
    expected = {"input_per_million": "2.5", "output_per_million": "10", "source": ""}
    assert expected == {name: kept[name] for name in expected}
    assert ({}, [], {}) == (kept["kinds"], kept["long_prompts"], kept["service_tiers"])


def test_layout_and_order_of_writing_do_not_matter(text: str) -> None:
    """Sets and shares that are written in another order give the same canonical form."""
    one = "[{target: lead, order: 1, weight: 2}, {target: second, order: 1}]\n    may_drop: [seed, logit_bias]"
    two = "[{target: second, order: 1}, {target: lead, order: 1, weight: 2}]\n    may_drop: [logit_bias, seed, seed]"
    old = "[lead, second]"
    assert parse(changed(text, old, one)) == parse(changed(text, old, two))


def test_what_nobody_uses_is_a_warning(text: str) -> None:
    """An unused target or provider, and a target its route never uses, are told without stopping anything."""
    odd = changed(text, "  lead: {", "  spare: {provider: alpha, model: x}\n  lead: {data: {trains_on_data: false}, ")
    odd = changed(odd, "targets:\n", "  beta: {wire: openai, base_url: https://b.example}\ntargets:\n")
    odd = changed(odd, "[lead, second]", "[lead, second]\n    constraints: {no_training: true}")
    expected = [
        "No route uses the target `spare`.",
        "No target uses the provider `beta`.",
        "The route `chat` never uses its target `second`: no_training: training not declared.",
    ]
    assert expected == warnings(parse(odd))


def test_copies_that_may_cost_anything_are_a_warning(text: str) -> None:
    """A shadow on a route without a limit of money is told; with a limit there is nothing to say."""
    copied = changed(text, "[lead, second]", "[lead, second]\n    shadow: {target: second, share: 1}")
    limited = changed(copied, "share: 1}", 'share: 1}\n    limits: {max_cost_usd: "0.05"}')
    expected = (
        "The route `chat` copies 100% of its requests to `second`, and nothing limits what that costs: "
        "set routes.chat.limits.max_cost_usd, for each copy, and a small share."
    )
    assert ([expected], []) == (warnings(parse(copied)), warnings(parse(limited)))


def test_a_document_must_fit_into_one_item(text: str) -> None:
    """The text is bounded, and so is what is stored of it and its canonical form; the message says how large it is."""
    assert parse(text) == parse(text + "#" * (MAX_BYTES - len(text) - 1) + "\n")
    assert re.match(r"<document>: takes 350,001 bytes of text; 350,000 are allowed.", problems("#" * 350_001)[0])
    noise = base64.b64encode(random.Random(1).randbytes(260_000)).decode()
    found = problems(f"{text}# {noise}\n")
    assert re.match(r"<document>.*: takes 35\d,\d\d\d bytes as it is stored; 350,000 are allowed.", found[0]), found


def test_a_thousand_targets_are_a_document() -> None:
    """A document of 1,000 targets with prices and facts of their own takes a part of what is allowed."""
    fact = (
        "data: {jurisdictions: [eu], retention_days: 0}, price: {input_per_million: '2.50', output_per_million: '10'}"
    )
    names = [f"acme-large-{number:04d}" for number in range(1000)]
    targets = "".join(f"  {name}: {{provider: acme, model: {name}, {fact}}}\n" for name in names)
    routes = "".join(f"  r{n}: {{targets: [{', '.join(names[n : n + 100])}]}}\n" for n in range(0, 1000, 100))
    head = "schema: 1\nproviders: {acme: {wire: openai, base_url: 'https://acme.example'}}\n"
    document = parse(f"{head}targets:\n{targets}routes:\n{routes}")
    assert 1000 == len(document["targets"])


@pytest.mark.parametrize(
    ("section", "most", "entry"),
    [("targets", 2000, "{provider: alpha, model: b}"), ("routes", 500, "{targets: [lead]}")],
)
def test_targets_and_routes_are_bounded(section: str, most: int, entry: str, text: str) -> None:
    """Each of them is a value of a dimension of the metrics, so their number has an end."""
    more = "".join(f"  n{number}: {entry}\n" for number in range(most))
    (found,) = problems(changed(text, f"{section}:\n", f"{section}:\n{more}"))
    count = most + (2 if section == "targets" else 1)
    assert f"{section} (" == found.partition("line")[0]
    assert found.endswith(f": has {count} entries; at most {most} are allowed.")


def test_hostile_yaml_is_refused_quickly() -> None:
    """Deep nesting, alias bombs, tags and broken escapes end as problems, not as crashes or long waits."""
    assert "nested deeper" in problems("[" * 100_000)[0]
    bomb = "a: &a [x]\n" + "".join(f"b{i}: [*a, *a, *a]\n" for i in range(50))
    assert "uses a YAML anchor or alias." in "\n".join(problems(bomb))
    assert "uses a YAML tag." in "\n".join(problems("schema: !!python/object/apply:os.system [ls]"))
    assert "stands for no character" in problems('a: "\\UFFFFFFFF"')[0]
    assert "half of a character" in "\n".join(problems('a: "\\ud800"'))
    assert "holds more than one YAML document." in "\n".join(problems("schema: 1\n---\nschema: 1\n"))


def test_a_flood_of_problems_is_cut() -> None:
    """Thousands of mistakes are told as the first ones and a count."""
    found = problems("schema: 1\n" + "".join(f"x{i}: 1\n" for i in range(1000)))
    expected = "<document>: has at least 803 more problems. Fix: correct these first."
    assert expected == found[-1]
    expected = 201
    assert expected == len(found)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec=None)) | st.text("schema: 1\n-[]{}&*!|>'\"%@`#?,tru0.9\t\\ux~<"))
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    """Whatever the text is, only DocumentError is raised."""
    with pytest.raises(DocumentError):
        parse(text)


SECTIONS = [
    "schema",
    "defaults",
    "providers",
    "targets",
    "routes",
    "health",
    "alerts",
    "limits",
    "auth",
    "headers",
]
NAMES = st.sampled_from(sorted({part for path in fields() for part in re.split(r"\.|\[\]", path) if part}))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(SECTIONS), NESTED, max_size=7))
def test_arbitrary_data_is_parsed_or_refused(data: dict[str, Any]) -> None:
    """Whatever stands in the known sections, only DocumentError is raised, with a path for every problem."""
    for problem in problems(yaml.safe_dump(data)):
        assert problem.split(": ")[0]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([path for path in fields() if "." in path]), NESTED)
def test_one_wrong_value_never_breaks_the_reader(path: str, value: Any) -> None:
    """The complete example with one value replaced by anything is parsed or refused in order."""
    document = copy.deepcopy(example())
    replace(document, path.replace("[]", ".[]").split("."), value)
    try:
        parse(yaml.dump(document, Dumper=DUMPER))
    except DocumentError as error:
        assert error.problems


@cache
def example() -> dict[str, Any]:
    return yaml.safe_load(EXAMPLE.read_text())


def replace(part: Any, steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        if step == "NAME":
            step = next(iter(part))
        part = (
            next((item for item in part if isinstance(item, dict)), {}) if step == "[]" else part.setdefault(step, {})
        )
    if isinstance(part, dict):
        part[steps[-1]] = value
