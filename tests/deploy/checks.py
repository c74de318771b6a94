"""What a deployed router must do, each as one check.  Functions return what they measured, or raise."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import openai

from tests.deploy.providers import LATE_SECRET, LEAD, MESSAGES, STAND_IN
from tests.deploy.report import Failed, Report, expect, wait
from tests.deploy.world import World

TICK = 75.0
"""Seconds in which a schedule of one minute must have fired, and its observation be folded."""


def run_all(world: World, report: Report, log: Callable[[], str]) -> None:
    """Every check in order; what takes its time by itself (the schedule) is looked at when the rest is done."""
    report.check("a control document is published and a key created", lambda: published(world), vital=True)
    report.check("an answer through the API", lambda: answered(world), vital=True)
    checks: list[tuple[str, Callable[[World], str | None]]] = [
        ("a streamed answer, every event of it", streamed),
        ("an unknown key is openai.AuthenticationError", unknown_key),
        ("an unknown model is openai.NotFoundError", unknown_model),
        ("a changed document is in force within 5 s, without a deployment", changed_document),
        ("a missing secret makes the target unusable, not the router", missing_secret),
        ("the table stream turns observations into health", health_is_written),
        ("the lead broken: the understudy answers, no caller sees it", lead_broken),
        ("the breaker is open", breaker_open),
        ("the incident is stored", incident_stored),
        ("the alert reaches a subscribed queue", alert_arrives),
        ("the event reaches a rule on the bus", event_arrives),
        ("healed: probes over the queue bring the lead back", lead_back),
        ("the incident is resolved and told", incident_resolved),
        ("the secret appears: the target is used, without a deployment", secret_appears),
        ("the schedule probes a target that nobody asks", schedule_fired),
        ("a second deployment while requests flow", second_deployment),
        ("a message that fails lands in the dead letter queue", poison_message),
        ("a tick that fails lands in the dead letter queue", failed_tick),
    ]
    for name, check in checks:
        report.check(name, lambda check=check: check(world))  # type: ignore[misc]
    report.check("no function was denied anything", lambda: nothing_denied(log()))
    report.check("no log holds a key or a prompt", lambda: nothing_told(world, log()))


def published(world: World) -> str:
    if "FirstDocument" in world.stack.parameters:
        expect({"understudy", "lead"}, set(world.status()["targets"]), "the targets of the deployment's own document")
    printed = world.publish(world.providers.document())
    world.key = world.cli("keys", "create", "deploy-check").split()[0]
    version = world.status()["document_version"]
    if f"Version {version} is in force" not in printed:
        raise Failed(f"the status says version {version}, publish said: {printed.splitlines()[0]}")
    return f"version {version}"


def answered(world: World) -> str:
    began = time.monotonic()
    expect(LEAD, world.ask(), "the first answer")
    cold = time.monotonic() - began
    began = time.monotonic()
    expect([LEAD] * 5, [world.ask() for _ in range(5)], "five more")
    return f"cold {cold * 1000:.0f} ms, warm {(time.monotonic() - began) * 200:.0f} ms (the emulator's poll: 50 ms)"


def streamed(world: World) -> str:
    chunks = list(world.client().chat.completions.create(model="chat", messages=MESSAGES, stream=True))
    choices = [one.choices[0] for one in chunks if one.choices]
    expect(LEAD, "".join(one.delta.content or "" for one in choices), "the text")
    expect(["stop"], [one.finish_reason for one in choices if one.finish_reason], "the stop reason")
    if len(choices) < 3:
        raise Failed(f"only {len(choices)} chunks: this was no stream")
    return f"{len(chunks)} chunks"


def unknown_key(world: World) -> None:
    _raises(openai.AuthenticationError, lambda: world.ask(key="us-nobody"))


def unknown_model(world: World) -> None:
    _raises(openai.NotFoundError, lambda: world.ask("no-such-route"))


def changed_document(world: World) -> str:
    expect({"chat", "quiet"}, world.models(), "the models before")
    world.publish(world.providers.document(late=True))
    took = wait("the new route", lambda: "late" in world.models(), 5)
    return f"after {took:.1f} s"


def missing_secret(world: World) -> str:
    expect([STAND_IN] * 3, [world.ask("late") for _ in range(3)], "the answers of a route whose first has no secret")
    took = wait("the incident late/credential", lambda: world.incident("late", "credential") == "open", 20)
    _told(world, "[critical] late refuses our credential")
    summary = next(one["summary"] for one in world.rows("incident") if one["subject"] == "late")
    if LATE_SECRET not in summary:
        raise Failed(f"the incident does not name the secret: {summary}")
    return f"incident after {took:.1f} s"


def health_is_written(world: World) -> str:
    def folded() -> bool:
        return any(row["last_ok_at"] > 0 for row in world.rows("target#lead", "health"))

    wait("a health item with a good answer", folded, 20)
    observations = world.rows("target#lead", "observation#")
    return f"{len(observations)} observations of the lead"


def lead_broken(world: World) -> str:
    world.providers.lead.set_fault("simulated-gpt", "http_500")
    expect([STAND_IN] * 8, [world.ask() for _ in range(8)], "the answers while the lead is broken")
    return "8 of 8 answers"


def breaker_open(world: World) -> str:
    took = wait("the breaker's opening", lambda: world.breaker("lead") == "open", 15)
    return f"after {took:.1f} s"


def incident_stored(world: World) -> str:
    took = wait("the incident lead/outage", lambda: world.incident("lead", "outage") == "open", 15)
    return f"after {took:.1f} s"


def alert_arrives(world: World) -> str:
    return _told(world, "[critical] lead is down")


def event_arrives(world: World) -> str:
    def arrived() -> bool:
        return any(
            one.get("detail-type") == "incident open" and one["detail"]["subject"] == "lead"
            for one in world.bus.bodies()
        )

    return f"after {wait('the event', arrived, 20):.1f} s"


def lead_back(world: World) -> str:
    before = _probes(world, "lead")
    world.providers.lead.set_fault("simulated-gpt", None)
    # Closed alone is not enough: until the ramp is over the understudy answers as well.
    took = wait("the lead's answers", lambda: world.breaker("lead") == "closed" and world.ask() == LEAD, 60)
    probes = _probes(world, "lead") - before
    if not probes:
        raise Failed("the lead came back, but no probe was written")
    return f"after {took:.1f} s, {probes} probe observations"


def incident_resolved(world: World) -> str:
    took = wait("the resolution", lambda: world.incident("lead", "outage") == "resolved", 30)
    _told(world, "[resolved] lead is back")
    expect(1, len(world.rows("incident_history")), "incidents in the history")
    return f"after {took:.1f} s"


def secret_appears(world: World) -> str:
    world.providers.store_late_key(world.stack.client("secretsmanager"))
    took = wait("the answer of the target", lambda: world.ask("late") == LEAD, 60)
    wait("the resolution of late/credential", lambda: world.incident("late", "credential") == "resolved", 60)
    _told(world, "[resolved] late is back")
    return f"after {took:.1f} s"


def schedule_fired(world: World) -> str:
    left = max(1.0, TICK - (time.time() - world.deployed_at))
    wait("a probe of the target idle", lambda: _probes(world, "idle") > 0, left)
    wait("the health of the target idle", lambda: bool(world.rows("target#idle", "health")), 10)
    first = min(one["at"] for one in world.rows("target#idle", "observation#"))
    return f"{first - world.deployed_at:.0f} s after the deployment"


def second_deployment(world: World) -> str:
    """LogLevel changes every function.  What serves must have it, and no caller may notice."""
    with Callers(world, 2) as callers:
        wait("the first answers", lambda: callers.outcomes["ok"] > 4, 20)
        began = time.monotonic()
        world.stack.deploy(LogLevel="DEBUG")
        took = time.monotonic() - began
        after = callers.outcomes["ok"]
        wait("answers after the deployment", lambda: callers.outcomes["ok"] > after + 4, 30)
    if callers.errors:
        raise Failed(f"{len(callers.errors)} requests failed, the first: {callers.errors[0]}")
    serving = _serving(world)
    level = world.stack.client("lambda").get_function_configuration(FunctionName=serving)["LoggingConfig"]
    expect("DEBUG", level.get("ApplicationLogLevel"), f"the log level of {serving.rpartition('function:')[2]}")
    moved = callers.outcomes["moved"]
    note = f", {moved} asked again since the emulator moved the API" if moved else ""
    return f"{took:.1f} s, {callers.outcomes['ok']} answers{note}"


def poison_message(world: World) -> str:
    """The queue's own wait between deliveries is 18 minutes; it is shortened for this one message."""
    sqs, queue = world.stack.client("sqs"), world.outputs["ProbeQueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    return _dead_letter(world, lambda body: body == "poison")


def failed_tick(world: World) -> str:
    """What the schedule calls, called with an event it cannot take; a failed tick is not tried again."""
    scheduler = world.stack.client("scheduler")
    found = [scheduler.get_schedule(Name=one["Name"]) for one in scheduler.list_schedules()["Schedules"]]
    expect(1, len(found), "schedules")
    target = found[0]["Target"]["Arn"]
    poison = json.dumps({"Records": 0})
    world.stack.client("lambda").invoke(FunctionName=target, InvocationType="Event", Payload=poison.encode())
    return _dead_letter(world, lambda body: poison in json.dumps(json.loads(body).get("requestPayload")))


def nothing_denied(log: str) -> str:
    words = ("AccessDenied", "not authorized to perform", "AuthorizationError")
    found = [line for line in log.splitlines() if any(word in line for word in words)]
    if found:
        raise Failed(f"{len(found)} lines of denied calls, the first: {found[0][:1000]}")
    return f"{len(log.splitlines())} lines of log"


def nothing_told(world: World, log: str) -> str:
    """Of the emulator's log, which has what functions print, and of the log groups."""
    logs, texts = world.stack.client("logs"), [log]
    for group in world.stack.inventory()["log groups"]:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        texts += [event["message"] for page in pages for event in page["events"]]
    found = [
        value[:6] for value in [*world.providers.confidential(), world.key] if any(value in text for text in texts)
    ]
    if found:
        raise Failed(f"the logs hold what begins with {', '.join(found)}")
    if len(texts) < 10:
        raise Failed(f"the log groups hold only {len(texts) - 1} events, so nothing was checked")
    return f"{len(texts) - 1} events in the log groups"


class Callers:
    """Threads that ask without a pause; `outcomes` counts `ok`, `moved` (see below), `errors` holds the rest.

    The emulator gives a changed API another address, which AWS does not: a request that finds nothing at the old one is
    asked again at the new one, and counted as moved.
    """

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]
        self.outcomes: Counter[str] = Counter()
        self.errors: list[str] = []

    def __enter__(self) -> Callers:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        for one in self._threads:
            one.join(timeout=40)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._ask()
            except Exception as error:  # noqa: BLE001 - whatever a caller meets is counted
                self.errors.append(f"{type(error).__name__}: {error}")

    def _ask(self) -> None:
        before = self._world.api
        try:
            expect(LEAD, self._world.ask(), "an answer")
        except openai.OpenAIError:
            wait("another API", lambda: self._world.look_up() not in ("", before), 2)
            self.outcomes["moved"] += 1
            return
        self.outcomes["ok"] += 1


def _raises(kind: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise Failed(f"no {kind.__name__} was raised")


def _told(world: World, subject: str) -> str:
    """The message reaches the subscribed queue, once."""

    def subjects() -> list[str]:
        return [str(one.get("Subject")) for one in world.mail.bodies()]

    took = wait(f"the message {subject!r}", lambda: subject in subjects(), 20)
    expect(1, subjects().count(subject), f"times that {subject!r} was told")
    return f"after {took:.1f} s"


def _probes(world: World, target: str) -> int:
    return sum(one["source"] == "probe" for one in world.rows(f"target#{target}", "observation#"))


def _dead_letter(world: World, wanted: Callable[[str], bool]) -> str:
    sqs, queue = world.stack.client("sqs"), world.outputs["DeadLetterQueueUrl"]
    seen: list[str] = []

    def arrived() -> bool:
        for one in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            seen.append(one["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        return any(wanted(body) for body in seen)

    took = wait("its arrival in the dead letter queue", arrived, 60)
    expect(1, len(seen), f"dead letters ({json.dumps(seen)[:300]})")
    return f"after {took:.1f} s"


def _serving(world: World) -> str:
    """The ARN of the function, or of its version or alias, that the API calls for a chat completion."""
    api = world.stack.client("apigateway")
    found = set()
    for resource in api.get_resources(restApiId=world.look_up(), limit=500)["items"]:
        if "POST" in resource.get("resourceMethods", {}):
            where = {"restApiId": world.api, "resourceId": resource["id"], "httpMethod": "POST"}
            uri = api.get_integration(**where)["uri"]
            found.add(uri.partition("/functions/")[2].rpartition("/")[0])
    if len(found) != 1:
        raise Failed(f"the API's POST methods call {len(found)} functions: {sorted(found)}")
    return str(found.pop())
