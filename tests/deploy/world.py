"""What the checks drive: the deployed router, as its callers and its operator see it, and who hears its alerts."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.deploy.emulator import CREDENTIALS, REGION, Emulator
from tests.deploy.providers import MESSAGES, Providers
from tests.deploy.report import Failed
from tests.deploy.stack import ROOT, Stack


class Inbox:
    """A queue of the test's own, and every message that has ever come to it."""

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self.url = sqs.create_queue(QueueName=name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:{REGION}:000000000000:{name}"
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": self.arn}],
        }
        sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        self._bodies: list[dict[str, Any]] = []

    def bodies(self) -> list[dict[str, Any]]:
        while messages := self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for one in messages:
                self._bodies.append(json.loads(one["Body"]))
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=one["ReceiptHandle"])
        return self._bodies

    def close(self) -> None:
        self._sqs.delete_queue(QueueUrl=self.url)


class World:
    """Built once the stack is up."""

    def __init__(self, stack: Stack, providers: Providers, emulator: Emulator, work: Path) -> None:
        self.stack = stack
        self.providers = providers
        self._work = work
        self._endpoint = emulator.endpoint
        self.outputs = stack.outputs()
        self.table = self.outputs["TableName"]
        self.deployed_at = time.time()
        self._cli_env = {
            **CREDENTIALS,
            "PATH": os.defpath,
            "HOME": str(work),
            "PYTHONPATH": f"{ROOT / 'functions'}{os.pathsep}{ROOT}",
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_CA_BUNDLE": str(emulator.ca),
        }
        context = ssl.create_default_context(cafile=str(emulator.ca))
        self._http = httpx.Client(verify=context, trust_env=False, timeout=30)
        self.key = ""
        self.api = ""

    def open(self) -> None:
        """From now on the test hears what is told."""
        sqs, sns, events = (self.stack.client(name) for name in ("sqs", "sns", "events"))
        self.mail = Inbox(sqs, "deploy-check-alerts")
        self.bus = Inbox(sqs, "deploy-check-events")
        topic, bus = self.outputs["AlertTopicArn"], self.outputs["EventBusName"]
        self._subscription = sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=self.mail.arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        self._rule = {"Name": "deploy-check", "EventBusName": bus}
        events.put_rule(**self._rule, EventPattern=json.dumps({"source": ["understudy"]}))
        targets = [{"Id": "deploy-check", "Arn": self.bus.arn}]
        events.put_targets(Rule=self._rule["Name"], EventBusName=bus, Targets=targets)

    def close(self) -> None:
        """Take away from the account what the test put there."""
        events = self.stack.client("events")
        events.remove_targets(Rule=self._rule["Name"], EventBusName=self._rule["EventBusName"], Ids=["deploy-check"])
        events.delete_rule(**self._rule)
        self.stack.client("sns").unsubscribe(SubscriptionArn=self._subscription)
        self.mail.close()
        self.bus.close()
        self._http.close()

    # ── The router as its callers see it ────────────────────────────────────────────────────────────────────
    def client(self, key: str | None = None) -> openai.OpenAI:
        """A client of the API's present address, which the emulator changes with each change of the API."""
        if not self.api:
            self.look_up()
        stage = self.outputs["ApiUrl"].rstrip("/").rpartition("/")[2]
        return openai.OpenAI(
            base_url=f"{self._endpoint}/_aws/execute-api/{self.api}/{stage}",
            api_key=key or self.key,
            max_retries=0,
            http_client=self._http,
        )

    def look_up(self) -> str:
        """Find the API anew; returns its id, empty while there is none."""
        found = [one["id"] for one in self.stack.client("apigateway").get_rest_apis()["items"]]
        self.api = found[0] if len(found) == 1 else ""
        return self.api

    def ask(self, model: str = "chat", key: str | None = None) -> str:
        done = self.client(key).chat.completions.create(model=model, messages=MESSAGES)
        return done.choices[0].message.content or ""

    def models(self) -> set[str]:
        return {one.id for one in self.client().models.list()}

    # ── The router as its operator sees it ──────────────────────────────────────────────────────────────────
    def cli(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "understudy.cli", *arguments, "--table", self.table]
        done = subprocess.run(command, env=self._cli_env, cwd=self._work, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"understudy {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def publish(self, document: str) -> str:
        path = self._work / "router.yaml"
        path.write_text(document)
        return self.cli("publish", str(path))

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.cli("status", "--json")))

    def breaker(self, target: str) -> str:
        health = self.status()["targets"][target]
        return str(health["breaker"]["state"]) if health else "closed"

    def rows(self, pk: str, sk: str = "") -> list[dict[str, Any]]:
        """The bodies below a key of the table, oldest first."""
        values = {":pk": {"S": pk}, ":sk": {"S": sk}}
        condition = "pk = :pk AND begins_with(sk, :sk)" if sk else "pk = :pk"
        if not sk:
            del values[":sk"]
        found = self.stack.client("dynamodb").query(
            TableName=self.table, KeyConditionExpression=condition, ExpressionAttributeValues=values
        )
        return [json.loads(one["body"]["S"]) for one in found["Items"]]

    def incident(self, target: str, kind: str) -> str:
        """`open`, `resolved` or empty."""
        found = [one for one in self.rows("incident") if (one["subject"], one["kind"]) == (target, kind)]
        return str(found[0]["status"]) if found else ""
