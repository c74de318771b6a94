"""The example, the reference page, the schema and the catalog say the same."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import yaml

from tests.unit.control.documents import EXAMPLE
from understudy import catalog, facts
from understudy.control.document import REQUIRED, fields, parse, warnings

REFERENCE = EXAMPLE.with_name("control-document.md")


def paths(value: Any, above: tuple[str, ...] = ()) -> set[str]:
    """The schema's paths that occur in a document as it is written."""
    found: set[str] = {".".join(above).replace(".[]", "[]")}
    if isinstance(value, dict) and above[-1:] not in (("headers",), ("rename",), ("with",)):
        named = above in (("providers",), ("targets",), ("routes",), ("data_classes",), ("golden_sets",))
        for name, inner in value.items():
            found |= paths(inner, (*above, "NAME" if named else name))
    elif isinstance(value, list):
        for item in value:
            found |= paths(item, (*above, "[]"))
    return found


def test_the_example_is_valid_and_uses_every_field() -> None:
    """The shipped example publishes without a warning and shows each field at least once."""
    text = EXAMPLE.read_text()
    expected = []
    assert expected == warnings(parse(text))
    assert set() == set(fields()) - paths(yaml.safe_load(text))


def test_the_example_says_that_its_prices_are_examples() -> None:
    """Nobody can take a price of the example for a checked figure."""
    priced = [target for target in parse(EXAMPLE.read_text())["targets"].values() if target["price"]]
    assert priced
    assert all("EXAMPLE" in target["price"]["source"] for target in priced)


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| ([^|]+) \| [^|]+ \|$", REFERENCE.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_the_reference_names_every_field_with_its_default() -> None:
    """The reference page and the schema agree on the fields and on every default."""
    expected: dict[str, str] = {}
    for path, default in fields().items():
        if default == REQUIRED or (isinstance(default, dict) and default):
            expected[path] = REQUIRED if default == REQUIRED else "see below"
        elif default is None:
            expected[path] = "none"
        else:
            shown = int(default) if isinstance(default, float) and default.is_integer() else default
            expected[path] = f"`{json.dumps(shown)}`"
    # The limits of a route are those of `defaults`, told once.
    expected = {path: told for path, told in expected.items() if not path.startswith("routes.NAME.limits.")}
    assert expected | {"routes.NAME.limits": "from `defaults`"} == documented()


RENAMED = {"classes": "data_classes", "expires_at": "expires"}
FORMS = {
    "defaults.limits": catalog.Limits(),
    "targets.NAME.capabilities": catalog.Capabilities(),
    "targets.NAME.data": catalog.DataFacts(),
    "targets.NAME.data.contract": facts.Contract(),
    "routes.NAME.constraints": catalog.Constraints(),
    "routes.NAME.pii": catalog.PiiRules(),
    "health.breaker": catalog.BreakerSettings(),
    "health.detection": catalog.DetectionSettings(),
    "health.score": catalog.ScoreSettings(),
    "alerts": catalog.AlertSettings(),
}


@pytest.mark.parametrize("path", FORMS)
def test_defaults_are_those_of_the_catalog(path: str) -> None:
    """A field that is left out means what the catalog's own default means, and no field is missing."""
    values = {field.name: getattr(FORMS[path], field.name) for field in dataclasses.fields(FORMS[path])}
    expected = {RENAMED.get(name, name): sorted(v) if isinstance(v, frozenset | tuple) else v
                for name, v in values.items() if not dataclasses.is_dataclass(v)}  # fmt: skip
    prefix = f"{path}."
    written = {
        p.removeprefix(prefix).removesuffix("_s").removesuffix("_usd"): d
        for p, d in fields().items()
        if p.startswith(prefix) and p.removeprefix(prefix).split(".")[0] != "contract"
    }
    assert expected == written


def test_health_and_entity_defaults_are_those_of_the_catalog() -> None:
    """The fields that are nested differently agree with the catalog too."""
    known, health = fields(), catalog.HealthSettings()
    written = ["health.probe.period_s", "health.probe.prompt", "health.probe.max_tokens", "health.flush_s",
               "health.evaluations_to_resolve"]  # fmt: skip
    expected = [health.probe_period, health.probe_prompt, health.probe_max_tokens, health.flush,
                health.evaluations_to_resolve]  # fmt: skip
    assert expected == [known[path] for path in written]
    for path, form in {
        "providers.NAME": catalog.Provider,
        "targets.NAME": catalog.Target,
        "targets.NAME.price": catalog.Price,
        "routes.NAME": catalog.Route,
        "routes.NAME.targets[]": catalog.Candidate,
    }.items():
        plain = (str, float, bool, frozenset)
        told = (f for f in dataclasses.fields(form) if f.name not in ("starts_at", "assumed"))
        of_form = {f.name: f.default for f in told if isinstance(f.default, plain)}
        expected_here = {n: sorted(v) if isinstance(v, frozenset) else v for n, v in of_form.items()}
        assert expected_here == {name: known[f"{path}.{name}"] for name in of_form}
