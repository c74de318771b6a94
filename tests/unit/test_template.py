"""What the templates promise: least privilege, nothing lost, nothing kept for ever, the keys and names of the code."""

from __future__ import annotations

import json
import re

import pytest

from tests.templates import (
    ROOT,
    TEMPLATES,
    as_list,
    events,
    filters,
    functions,
    nodes,
    resources,
    snake,
    statements,
    template,
)
from understudy.services.route_request import CORS
from understudy.store import keys

KNOWN_VARIABLES = {
    "UNDERSTUDY_TABLE",
    "UNDERSTUDY_ALERT_TOPIC_ARN",
    "UNDERSTUDY_EVENT_BUS",
    "UNDERSTUDY_PROBE_QUEUE_URL",
    "UNDERSTUDY_DUE_QUEUE_URL",
    "UNDERSTUDY_LOG_LEVEL",
    "AWS_LAMBDA_EXEC_WRAPPER",
}
DEAD_LETTERS = {"Fn::GetAtt": "Queues.Outputs.DeadLetterQueueArn"}


# permissions


def test_no_statement_has_a_wildcard_action() -> None:
    """Every IAM statement names its actions one by one, and says what is allowed rather than what is not."""
    found = [statement for path in TEMPLATES for statement in statements(template(path))]
    loose = [
        action
        for statement in found
        for action in as_list(statement.get("Action", "no Action"))
        if not re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action)
    ]
    assert [] == loose
    assert bool(found)


def test_no_function_may_touch_every_resource() -> None:
    """No statement of a function's role has the resource `*`."""
    wide = [
        (name, statement)
        for name, properties in functions().items()
        for statement in statements(properties["Policies"])
        if "*" in as_list(statement.get("Resource", "*"))
    ]
    assert [] == wide


def test_no_function_uses_a_ready_made_policy() -> None:
    """Every policy of a function is a list of statements: no SAM policy template, no managed policy."""
    ready_made = [
        (name, policy)
        for name, properties in functions().items()
        for policy in as_list(properties.get("Policies", "none"))
        if not isinstance(policy, dict) or {"Statement"} != set(policy)
    ]
    assert [] == ready_made


# functions


def test_every_function_has_the_room_of_its_name() -> None:
    """Function `SomeName` runs `some_name.handler.handler`, and that module exists under functions/."""
    handlers = {name: properties["Handler"] for name, properties in functions().items()}
    assert {name: f"{snake(name)}.handler.handler" for name in handlers} == handlers
    missing = [name for name in handlers if not (ROOT / "functions" / snake(name) / "handler.py").is_file()]
    assert [] == missing


def test_every_room_is_a_function() -> None:
    """Every folder under functions/ with a handler is deployed."""
    rooms = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert rooms == {snake(name) for name in functions()}


def test_every_function_logs_into_its_own_group() -> None:
    """Every function names the log group that the logs stack makes for it."""
    groups = {name: properties["LoggingConfig"]["LogGroup"] for name, properties in functions().items()}
    assert {name: {"Fn::GetAtt": f"Logs.Outputs.{name}"} for name in groups} == groups
    outputs = template("infra/logs.yaml")["Outputs"]
    assert {name: {"Value": {"Ref": name}} for name in groups} == {name: outputs.get(name) for name in groups}


def test_no_log_group_keeps_for_ever() -> None:
    """Every log group, a function's or the API's, has the retention that the operator chose."""
    retention = {
        name: group.get("RetentionInDays")
        for name, group in resources("infra/logs.yaml", "AWS::Logs::LogGroup").items()
    }
    assert {name: {"Ref": "RetentionDays"} for name in {*functions(), "Api"}} == retention
    logs = resources("template.yaml", "AWS::CloudFormation::Stack")["Logs"]
    assert {"Ref": "LogRetentionDays"} == logs["Parameters"]["RetentionDays"]


def test_every_environment_variable_is_known() -> None:
    """The templates set no variable that nothing reads."""
    variables = {
        name for node in nodes(template("template.yaml")) for name in node.get("Environment", {}).get("Variables", {})
    }
    unknown = {name for name in variables - KNOWN_VARIABLES if not name.startswith("POWERTOOLS_")}
    assert set() == unknown
    assert "UNDERSTUDY_TABLE" in variables


# events


def test_every_stream_source_keeps_what_it_could_not_handle() -> None:
    """A batch of the table stream that fails to the end goes to the dead letter queue."""
    kept = {name: event.get("DestinationConfig", {}).get("OnFailure") for name, event in events("DynamoDB").items()}
    to_queue = {"Type": "SQS", "Destination": DEAD_LETTERS}
    assert {"UpdateHealth.Table": to_queue, "PublishAlerts.Table": to_queue} == kept


def test_every_stream_source_gives_up_and_splits() -> None:
    """A bad record cannot block its shard: retries are bounded, batches split, and good records are not repeated."""
    bounds = {
        name: (
            0 < event.get("MaximumRetryAttempts", -1),
            event.get("BisectBatchOnFunctionError"),
            event.get("FunctionResponseTypes"),
        )
        for name, event in events("DynamoDB").items()
    }
    assert dict.fromkeys(bounds, (True, True, ["ReportBatchItemFailures"])) == bounds


def test_every_asynchronous_source_keeps_what_it_could_not_handle() -> None:
    """A tick that is not delivered, or whose function fails, goes to the dead letter queue."""
    ticks = events("ScheduleV2")
    undelivered = {name: event.get("DeadLetterConfig") for name, event in ticks.items()}
    assert {"ProbeTargets.Tick": {"Arn": DEAD_LETTERS}} == undelivered
    called = {name.partition(".")[0] for name in ticks}
    failed = {
        name: functions()[name].get("EventInvokeConfig", {}).get("DestinationConfig", {}).get("OnFailure")
        for name in called
    }
    assert {name: {"Type": "SQS", "Destination": DEAD_LETTERS} for name in called} == failed


def test_every_source_is_of_a_kind_that_is_checked() -> None:
    """A new kind of event needs a new test of where its failures go."""
    kinds = {e["Type"] for properties in functions().values() for e in properties.get("Events", {}).values()}
    assert {"DynamoDB", "ScheduleV2", "SQS"} == kinds


@pytest.mark.parametrize(("name", "event", "batch"), [("ProbeQueue", "Recovery", 1), ("DueQueue", "Sweep", 10)])
def test_a_queue_of_probes_keeps_what_it_could_not_handle(name: str, event: str, batch: int) -> None:
    """A probe that fails three times goes to the dead letter queue before its time is over, and fails alone; no
    recovery waits in one batch with anything else."""
    queue = resources("infra/queues.yaml", "AWS::SQS::Queue")[name]
    here = {"Fn::GetAtt": "DeadLetterQueue.Arn"}
    assert {"deadLetterTargetArn": here, "maxReceiveCount": 3} == queue.get("RedrivePolicy")
    assert 3 * queue["VisibilityTimeout"] + 60 < queue["MessageRetentionPeriod"]
    probes = events("SQS")[f"ProbeTargets.{event}"]
    assert {"Fn::GetAtt": f"Queues.Outputs.{name}Arn"} == probes["Queue"]
    assert (batch, ["ReportBatchItemFailures"]) == (probes["BatchSize"], probes.get("FunctionResponseTypes"))


def test_observations_are_folded_side_by_side() -> None:
    """Four observations a minute of each of 1,000 targets are more than one reader of a shard can fold."""
    assert 10 == events("DynamoDB")["UpdateHealth.Table"]["ParallelizationFactor"]


def test_every_function_that_fails_aside_may_write_to_the_dead_letter_queue() -> None:
    """Lambda sends failures with the function's own role, so the role must allow it."""
    sending = {name.partition(".")[0] for kind in ("DynamoDB", "ScheduleV2") for name in events(kind)}
    allowed = {
        name
        for name, properties in functions().items()
        for statement in statements(properties["Policies"])
        if "sqs:SendMessage" in as_list(statement["Action"]) and DEAD_LETTERS in as_list(statement["Resource"])
    }
    assert sending == allowed


def test_update_health_is_called_for_new_observations_and_changed_health() -> None:
    """The stream filters of update_health name the sort keys of the table design."""
    assert [
        {"eventName": ["INSERT"], "dynamodb": {"Keys": {"sk": {"S": [{"prefix": keys.OBSERVATION}]}}}},
        {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": {"sk": {"S": [keys.HEALTH]}}}},
    ] == filters("UpdateHealth.Table")
    assert ("observation#", "health") == (keys.OBSERVATION, keys.HEALTH)


def test_publish_alerts_is_called_for_new_and_changed_incidents() -> None:
    """The stream filter of publish_alerts names the partition of current incidents, and not that of past ones."""
    assert [
        {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": {"pk": {"S": [keys.INCIDENT]}}}},
    ] == filters("PublishAlerts.Table")
    assert "incident" == keys.INCIDENT


# API and table


def test_the_api_is_regional() -> None:
    """An edge endpoint, SAM's default, would cut a stream after 30 seconds of silence."""
    endpoints = {
        name: api.get("EndpointConfiguration")
        for name, api in resources("infra/api.yaml", "AWS::Serverless::Api").items()
    }
    assert {"Api": {"Type": "REGIONAL"}} == endpoints


def test_the_table_costs_nothing_idle_and_can_be_restored() -> None:
    """The table is on demand, with point-in-time recovery, expiry by `ttl` and both images in its stream."""
    table = resources("infra/storage.yaml", "AWS::DynamoDB::Table")["Table"]
    assert "PAY_PER_REQUEST" == table.get("BillingMode")
    assert {"PointInTimeRecoveryEnabled": True} == table.get("PointInTimeRecoverySpecification")
    own = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KeyArn"}}
    assert {"Fn::If": ["HasKey", own, {"SSEEnabled": True}]} == table.get("SSESpecification")
    assert {"AttributeName": "ttl", "Enabled": True} == table.get("TimeToLiveSpecification")
    assert {"StreamViewType": "NEW_AND_OLD_IMAGES"} == table.get("StreamSpecification")


def test_the_table_has_the_keys_of_the_table_design() -> None:
    """The table is keyed by the strings `pk` and `sk`."""
    table = resources("infra/storage.yaml", "AWS::DynamoDB::Table")["Table"]
    roles = {each["KeyType"]: each["AttributeName"] for each in table["KeySchema"]}
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    assert {"HASH": "pk", "RANGE": "sk"} == roles
    assert {"pk": "S", "sk": "S"} == types


def test_the_table_outlives_its_stack() -> None:
    """Neither deleting the stack nor replacing the table loses what is in it, except where a trial was asked for."""
    tables = template("infra/storage.yaml")["Resources"]
    policies = {name: (each.get("DeletionPolicy"), each.get("UpdateReplacePolicy")) for name, each in tables.items()}
    assert {"Table": ("Retain", "Retain"), "TrialTable": ("Delete", "Retain")} == policies
    assert tables["Table"]["Properties"] == tables["TrialTable"]["Properties"]
    assert ("Keeps", "KeepsNot") == tuple(each["Condition"] for each in tables.values())
    assert "yes" == template("template.yaml")["Parameters"]["KeepData"]["Default"]


def test_every_child_template_is_checked() -> None:
    """The templates that these tests and the linters read are all there are."""
    children = {stack["TemplateURL"] for stack in resources("template.yaml", "AWS::CloudFormation::Stack").values()}
    assert set(TEMPLATES[1:]) == children


def test_the_root_template_can_be_read_in_one_sitting() -> None:
    """Every template stays within 400 lines; what grows goes into a child."""
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in TEMPLATES}
    assert {path: min(count, 400) for path, count in lines.items()} == lines


# what a room may write, and what it is told


def test_resources_are_open_below_the_secret_prefix_only() -> None:
    """A resource ends in a wildcard only where the operator's own prefix bounds it."""
    arn = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s${SecretPrefix}/*"
    named = [statement.get("Resource") for path in TEMPLATES for statement in statements(template(path))]
    expected = {arn % ("secretsmanager", "secret:"), arn % ("ssm", "parameter/")}
    assert expected == set(re.findall(r'"([^"]*\*[^"]*)"', json.dumps(named)))


def test_a_room_writes_only_the_partitions_that_are_its_own() -> None:
    """Rights to change the table name the partitions of the table design: only manage_router can write
    the control document."""
    changes = {f"dynamodb:{verb}" for verb in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")}
    partitions = {
        name: [
            statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", "all")
            for statement in statements(properties["Policies"])
            if changes & set(as_list(statement["Action"]))
        ]
        for name, properties in functions().items()
    }
    charged = [keys.ledger_of("*"), keys.spent_of("*")]
    health = [[keys.target("*"), keys.INCIDENT, keys.HISTORY]]
    noted = [keys.keepsake("*", "*")[0], keys.answer("*", "*")[0]]
    put = [keys.target("*"), *(key.removesuffix("#*") for key in noted), keys.INCIDENT]
    routed, probed = [put, [*charged, keys.use("*")[0]]], [[keys.target("*"), keys.provider("*")], charged]
    expected = {"RouteRequest": routed, "ProbeTargets": probed, "UpdateHealth": health}
    expected["ManageRouter"] = [[keys.CONTROL]]
    assert {**expected, "PublishAlerts": [[keys.notice("*")[0]]]} == partitions


def test_the_data_plane_lists_nothing_but_what_was_spent() -> None:
    """It gets single items by their keys; whole partitions it reads only of the ledger."""
    queries = [one for one in statements(functions()["RouteRequest"]["Policies"]) if "dynamodb:Query" in one["Action"]]
    leading = [one["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for one in queries]
    assert [[keys.ledger_of("*"), keys.spent_of("*")]] == leading


def test_each_room_is_told_only_what_it_needs() -> None:
    """Beside the table, a room's environment names what that room writes to and nothing of the other rooms."""
    own = {name: sorted(each.get("Environment", {}).get("Variables", {})) for name, each in functions().items()}
    alerts = ["UNDERSTUDY_ALERT_TOPIC_ARN", "UNDERSTUDY_EVENT_BUS"]
    due, recovery = "UNDERSTUDY_DUE_QUEUE_URL", "UNDERSTUDY_PROBE_QUEUE_URL"
    queues = {"ProbeTargets": [due], "UpdateHealth": [due, recovery]}
    stream = ["AWS_LAMBDA_EXEC_WRAPPER"]
    assert {"RouteRequest": stream, "PublishAlerts": alerts, "ManageRouter": [], **queues} == own


# clocks, queues, answers


def test_a_stream_is_read_from_its_oldest_record() -> None:
    """Starting at the latest record may miss what is written while the mapping starts."""
    assert {"TRIM_HORIZON"} == {event["StartingPosition"] for event in events("DynamoDB").values()}


def test_the_tick_comes_every_minute() -> None:
    """The schedule is literal, because the local stack drives its clock by it."""
    tick = events("ScheduleV2")["ProbeTargets.Tick"]
    assert ("rate(1 minute)", '{"source":"understudy.tick"}') == (tick["ScheduleExpression"], tick["Input"])


def test_every_queue_is_encrypted_and_waits_for_its_function() -> None:
    """Queues encrypt, with the operator's key where there is one; a message comes again after six timeouts."""
    queues = resources("infra/queues.yaml", "AWS::SQS::Queue")
    no, key = {"Ref": "AWS::NoValue"}, {"Ref": "KeyArn"}
    assert [({"Fn::If": ["HasKey", no, True]}, {"Fn::If": ["HasKey", key, no]})] * len(queues) == [
        (queue.get("SqsManagedSseEnabled"), queue.get("KmsMasterKeyId")) for queue in queues.values()
    ]
    waits = {queues[name]["VisibilityTimeout"] for name in ("ProbeQueue", "DueQueue")}
    assert {6 * functions()["ProbeTargets"]["Timeout"]} == waits


def test_who_may_send_to_which_queue() -> None:
    """Sweeps are started by probe_targets, recoveries and runs that confirm an alarm by update_health."""
    sending = {
        name: [as_list(each["Resource"]) for each in statements(properties["Policies"]) if "SendMessage" in str(each)]
        for name, properties in functions().items()
    }
    due, probe = ({"Fn::GetAtt": f"Queues.Outputs.{name}Arn"} for name in ("DueQueue", "ProbeQueue"))
    own = {"RouteRequest": [], "ManageRouter": [], "PublishAlerts": [[DEAD_LETTERS]]}
    assert {"ProbeTargets": [[due, DEAD_LETTERS]], "UpdateHealth": [[probe, due, DEAD_LETTERS]], **own} == sending


def test_gateway_errors_have_the_shape_and_the_status_that_clients_expect() -> None:
    """An error that API Gateway makes itself is an OpenAI object; an unknown path is 404 and not its 403."""
    answers = resources("infra/api.yaml", "AWS::Serverless::Api")["Api"]["GatewayResponses"]
    for answer in answers.values():
        text = answer["ResponseTemplates"]["application/json"].replace("$context.error.messageString", '"Forbidden"')
        error = json.loads(text)["error"]
        assert ["message", "type", "param", "code"] == list(error)
        assert (None, True) == (error["param"], isinstance(error["code"], str))
    statuses = {kind: answer.get("StatusCode") for kind, answer in answers.items()}
    codes = {
        "REQUEST_TOO_LARGE": "413",
        "THROTTLED": "429",
        "WAF_FILTERED": "429",
        "INTEGRATION_FAILURE": "502",
        "INTEGRATION_TIMEOUT": "504",
    }
    assert {"DEFAULT_4XX": None, "DEFAULT_5XX": None, "MISSING_AUTHENTICATION_TOKEN": "404", **codes} == statuses


def test_pages_of_any_origin_can_read_gateway_errors() -> None:
    """Every error that API Gateway makes itself has the headers that a browser wants, as the function's own have."""
    answers = resources("infra/api.yaml", "AWS::Serverless::Api")["Api"]["GatewayResponses"]
    wanted = {name: f"'{value}'" for name, value in CORS.items()}
    headers = {kind: answer.get("ResponseParameters", {}).get("Headers", {}) for kind, answer in answers.items()}
    assert dict.fromkeys(headers, wanted) == {
        kind: {name: value for name, value in given.items() if name != "retry-after"} for kind, given in headers.items()
    }
    assert {"THROTTLED", "WAF_FILTERED"} == {kind for kind, given in headers.items() if "retry-after" in given}


def test_alerts_travel_by_tls_to_those_who_asked() -> None:
    """The topic refuses plain HTTP from anybody, and a subscription exists only where its parameter is given."""
    policy = resources("infra/alerts.yaml", "AWS::SNS::TopicPolicy")["TopicAccess"]["PolicyDocument"]["Statement"]
    denied = [(each["Principal"], each["Action"], each["Condition"]) for each in policy if each["Effect"] == "Deny"]
    assert [("*", "sns:Publish", {"Bool": {"aws:SecureTransport": "false"}})] == denied
    every = template("infra/alerts.yaml")["Resources"]
    conditions = {name: each.get("Condition") for name, each in every.items() if each["Type"].endswith("Subscription")}
    assert {"Email": "HasEmail", "Url": "HasUrl"} == conditions


def test_lambda_installs_what_the_tests_ran_with() -> None:
    """Every runtime dependency is pinned by hash, at the version of the lock."""
    locked = set(re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    text = (ROOT / "functions/requirements.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+==[\w.]+)(?: \\\n +--hash=sha256:[0-9a-f]{64})+$", text, re.MULTILINE))
    assert len(re.findall(r"^[^\s#]", text, re.MULTILINE)) == len(pinned)
    assert set() == pinned - locked
