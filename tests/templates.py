"""The templates as plain data, for the tests of what they promise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from infra.local.template import ROOT, load

CHILDREN = ("storage", "logs", "audit", "queues", "alerts", "api", "observability", "dashboard")
TEMPLATES = ("template.yaml", *(f"infra/{name}.yaml" for name in CHILDREN))


def template(path: str) -> dict[str, Any]:
    return load(ROOT / path)


def resources(path: str, kind: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of a type, by logical id."""
    found = template(path)["Resources"].items()
    return {name: each.get("Properties", {}) for name, each in found if each["Type"] == kind}


def functions() -> dict[str, dict[str, Any]]:
    return resources("template.yaml", "AWS::Serverless::Function")


def events(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of every event of a type, by `Function.Event`."""
    return {
        f"{function}.{name}": event["Properties"]
        for function, properties in functions().items()
        for name, event in properties.get("Events", {}).items()
        if event["Type"] == kind
    }


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a value, itself included."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def statements(value: Any) -> list[dict[str, Any]]:
    """Every IAM statement inside a value, whatever it is nested in."""
    return [node for node in nodes(value) if "Effect" in node]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def filters(event: str) -> list[Any]:
    patterns = events("DynamoDB")[event]["FilterCriteria"]["Filters"]
    return [json.loads(each["Pattern"]) for each in patterns]


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
