"""What the alarms and the dashboard promise: every failure of ours is told, and they name only what is measured."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.templates import ROOT, nodes, resources, snake, template
from tests.templates import functions as template_functions
from understudy.metrics import METRICS, NAMESPACE

# What AWS measures and is used here, with its dimensions.  Sources: AWS Lambda developer guide, "Viewing metrics for
# Lambda functions"; API Gateway, SQS, SNS and DynamoDB developer guides, their pages on CloudWatch metrics.
AWS = {
    "AWS/Lambda": ({"FunctionName"}, {"Errors", "Throttles", "Duration", "ConcurrentExecutions", "IteratorAge"}),
    "AWS/SQS": ({"QueueName"}, {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}),
    "AWS/DynamoDB": ({"TableName"}, {"ReadThrottleEvents", "WriteThrottleEvents"}),
    "AWS/ApiGateway": ({"ApiName", "Stage"}, {"Count", "4XXError", "5XXError", "Latency"}),
    "AWS/SNS": ({"TopicName"}, {"NumberOfNotificationsFailed"}),
}
STATISTICS = {"Sum", "Average", "Minimum", "Maximum", "SampleCount", "p50", "p95"}
CHILDREN = ("Observability", "Dashboard")


def functions() -> list[str]:
    """Every function that is watched: a failure of manage_router fails the deployment that called it."""
    return [name for name in template_functions() if name != "ManageRouter"]


def alarms() -> dict[str, dict[str, Any]]:
    return resources("infra/observability.yaml", "AWS::CloudWatch::Alarm")


def watched(alarm: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(namespace, metric, dimensions) of an alarm; an own metric has the namespace of the table."""
    found = [node for node in nodes(alarm) if "MetricName" in node]
    return [(_namespace(m["Namespace"]), m["MetricName"], _dimensions(m)) for m in found]


def _namespace(value: Any) -> str:
    return NAMESPACE if value in ({"Ref": "Namespace"}, "${Namespace}") else str(value)


def _dimensions(metric: dict[str, Any]) -> dict[str, Any]:
    return {one["Name"]: one["Value"] for one in metric["Dimensions"]}


def known(namespace: str, metric: str, dimensions: set[str]) -> bool:
    if namespace == NAMESPACE:
        return metric in METRICS and {METRICS[metric].by} == dimensions
    return (dimensions, True) == (AWS[namespace][0], metric in AWS[namespace][1])


# alarms


@pytest.mark.parametrize("name", alarms())
def test_an_alarm_watches_what_is_measured(name: str) -> None:
    """An alarm on a metric that nobody writes would never go off."""
    metrics = watched(alarms()[name])
    assert bool(metrics)
    assert [] == [(space, metric) for space, metric, by in metrics if not known(space, metric, set(by))]


@pytest.mark.parametrize("name", alarms())
def test_an_alarm_is_told_and_taken_back(name: str) -> None:
    """Both go to the alert topic, and a router without requests is well."""
    alarm = alarms()[name]
    topic = [{"Ref": "AlertTopicArn"}]
    actual = (alarm["AlarmActions"], alarm["OKActions"], alarm["TreatMissingData"])
    assert (topic, topic, "notBreaching") == actual
    assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


@pytest.mark.parametrize("name", alarms())
def test_an_alarm_says_what_it_means_and_what_to_do(name: str) -> None:
    """Its description is a sentence for a tired person and names a runbook that is there."""
    found = re.fullmatch(r"(.{40,}\.) Runbook: (infra/runbooks/[a-z-]+\.md)", alarms()[name]["AlarmDescription"])
    assert found is not None
    runbook = (ROOT / found[2]).read_text()
    assert f"`{name}`" in runbook, "the runbook names its alarms"


def test_runbooks_are_short_pages_with_something_to_run() -> None:
    """Each fits a screen and has a command."""
    pages = {path.name: path.read_text() for path in (ROOT / "infra/runbooks").glob("*.md")}
    assert [] == [name for name, text in pages.items() if len(text.splitlines()) > 50]
    assert [] == [name for name, text in pages.items() if not re.search(r"`(?:aws|understudy) |^    aws ", text, re.M)]


def test_every_failure_of_ours_raises_an_alarm() -> None:
    """Crashes and throttles of every room, readers of the stream that fall behind, queues, table, alerts and API."""
    found = {
        (metric, str(next(iter(by.values()), {}).get("Ref")) if isinstance(next(iter(by.values())), dict) else "")
        for alarm in alarms().values()
        for _, metric, by in watched(alarm)
    }
    rooms = {(metric, name) for metric in ("Errors", "Throttles") for name in functions()}
    behind = {("IteratorAge", "UpdateHealth"), ("IteratorAge", "PublishAlerts")}
    probes = ("ApproximateAgeOfOldestMessage", "ProbeQueueName")
    queues = {probes, ("ApproximateNumberOfMessagesVisible", "DeadLetterQueueName")}
    table = {("ReadThrottleEvents", "TableName"), ("WriteThrottleEvents", "TableName")}
    own = {("RouterErrors", ""), ("StoreErrors", ""), ("AlertErrors", "")}
    outside = {("NumberOfNotificationsFailed", "None"), ("5XXError", "ApiName")}
    assert rooms | behind | queues | table | own | outside == found


def test_a_deployment_can_ask_the_alarms() -> None:
    """Bugs and crashes of the data plane are named for a rollback, and no alarm waits for the API, which waits for the
    deployment."""
    outputs = template("infra/observability.yaml")["Outputs"]
    assert {name: {"Value": {"Ref": name}} for name in ("RouterErrors", "RouteRequestErrors")} == outputs
    given = resources("template.yaml", "AWS::CloudFormation::Stack")["Observability"]["Parameters"]
    assert [] == [node for node in nodes(given) if "Api" in str(node.get("Ref")) or "Api." in str(node)]


def test_own_metrics_are_watched_in_the_room_that_writes_them() -> None:
    """The dimension is the room's name as its logger has it."""
    rooms = {snake(name) for name in functions()}
    own = [by["service"] for alarm in alarms().values() for space, _, by in watched(alarm) if space == NAMESPACE]
    assert set() == set(own) - rooms
    assert bool(own)


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_is_given_what_it_asks_for(child: str) -> None:
    """No parameter without a default is missing, and none is unknown; a reference to a function is to that function."""
    stack = resources("template.yaml", "AWS::CloudFormation::Stack")[child]
    asked, given = template(stack["TemplateURL"])["Parameters"], stack["Parameters"]
    needed = {name for name, parameter in asked.items() if "Default" not in parameter}
    assert (set(), set()) == (needed - given.keys(), given.keys() - asked.keys())
    assert {name: {"Ref": name} for name in functions()} == {name: given[name] for name in functions()}


def test_metrics_go_where_the_alarms_look() -> None:
    """The rooms, the alarms and the dashboard have one namespace."""
    variables = template("template.yaml")["Globals"]["Function"]["Environment"]["Variables"]
    stacks = resources("template.yaml", "AWS::CloudFormation::Stack")
    spaces = [variables["POWERTOOLS_METRICS_NAMESPACE"]]
    for child in CHILDREN:
        default = template(stacks[child]["TemplateURL"])["Parameters"]["Namespace"]["Default"]
        spaces.append(stacks[child]["Parameters"].get("Namespace", default))
    assert [spaces[0]] * len(spaces) == spaces


# dashboard


def dashboard() -> dict[str, Any]:
    """The body as CloudWatch gets it, parameters still by name."""
    body = resources("infra/dashboard.yaml", "AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"]
    loaded: dict[str, Any] = json.loads(body)
    return loaded


def graphs() -> dict[str, dict[str, Any]]:
    widgets = [w["properties"] for w in dashboard()["widgets"] if w["type"] == "metric"]
    return {properties["title"]: properties for properties in widgets}


SEARCH = re.compile(r"""SEARCH\('\{"\$\{Namespace\}",(\w+)\} MetricName="(\w+)"', '(\w+)'\)""")


def drawn(graph: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...], str]]:
    """(namespace, metric, dimensions, statistic) of every line or search of a graph."""
    found = []
    for row in graph["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        if "expression" in options:
            found += [(NAMESPACE, metric, (by,), stat) for by, metric, stat in SEARCH.findall(options["expression"])]
        else:
            space, metric, *by = [part for part in row if isinstance(part, str)]
            found.append((_namespace(space), metric, tuple(by[::2]), options.get("stat", graph.get("stat", ""))))
    return found


def test_the_dashboard_fits_its_grid() -> None:
    """24 columns, no widget over another, no more than the 500 that a dashboard may have."""
    boxes = [(w["x"], w["y"], w["x"] + w["width"], w["y"] + w["height"]) for w in dashboard()["widgets"]]
    assert [] == [box for box in boxes if not 0 <= box[0] < box[2] <= 24 or box[1] < 0 or box[1] >= box[3]]
    over = [(a, b) for a, b in combinations(boxes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]]
    assert ([], True) == (over, len(boxes) <= 500)


@pytest.mark.parametrize("title", graphs())
def test_a_graph_draws_what_is_measured(title: str) -> None:
    """Every metric is in the table, or one of AWS's own, by its dimensions, with a statistic that exists."""
    graph = graphs()[title]
    lines = drawn(graph)
    assert len(lines) == len(graph["metrics"])
    wrong = [line for line in lines if not known(line[0], line[1], set(line[2])) or line[3] not in STATISTICS]
    assert ([], "${AWS::Region}") == (wrong, graph["region"])


@pytest.mark.parametrize("title", graphs())
def test_a_graph_does_only_the_math_that_there_is(title: str) -> None:
    """Metric math takes an array of series with a number or one series, never with a second array."""
    for row in graphs()[title]["metrics"]:
        expression = row[-1].get("expression", "") if isinstance(row[-1], dict) else ""
        rest = SEARCH.sub("series", expression)
        assert rest in {"", "series", "100 - 100 * series", "100 * series", "FILL(series, REPEAT)", "SUM(series)"}


def test_everything_that_is_measured_is_drawn() -> None:
    """Each metric of the table has its place on the dashboard: it is paid for."""
    shown = {metric for graph in graphs().values() for space, metric, _, _ in drawn(graph) if space == NAMESPACE}
    assert METRICS.keys() == shown


def test_every_metric_is_written_by_somebody() -> None:
    """A name that no code knows would be a graph that stays empty."""
    texts = [path.read_text() for path in (ROOT / "functions").rglob("*.py") if path.name != "metrics.py"]
    assert [] == [name for name in METRICS if not any(f'"{name}"' in text for text in texts)]


def test_the_dashboard_refers_only_to_its_parameters() -> None:
    """CloudFormation fills in every name in braces."""
    text = (ROOT / "infra/dashboard.yaml").read_text()
    names = set(re.findall(r"\$\{(\w+)\}", text))
    assert set() == names - template("infra/dashboard.yaml")["Parameters"].keys()
