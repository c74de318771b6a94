"""Deployments that must not come up: what a person may get wrong is refused, and leaves nothing behind."""

from __future__ import annotations

from tests.deploy.providers import Providers
from tests.deploy.report import Failed, Report, expect
from tests.deploy.stack import Stack

BUCKET = "understudy-deploy-check"


def refused_deployments(stack: Stack, providers: Providers, report: Report) -> dict[str, str]:
    """What the template can refuse is tried; returns the parameters that the real deployment gets beside its own."""
    declared = stack.declared
    if {"KeepData", "DeletionProtection"} <= declared:
        report.check("a wrong combination of parameters is refused", lambda: _wrong_combination(stack))
    if "FirstDocument" not in declared:
        return {}
    with report.step("a first control document lies in a bucket", vital=True):
        s3 = stack.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        good = providers.document(idle=False)
        s3.put_object(Bucket=BUCKET, Key="good.yaml", Body=good.encode())
        s3.put_object(Bucket=BUCKET, Key="wrong.yaml", Body=good.replace("- lead", "- nobody").encode())
    report.check("a wrong first document rolls the deployment back", lambda: _wrong_document(stack), vital=True)
    return {"FirstDocument": f"s3://{BUCKET}/good.yaml"}


def take_away(stack: Stack) -> None:
    """The bucket, where there is one."""
    s3 = stack.client("s3")
    if BUCKET in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            s3.delete_object(Bucket=BUCKET, Key=one["Key"])
        s3.delete_bucket(Bucket=BUCKET)


def _wrong_combination(stack: Stack) -> str:
    message = _refusal(stack, KeepData="no", DeletionProtection="true")
    if "cannot be protected" not in message:
        raise Failed(f"the refusal does not say what is wrong: {message}")
    # A change set that was refused leaves no stack, or one that never began to create anything.
    if stack.state() not in ("", "REVIEW_IN_PROGRESS"):
        raise Failed(f"the stack is {stack.state()}")
    return "before anything was created"


def _wrong_document(stack: Stack) -> str:
    before = stack.inventory()
    message = _refusal(stack, FirstDocument=f"s3://{BUCKET}/wrong.yaml")
    if "nobody" not in message:
        raise Failed(f"the events do not name the mistake: {message}")
    expect("ROLLBACK_COMPLETE", stack.state(), "the state of the stack")
    stack.discard()
    stack.nothing_beside(before)
    return "nothing is left, the events name the mistake"


def _refusal(stack: Stack, **changed: str) -> str:
    try:
        stack.deploy(**changed)
    except Failed as error:
        return str(error)
    raise Failed(f"it was deployed with {changed}")
