"""What the parameters of the template promise: each reaches what it is about, and wrong combinations are refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.templates import CHILDREN, functions, nodes, resources, statements, template

ROOT = template("template.yaml")
PARAMETERS = ROOT["Parameters"]
API = resources("infra/api.yaml", "AWS::Serverless::Api")["Api"]
OWN_KEY = {"Fn::If": ["HasKey", {"Ref": "KeyArn"}, {"Ref": "AWS::NoValue"}]}


def child(name: str) -> dict[str, Any]:
    return dict(resources("template.yaml", "AWS::CloudFormation::Stack")[name])


def references(value: Any) -> set[str]:
    """The names that a value refers to, by Ref, condition, GetAtt or inside a Sub."""
    found = {str(node["Ref"]) for node in nodes(value) if "Ref" in node}
    found |= {str(node["Fn::If"][0]) for node in nodes(value) if "Fn::If" in node}
    texts = [node["Fn::Sub"] for node in nodes(value) if isinstance(node.get("Fn::Sub"), str)]
    return found | {name for text in texts for name in re.findall(r"\$\{([A-Za-z]+)\}", text)}


def test_every_parameter_is_used_and_shown() -> None:
    """No parameter is asked for and then forgotten, and `sam deploy --guided` asks in groups."""
    rest = {name: value for name, value in ROOT.items() if name != "Parameters"}
    used = references(rest) | {str(name) for name in re.findall(r"'Ref': '([A-Za-z]+)'", str(ROOT["Conditions"]))}
    assert set() == set(PARAMETERS) - used
    groups = ROOT["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(PARAMETERS) == sorted(name for group in groups for name in group["Parameters"])


def test_every_parameter_says_what_it_is_and_has_a_default() -> None:
    """A stack can be made without answering anything."""
    lacking = [name for name, each in PARAMETERS.items() if not each.get("Description") or "Default" not in each]
    assert [] == lacking


def test_a_pattern_that_refuses_says_what_it_wants() -> None:
    """A value that does not fit is refused in words, not by a regular expression."""
    silent = [n for n, each in PARAMETERS.items() if "AllowedPattern" in each and "ConstraintDescription" not in each]
    assert [] == silent


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("WafRateLimit", ["0", "10", "2000"], ["5", "-1", "1", "010", "x"]),
        (
            "FirstDocument",
            ["", "s3://my-bucket/a/router.yaml"],
            ["router.yaml", "s3://b/x", "s3://my-bucket/*", "s3://"],
        ),
        ("AlertEmail", ["", "ops@example.com"], ["ops", "a@b@c", "a b@c.d"]),
        ("AlertUrl", ["", "https://example.com/x"], ["http://example.com", "https://a b"]),
        ("SecretPrefix", ["understudy", "team/llm"], ["", "/a", "a/", "a b", "*"]),
        (
            "KeyArn",
            ["", "arn:aws:kms:eu-west-1:111122223333:key/12ab"],
            ["alias/x", "arn:aws:kms:eu-west-1:111122223333:alias/x"],
        ),
        (
            "BedrockModelArns",
            [
                "",
                "arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.example.large-v1:0",
                "arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/ab12cd",
                "arn:aws:bedrock:*::foundation-model/example.large-v1:0",
                "arn:aws:bedrock:::foundation-model/example.*",
                "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/example.large-v1:0",
            ],
            [
                "*",
                "arn:aws:bedrock:*",
                "arn:aws:bedrock:*::foundation-model/*",
                "arn:aws:bedrock:*:*:inference-profile/eu.example.large-v1:0",
                "arn:aws:s3:::bucket/x",
                "eu.example.large-v1:0",
            ],
        ),
    ],
)
def test_what_a_pattern_takes(name: str, good: list[str], bad: list[str]) -> None:
    """Values that would fail late, or open more than they should, are refused before anything is created."""
    pattern = PARAMETERS[name]["AllowedPattern"]
    assert (good, []) == (
        [value for value in good if re.search(pattern, value)],
        [value for value in bad if re.search(pattern, value)],
    )


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, None),
        ({"SnapStart": "on"}, None),
        ({"ProvisionedConcurrency": "3"}, None),
        ({"SnapStart": "on", "ProvisionedConcurrency": "3"}, "SnapStart or provisioned concurrency"),
        ({"KeepData": "no"}, "DeletionProtection"),
        ({"KeepData": "no", "DeletionProtection": "false"}, None),
    ],
)
def test_what_cannot_go_together_is_refused(given: dict[str, str], refused: str | None) -> None:
    """The rules, evaluated as CloudFormation does, name what to change."""
    values = {name: str(each["Default"]) for name, each in PARAMETERS.items()} | given

    def holds(condition: Any) -> bool:
        left, right = (values[v["Ref"]] if isinstance(v, dict) else str(v) for v in condition["Fn::Equals"])
        return bool(left == right)

    broken = [
        assertion["AssertDescription"]
        for rule in ROOT["Rules"].values()
        if holds(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"])
    ]
    assert (refused is not None) == bool(broken)
    assert refused is None or refused in broken[0]


# streaming


def test_both_methods_stream_where_streaming_is_on() -> None:
    """The integration, its address and its limit change together, and only by the condition that SAM cannot turn into
    BUFFERED."""
    uri = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/%s/functions/${RouteRequest}/%s"
    expected = {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "timeoutInMillis": {"Fn::If": ["Streaming", 900000, 29000]},
        "responseTransferMode": {"Fn::If": ["Streaming", "STREAM", "BUFFERED"]},
        "uri": {
            "Fn::If": [
                "Streaming",
                {"Fn::Sub": uri % ("2021-11-15", "response-streaming-invocations")},
                {"Fn::Sub": uri % ("2015-03-31", "invocations")},
            ]
        },
    }
    methods = API["DefinitionBody"]["paths"]["/{proxy+}"]
    assert {"get", "post", "options"} == set(methods)
    assert [expected] * 3 == [method["x-amazon-apigateway-integration"] for method in methods.values()]


def test_the_stage_tells_the_function_how_to_answer() -> None:
    """Every version learns with each request what its API expects, also in the middle of a deployment."""
    assert {"stream": {"Ref": "StreamMode"}} == API["Variables"]
    assert {"Ref": "StreamMode"} == child("Api")["Parameters"]["StreamMode"]
    assert (
        "/var/task/exec_wrapper" == functions()["RouteRequest"]["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"]
    )


def test_the_function_lives_as_long_as_its_answers() -> None:
    """A stream may last as long as API Gateway lets it, a whole answer a little longer than API Gateway waits."""
    assert {"Fn::If": ["Streaming", 900, 30]} == functions()["RouteRequest"]["Timeout"]


def test_the_api_calls_the_alias_and_may() -> None:
    """Traffic goes to the version that the deployment chose, and API Gateway is allowed to call exactly that."""
    assert {"Ref": "RouteRequest.Alias"} == child("Api")["Parameters"]["RouteRequest"]
    permission = resources("infra/api.yaml", "AWS::Lambda::Permission")["Invoke"]
    assert ({"Ref": "RouteRequest"}, "apigateway.amazonaws.com") == (
        permission["FunctionName"],
        permission["Principal"],
    )


def test_the_access_log_tells_of_streaming() -> None:
    """Beside the usual fields, how the answer was transferred and when its first content came; it is valid JSON."""
    line = json.loads(API["AccessLogSetting"]["Format"])
    wanted = {
        "$context.integration." + name for name in ("responseTransferMode", "timeToAllHeaders", "timeToFirstContent")
    }
    assert set() == wanted - set(line.values())


# deployment


def test_a_changed_parameter_reaches_the_callers() -> None:
    """Every parameter that changes the data plane's function is named in the description of its version: CloudFormation
    replaces a version whose description changes, where SAM by itself publishes new code only."""
    router = {name: value for name, value in functions()["RouteRequest"].items() if name != "VersionDescription"}
    made_by = {"Streaming": "StreamMode", "Snapshots": "SnapStart", "HasKey": "KeyArn", "Storage": "KeepData"}
    shared = references(ROOT["Globals"]["Function"]) | references(router)
    # What moves the alias, or what a role may do, is no part of a version.
    beside = {
        "ProvisionedConcurrency",
        "Provisioned",
        "SafeDeployment",
        "DeploymentSteps",
        "SecretPrefix",
        "BedrockModelArns",
    }
    changing = {made_by.get(name, name) for name in shared} & set(PARAMETERS) | {"KeepData"}
    described = references(functions()["RouteRequest"]["VersionDescription"])
    assert changing - beside == described
    longest = len(functions()["RouteRequest"]["VersionDescription"]["Fn::Sub"]) + len(
        "arn:aws:kms:ap-southeast-1:111122223333:key/" + 36 * "x"
    )
    assert min(longest, 256) == longest


def test_a_new_version_takes_over_in_steps_and_goes_back_on_alarms() -> None:
    """By default a tenth of the traffic first; bugs and crashes of ours end the deployment."""
    preference = functions()["RouteRequest"]["DeploymentPreference"]
    alarms = [{"Fn::GetAtt": f"Observability.Outputs.{name}"} for name in ("RouterErrors", "RouteRequestErrors")]
    assert {"Enabled": {"Ref": "SafeDeployment"}, "Type": {"Ref": "DeploymentSteps"}, "Alarms": alarms} == preference
    assert ("true", "Canary10Percent5Minutes") == (
        PARAMETERS["SafeDeployment"]["Default"],
        PARAMETERS["DeploymentSteps"]["Default"],
    )


def test_snapshots_and_kept_environments_are_off_by_default() -> None:
    """Both cost while idle."""
    router = functions()["RouteRequest"]
    assert {"ApplyOn": {"Fn::If": ["Snapshots", "PublishedVersions", "None"]}} == router["SnapStart"]
    kept = {"ProvisionedConcurrentExecutions": {"Ref": "ProvisionedConcurrency"}}
    assert {"Fn::If": ["Provisioned", kept, {"Ref": "AWS::NoValue"}]} == router["ProvisionedConcurrencyConfig"]
    assert ("off", 0) == (PARAMETERS["SnapStart"]["Default"], PARAMETERS["ProvisionedConcurrency"]["Default"])


def test_every_function_is_built_for_the_processor_it_runs_on() -> None:
    """The makefile learns the processor from the folder it is taken from."""
    built = {name: each.get("Metadata") for name, each in ROOT["Resources"].items() if name in functions()}
    expected = {"BuildMethod": "makefile", "ContextPath": {"Fn::Sub": "infra/build/${Architecture}"}}
    assert dict.fromkeys(functions(), expected) == built
    assert [{"Ref": "Architecture"}] == ROOT["Globals"]["Function"]["Architectures"]


# the first control document


def test_the_first_document_is_read_and_written_with_no_more_than_that() -> None:
    """One object may be read, and only the control partition written; CloudFormation does not wait for ever."""
    manage = functions()["ManageRouter"]
    [s3] = [each for each in statements(manage) if each["Action"] == "s3:GetObject"]
    address = {"Fn::Select": [1, {"Fn::Split": ["s3://", {"Fn::Sub": "${FirstDocument}s3://"}]}]}
    assert {"Fn::Join": ["", [{"Fn::Sub": "arn:${AWS::Partition}:s3:::"}, address]]} == s3["Resource"]
    resource = ROOT["Resources"]["FirstDocumentInForce"]
    assert ("HasFirstDocument", "120") == (resource["Condition"], resource["Properties"]["ServiceTimeout"])
    assert int(resource["Properties"]["ServiceTimeout"]) > manage["Timeout"]


# the operator's own key


def test_the_own_key_encrypts_whatever_is_kept() -> None:
    """Topic, log groups and settings use it where it is given; table and queues have tests of their own."""
    assert OWN_KEY == resources("infra/alerts.yaml", "AWS::SNS::Topic")["Topic"]["KmsMasterKeyId"]
    groups = resources("infra/logs.yaml", "AWS::Logs::LogGroup").values()
    assert [OWN_KEY] * len(groups) == [group.get("KmsKeyId") for group in groups]
    assert OWN_KEY == ROOT["Globals"]["Function"]["KmsKeyArn"]
    asking = {name for name in CHILDREN if "KeyArn" in template(f"infra/{name}.yaml")["Parameters"]}
    given = {name for name in CHILDREN if child(name.capitalize())["Parameters"].get("KeyArn") == {"Ref": "KeyArn"}}
    assert {"storage", "logs", "audit", "queues", "alerts"} == asking == given


def test_every_room_may_use_the_own_key_and_no_other() -> None:
    """Without a key there is no statement about keys."""
    statement = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": {"Ref": "KeyArn"}}
    expected = {"Fn::If": ["HasKey", statement, {"Ref": "AWS::NoValue"}]}
    rights = {name: each["Policies"][0]["Statement"] for name, each in functions().items()}
    assert {name: [expected] for name in rights} == {
        name: [s for s in each if "kms" in str(s)] for name, each in rights.items()
    }


# Bedrock


def test_bedrock_may_be_called_only_where_models_are_named() -> None:
    """The two rooms that call models may invoke those and no others; by default there is no such right at all."""
    actions = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": {"Ref": "BedrockModelArns"}}
    expected = {"Fn::If": ["HasBedrock", statement, {"Ref": "AWS::NoValue"}]}
    rights = {name: each["Policies"][0]["Statement"] for name, each in functions().items()}
    assert {"RouteRequest": [expected], "ProbeTargets": [expected]} == {
        name: found for name, each in rights.items() if (found := [s for s in each if "bedrock" in str(s)])
    }
    named = {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "BedrockModelArns"}]}, ""]}]}
    assert (named, "") == (ROOT["Conditions"]["HasBedrock"], PARAMETERS["BedrockModelArns"]["Default"])


# the web ACL


def test_a_web_acl_is_made_only_when_asked_for() -> None:
    """Zero, the default, makes none; else it counts requests of one address and blocks what is above."""
    made = template("infra/api.yaml")["Resources"]
    assert {"WebAcl", "WebAclUse"} == {name for name, each in made.items() if each.get("Condition") == "HasWaf"}
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "WafRateLimit"}, "0"]}]} == template("infra/api.yaml")["Conditions"][
        "HasWaf"
    ]
    [rule] = made["WebAcl"]["Properties"]["Rules"]
    limit = {"RateBasedStatement": {"AggregateKeyType": "IP", "Limit": {"Ref": "WafRateLimit"}}}
    assert (limit, {"Block": {}}) == (rule["Statement"], rule["Action"])
    assert "0" == PARAMETERS["WafRateLimit"]["Default"]
