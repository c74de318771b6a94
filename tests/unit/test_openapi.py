"""The OpenAPI document of our own API says what the code does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.hostile import DOCUMENT, aimed
from understudy.chat.request import _TYPES, ROLES
from understudy.services.demands import HEADER
from understudy.services.feedback import PATH as FEEDBACK
from understudy.services.metering import PATH as USAGE
from understudy.services.request_parts import DEADLINE_HEADER, MAX_COST_HEADER
from understudy.services.route_request import MODELS
from understudy.wire.fronts import FRONTS
from understudy.wire.fronts.errors import STATUS

API: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
SCHEMAS: dict[str, Any] = API["components"]["schemas"]
WORDS = {bool: "boolean", dict: "object", list: "array", str: "string", int: "integer", float: "number"}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_every_path_that_is_served_is_described() -> None:
    """And every path that is described is served, with the one method that it takes."""
    described = {(path, method) for path, methods in API["paths"].items() for method in methods}
    served = {(path, "post") for path in {FEEDBACK, *FRONTS}} | {
        (path, "get") for path in (MODELS, f"{MODELS}/{{id}}", USAGE)
    }
    assert served == described


def test_every_reference_is_met() -> None:
    """A reference that leads nowhere would hide what it stands for."""
    references = [node["$ref"] for node in nodes(API) if "$ref" in node]
    for reference in references:
        place: Any = API
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert len(references) > 50


def test_every_status_of_an_error_is_described() -> None:
    """At each path, so that no answer is a surprise."""
    statuses = {"200", "422", *(str(status) for status, _ in STATUS.values())} - {"409"}
    operations = {f"{path} {name}": one for path, methods in API["paths"].items() for name, one in methods.items()}
    expected = dict.fromkeys(operations, statuses) | {f"{FEEDBACK} post": statuses - {"200"} | {"204", "409"}}
    assert expected == {name: set(one["responses"]) for name, one in operations.items()}


def test_the_fields_of_a_chat_are_those_that_are_checked() -> None:
    """Name by name and type by type; each may be null, which is as good as absent."""
    fields = {k: v for k, v in SCHEMAS["ChatRequest"]["properties"].items() if k not in ("model", "messages")}
    kinds = {name: {WORDS[kind] for kind in types} - ({"integer"} if float in types else set()) | {"null"}
             for name, types in _TYPES.items()}  # fmt: skip
    assert kinds == {name: set(_types(field)) for name, field in fields.items()}
    roles = [role for one in SCHEMAS["ChatMessage"]["oneOf"] for role in _values(one["properties"]["role"])]
    assert sorted(ROLES) == sorted(roles)


def _types(field: dict[str, Any]) -> list[str]:
    if "anyOf" in field:
        return [one["type"] for one in field["anyOf"]]
    return field["type"] if isinstance(field["type"], list) else [field["type"]]


def _values(field: dict[str, Any]) -> list[str]:
    return field.get("enum", [field.get("const")])


@pytest.mark.parametrize("name", [DEADLINE_HEADER, HEADER, MAX_COST_HEADER])
def test_the_headers_of_a_request_are_described(name: str) -> None:
    """Under the names that the router reads, at every path that asks a provider."""
    (key,) = [key for key, one in API["components"]["parameters"].items() if one["name"] == name]
    reference = {"$ref": f"#/components/parameters/{key}"}
    posts = [one["post"] for path, one in API["paths"].items() if "post" in one and path != FEEDBACK]
    assert [] == [one["operationId"] for one in posts if reference not in one["parameters"]]


def test_a_key_is_needed_everywhere() -> None:
    """Either header; no operation opts out."""
    assert [{"bearer": []}, {"apiKey": []}] == API["security"]
    assert [] == [name for methods in API["paths"].values() for name, one in methods.items() if "security" in one]


def test_hostile_requests_get_past_the_name_of_the_model() -> None:
    """The document that is fuzzed names one route, and is otherwise the same."""
    made = aimed(API, "chat")
    assert ({"enum": ["chat"]}, True) == (made["components"]["schemas"]["RouteName"], "pattern" in SCHEMAS["RouteName"])
    assert API["paths"] == made["paths"]
