"""What template.yaml says, for the local stack: rooms, their triggers, the table.  One source, so nothing can drift."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_UNITS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A room to be called every `seconds` with `payload`."""

    seconds: float
    payload: Any


@dataclass(frozen=True, slots=True)
class Stream:
    """A room to be called with batches of table changes that fit one of the patterns."""

    patterns: tuple[Mapping[str, Any], ...]
    batch: int
    retries: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A room to be called with batches of messages of the queue with this logical id."""

    logical_id: str
    batch: int


@dataclass(frozen=True, slots=True)
class Room:
    """One function of the template: the module of its handler and its triggers."""

    name: str
    module: str
    schedules: tuple[Schedule, ...] = ()
    streams: tuple[Stream, ...] = ()
    queues: tuple[Queue, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An answer that API Gateway makes itself; `template` is its body, with variables."""

    status: int
    template: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The whole template as far as the local stack plays it.

    `api` holds (method, path), all answered by the room named `api_room`.
    """

    rooms: tuple[Room, ...]
    api_room: str
    api: tuple[tuple[str, str], ...]
    table: Mapping[str, Any]
    gateway_responses: Mapping[str, GatewayResponse]


def wiring() -> Wiring:
    """Read template.yaml and its children.  Raises ValueError on a trigger that is not played."""
    resources = load(ROOT / "template.yaml")["Resources"]
    api = load(ROOT / "infra" / "api.yaml")["Resources"]["Api"]["Properties"]
    storage = load(ROOT / "infra" / "storage.yaml")
    functions = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    return Wiring(
        rooms=tuple(_room(name, properties) for name, properties in functions.items()),
        api_room=_name_of(resources["Api"]["Properties"]["Parameters"]["RouteRequest"]),
        api=tuple((m.upper(), path) for path, methods in api["DefinitionBody"]["paths"].items() for m in methods),
        table=storage["Resources"]["Table"]["Properties"],
        gateway_responses=dict(_gateway_responses(api)),
    )


def _name_of(reference: Mapping[str, str]) -> str:
    """The logical id in `!Ref Function.Alias`."""
    return reference["Ref"].partition(".")[0]


def _room(name: str, properties: Mapping[str, Any]) -> Room:
    module, _, _ = properties["Handler"].rpartition(".")
    events = [(event["Type"], event["Properties"]) for event in properties.get("Events", {}).values()]
    unknown = {kind for kind, _ in events} - {"ScheduleV2", "DynamoDB", "SQS"}
    if unknown:
        raise ValueError(f"{name}: the local stack does not play triggers of type {', '.join(sorted(unknown))}")
    return Room(
        name=name,
        module=module,
        schedules=tuple(
            Schedule(rate(p["ScheduleExpression"]), json.loads(p["Input"])) for k, p in events if k == "ScheduleV2"
        ),
        streams=tuple(_stream(p) for kind, p in events if kind == "DynamoDB"),
        queues=tuple(Queue(_queue(p["Queue"]), p["BatchSize"]) for kind, p in events if kind == "SQS"),
    )


def _queue(reference: Mapping[str, str]) -> str:
    """The logical id in `!GetAtt Queues.Outputs.SomeQueueArn`."""
    return reference["Fn::GetAtt"].rpartition(".")[2].removesuffix("Arn")


def _stream(properties: Mapping[str, Any]) -> Stream:
    filters = properties["FilterCriteria"]["Filters"]
    return Stream(
        tuple(json.loads(f["Pattern"]) for f in filters), properties["BatchSize"], properties["MaximumRetryAttempts"]
    )


def rate(expression: str) -> float:
    """Seconds of a `rate(...)` expression.  Raises ValueError on anything else."""
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if match is None:
        raise ValueError(f"the local stack plays rate(...) schedules only, not {expression!r}")
    return int(match[1]) * _UNITS[match[2]]


def _gateway_responses(api: Mapping[str, Any]) -> Iterator[tuple[str, GatewayResponse]]:
    defaults = {"DEFAULT_4XX": 400, "DEFAULT_5XX": 500, "THROTTLED": 429, "REQUEST_TOO_LARGE": 413}
    for name, response in api["GatewayResponses"].items():
        status = int(response.get("StatusCode", defaults.get(name, 500)))
        # A fixed value stands between quotes.
        fixed = response.get("ResponseParameters", {}).get("Headers", {})
        headers = {header: value.strip("'") for header, value in fixed.items()}
        yield name, GatewayResponse(status, response["ResponseTemplates"]["application/json"], headers)


class _CfnLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: `!Ref x` becomes {"Ref": "x"}."""


def _short_form(loader: _CfnLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101  # nosec B101
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_CfnLoader.add_multi_constructor("!", _short_form)


def load(path: Path) -> dict[str, Any]:
    """A template as plain data, its short forms (`!Ref x`) in their long form."""
    document: dict[str, Any] = yaml.load(path.read_text(), _CfnLoader)  # noqa: S506  # nosec B506
    return document
