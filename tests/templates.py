"""The templates as plain data, for the tests of what they promise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHILDREN = ("storage", "logs", "queues", "alerts", "api", "observability", "dashboard")
TEMPLATES = ("template.yaml", *(f"infra/{name}.yaml" for name in CHILDREN))


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, in their long form."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_scalar(node)}  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _tagged)


def template(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / path).read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return loaded


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
