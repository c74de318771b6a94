"""The real template by way of the SAM CLI: build, deploy, change, delete; and what an account holds.

What differs from a deployment into AWS, and why:
- The packaged template names the children by https://s3..., as it does on AWS: `sam delete` refuses the emulator's
  address.
- The emulator's certificate is added to those that the built functions trust.
- The children's SAM resources are expanded here (translate.py): the emulator does so for the root only.
- The parameters that are passed are also written into the packaged template as their defaults: the emulator lets SAM
  see the defaults only.
- A role that may send to a queue may send batches as well: the emulator makes an action of its own of that, where on
  AWS the one covers the other (Amazon SQS developer guide, "Amazon SQS API permissions").
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from tests.deploy.emulator import CREDENTIALS, REGION, Emulator
from tests.deploy.report import Failed
from tests.templates import ROOT, nodes, template

CONFIG = ROOT / "infra/samconfig.toml"
TRANSLATE = Path(__file__).with_name("translate.py")
NAME = "understudy"
# Passed where the template declares them.
PARAMETERS = {
    "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",  # this machine runs them
    "ApiLogRole": "existing",  # the one that is created outlives the stack
    "DeletionProtection": "false",
    "KeepData": "no",
    "StreamMode": "off",  # the emulator's API Gateway cannot stream
    "SafeDeployment": "false",  # it has no CodeDeploy
}
# SAM's own bucket, which it makes once for an account and keeps.
SAMS_OWN = "aws-sam-cli-managed-default"


class Stack:
    """`user_env` is the environment of whoever runs this: pip may need it to build."""

    def __init__(self, sam: Path, python: Path, emulator: Emulator, work: Path, user_env: Mapping[str, str]) -> None:
        self._sam = str(sam)
        self._translator = str(emulator.command.with_name("python"))
        self._emulator = emulator
        self._work = work
        path = f"{python.parent}:{user_env.get('PATH', os.defpath)}"
        quiet = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "1", "__SAM_CLI_APP_DIR": str(work / "sam-settings")}
        self._build_env = {**user_env, **quiet, **CREDENTIALS, "PATH": path}
        # Nothing of the user's own AWS settings: these commands may meet nobody but the emulator.
        self._deploy_env = {
            **quiet,
            **CREDENTIALS,
            "PATH": path,
            "HOME": str(work),
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_CA_BUNDLE": str(emulator.ca),
        }
        self._packaged = work / "packaged.yaml"
        self.declared = set(template("template.yaml")["Parameters"])
        self.parameters: dict[str, str] = {}
        self._clients: dict[str, Any] = {}
        self._session = boto3.session.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )

    def build(self, given: Mapping[str, str]) -> str:
        """`given` are parameters beside PARAMETERS; Failed where the template does not declare one of them."""
        if unknown := given.keys() - self.declared:
            raise Failed(f"template.yaml declares no parameter {', '.join(sorted(unknown))}")
        self.parameters = {name: value for name, value in PARAMETERS.items() if name in self.declared} | dict(given)
        options = ["--config-file", str(CONFIG), "--no-cached", "--build-dir", str(self._work / "build")]
        self._run("build", [*options, *self._overrides()], self._build_env)
        for trusted in (self._work / "build").glob("*/certifi/cacert.pem"):
            with trusted.open("ab") as file:
                file.write(b"\n" + self._emulator.ca.read_bytes())
        return " ".join(self._pairs())

    def package(self) -> None:
        for child in (self._work / "build").glob("*/template.yaml"):
            _command([self._translator, str(TRANSLATE), str(child), REGION], self._build_env)
        built = str(self._work / "build/template.yaml")
        options = ["--template-file", built, "--resolve-s3", "--region", REGION]
        self._run("package", [*options, "--output-template-file", str(self._packaged)], self._deploy_env)
        text = self._packaged.read_text().replace(self._emulator.endpoint, f"https://s3.{REGION}.amazonaws.com")
        self._packaged.write_text(text)

    def deploy(self, **changed: str) -> str:
        """Create or update the stack; Failed with its events when it does not come up.

        The stack keeps `changed` parameters; those of a deployment that failed are forgotten.
        """
        before = self.parameters
        self.parameters = before | changed
        document = yaml.safe_load(self._packaged.read_text())
        for name, value in self.parameters.items():
            document["Parameters"][name]["Default"] = value
        for node in nodes(document):
            if node.get("Action") == "sqs:SendMessage" and "Principal" not in node:
                node["Action"] = ["sqs:SendMessage", "sqs:SendMessageBatch"]
        self._packaged.write_text(yaml.safe_dump(document, sort_keys=False, width=1000))
        options = ["--config-file", str(CONFIG), "--template-file", str(self._packaged), "--region", REGION]
        options += ["--stack-name", NAME, "--no-confirm-changeset", "--no-progressbar", *self._overrides()]
        try:
            self._run("deploy", options, self._deploy_env)
        except Failed as error:
            self.parameters = before
            log = f"emulator's log:\n{self._emulator.tail()}"
            raise Failed(f"{error}\n{self._events()}\n{log}") from error
        return f"{len(self.resources())} resources"

    def delete(self) -> None:
        self._run("delete", ["--stack-name", NAME, "--no-prompts", "--region", REGION], self._deploy_env)

    def outputs(self) -> dict[str, str]:
        found = self.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0].get("Outputs", ())
        return {one["OutputKey"]: one["OutputValue"] for one in found}

    def discard(self) -> None:
        """Delete a stack that did not come up, without what `sam delete` does to the uploaded code."""
        cloudformation = self.client("cloudformation")
        cloudformation.delete_stack(StackName=NAME)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=NAME, WaiterConfig={"Delay": 1})

    def state(self) -> str:
        """CloudFormation's word for it, empty where there is no stack."""
        stacks = self.client("cloudformation").describe_stacks()["Stacks"]
        return next((str(one["StackStatus"]) for one in stacks if one["StackName"] == NAME), "")

    def resources(self) -> list[tuple[str, str]]:
        """Logical and physical id of every resource, those of the children as well."""
        cloudformation, found, waiting = self.client("cloudformation"), [], [NAME]
        while waiting:
            for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=waiting.pop()):
                for one in page["StackResourceSummaries"]:
                    found.append((one["LogicalResourceId"], one.get("PhysicalResourceId", "")))
                    if one["ResourceType"] == "AWS::CloudFormation::Stack":
                        waiting.append(one["PhysicalResourceId"])
        return found

    def client(self, service: str) -> Any:
        """A client of the emulator and of nothing else, whatever this process has in its environment."""
        if service not in self._clients:
            config = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 2}, proxies={})
            where = {"endpoint_url": self._emulator.endpoint, "verify": str(self._emulator.ca)}
            self._clients[service] = self._session.client(service, config=config, **where)
        return self._clients[service]

    def _events(self) -> str:
        """What CloudFormation says of every resource that failed, newest first."""
        cloudformation = self.client("cloudformation")
        lines = ["failed stack events:"]
        for stack in cloudformation.describe_stacks()["Stacks"]:
            if stack["StackName"].startswith(NAME):
                events = cloudformation.describe_stack_events(StackName=stack["StackName"])["StackEvents"]
                lines += [_event(one) for one in events if "FAILED" in one["ResourceStatus"]]
        return "\n".join(lines if len(lines) > 1 else [*lines, "none"])

    def _pairs(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.parameters.items()]

    def _overrides(self) -> list[str]:
        return ["--parameter-overrides", *self._pairs()] if self.parameters else []

    def _run(self, command: str, options: list[str], env: Mapping[str, str]) -> None:
        _command([self._sam, command, *options], env)

    def nothing_beside(self, before: Mapping[str, list[str]]) -> str:
        """Raises Failed where the account holds more than `before`, an inventory."""
        left = {kind: sorted(set(names) - set(before[kind])) for kind, names in self.inventory().items()}
        if any(left.values()):
            raise Failed("; ".join(f"{kind}: {', '.join(names)}" for kind, names in left.items() if names))
        return f"of {len(left)} kinds of resources"

    def inventory(self) -> dict[str, list[str]]:
        """What the account holds, by kind, without SAM's own bucket and stack."""
        found = {kind: _names(self.client(service), ask, read) for kind, (service, ask, read) in KINDS.items()}
        return {kind: [name for name in names if not name.startswith(SAMS_OWN)] for kind, names in found.items()}


def _command(command: list[str], env: Mapping[str, str]) -> None:
    # stdin is closed: a question that nobody expected must fail, not wait.
    done = subprocess.run(
        command,
        env=dict(env),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command[:2])} ended with code {done.returncode}:\n{_last(done.stdout)}")


def _names(client: Any, ask: str, read: Callable[[Any], list[str]]) -> list[str]:
    if client.can_paginate(ask):
        return sorted(name for page in client.get_paginator(ask).paginate() for name in read(page))
    return sorted(read(getattr(client, ask)()))


def _reader(key: str, name: str) -> Callable[[Any], list[str]]:
    """`key` holds the page's entries; `name` is the field of an entry, or empty where an entry is a name."""
    return lambda page: [one[name] if name else one for one in page.get(key, ())]


KINDS = {
    "stacks": ("cloudformation", "describe_stacks", _reader("Stacks", "StackName")),
    "tables": ("dynamodb", "list_tables", _reader("TableNames", "")),
    "functions": ("lambda", "list_functions", _reader("Functions", "FunctionName")),
    "event sources": ("lambda", "list_event_source_mappings", _reader("EventSourceMappings", "UUID")),
    "queues": ("sqs", "list_queues", _reader("QueueUrls", "")),
    "topics": ("sns", "list_topics", _reader("Topics", "TopicArn")),
    "subscriptions": ("sns", "list_subscriptions", _reader("Subscriptions", "SubscriptionArn")),
    "event buses": ("events", "list_event_buses", _reader("EventBuses", "Name")),
    "schedules": ("scheduler", "list_schedules", _reader("Schedules", "Name")),
    "log groups": ("logs", "describe_log_groups", _reader("logGroups", "logGroupName")),
    "roles": ("iam", "list_roles", _reader("Roles", "RoleName")),
    "APIs": ("apigateway", "get_rest_apis", _reader("items", "id")),
    "alarms": ("cloudwatch", "describe_alarms", _reader("MetricAlarms", "AlarmName")),
    "dashboards": ("cloudwatch", "list_dashboards", _reader("DashboardEntries", "DashboardName")),
    "buckets": ("s3", "list_buckets", _reader("Buckets", "Name")),
    "secrets": ("secretsmanager", "list_secrets", _reader("SecretList", "Name")),
    "keys": ("kms", "list_keys", _reader("Keys", "KeyId")),
}


def _event(event: Mapping[str, Any]) -> str:
    reason = event.get("ResourceStatusReason", "no reason given")
    return f"  {event['StackName']} {event['LogicalResourceId']} {event['ResourceStatus']}: {reason}"


def _last(text: str, lines: int = 40) -> str:
    return "\n".join(text.splitlines()[-lines:])
