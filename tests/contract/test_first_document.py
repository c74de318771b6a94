"""The custom resource of the template: S3 and the table as moto plays them, CloudFormation's end a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import httpx
import pytest
from moto import mock_aws

from infra.local.template import wiring
from manage_router.handler import handler, service
from tests.unit.control.documents import TEXT, changed
from understudy import bootstrap
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store

REGION, BUCKET, TABLE = "us-east-1", "documents", "understudy-first"
CloudFormation = list[tuple[str | None, dict[str, Any]]]


class Listener(ThreadingHTTPServer):
    """The presigned address that CloudFormation hands out; `statuses` are what it answers first, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Put)
        self.told: CloudFormation = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/answer?signature=x"


class _Put(BaseHTTPRequestHandler):
    server: Listener

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.told.append((self.headers.get("content-type"), body))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def cloudformation() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("UNDERSTUDY_TABLE", TABLE)
    with mock_aws():
        design = {name: wiring().table[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
        boto3.client("dynamodb").create_table(TableName=TABLE, **design)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        bootstrap.aws.cache_clear()
        service.cache_clear()
        yield Store(DynamoTable(TABLE))
    bootstrap.aws.cache_clear()
    service.cache_clear()


def upload(text: str | bytes, key: str = "router.yaml") -> str:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text)
    return f"s3://{BUCKET}/{key}"


def event(url: str, address: str, wanted: str = "Create") -> dict[str, Any]:
    return {
        "RequestType": wanted,
        "ResponseURL": url,
        "StackId": "arn:aws:cloudformation:us-east-1:1:stack/understudy/1",
        "RequestId": "r-1",
        "LogicalResourceId": "FirstDocumentInForce",
        "ResourceType": "Custom::FirstDocument",
        "ResourceProperties": {"ServiceToken": "arn", "Document": address},
    }


def told(cloudformation: Listener) -> tuple[str, str]:
    """Status and reason of the only answer."""
    [(_, answer)] = cloudformation.told
    return answer["Status"], answer["Reason"]


def test_the_first_document_is_published(store: Store, cloudformation: Listener) -> None:
    """A stack that is created with a good document has it in force, and CloudFormation hears what was published."""
    handler(event(cloudformation.url, upload(TEXT)), None)
    [(kind, answer)] = cloudformation.told
    assert ("SUCCESS", "r-1", "FirstDocumentInForce") == (
        answer["Status"],
        answer["RequestId"],
        answer["PhysicalResourceId"],
    )
    # The address is signed for a request without a content type.
    assert kind in (None, "")
    pointer = store.pointer()
    assert pointer is not None
    assert (1, TEXT) == (pointer.version, store.version(1).source)


def test_a_wrong_document_fails_the_deployment_with_its_mistakes(store: Store, cloudformation: Listener) -> None:
    """CloudFormation is told FAILED and where the mistake is, so the stack rolls back; nothing is in force."""
    handler(event(cloudformation.url, upload(changed(TEXT, "[lead", "[laed"))), None)
    status, reason = told(cloudformation)
    assert "FAILED" == status
    assert "routes.chat.targets[0]" in reason
    assert store.pointer() is None


def test_a_document_that_is_not_there_fails_the_deployment(store: Store, cloudformation: Listener) -> None:
    """A wrong address is named with what S3 says about it and what to do."""
    handler(event(cloudformation.url, f"s3://{BUCKET}/nothing.yaml"), None)
    expected = (
        f"s3://{BUCKET}/nothing.yaml: it cannot be read (NoSuchKey). "
        "Fix: upload the document there, or correct the address and the rights of the bucket"
    )
    assert ("FAILED", expected) == told(cloudformation)


def test_a_document_that_is_no_text_fails_the_deployment(store: Store, cloudformation: Listener) -> None:
    """Bytes that are not UTF-8 are refused in words."""
    handler(event(cloudformation.url, upload(b"\xff\xfe\x00")), None)
    expected = f"s3://{BUCKET}/router.yaml: it is not UTF-8 text. Fix: save it as UTF-8"
    assert ("FAILED", expected) == told(cloudformation)


def test_a_later_deployment_changes_nothing(store: Store, cloudformation: Listener) -> None:
    """What was published since stays in force, whatever a new deployment names."""
    handler(event(cloudformation.url, upload(TEXT)), None)
    cloudformation.told.clear()
    handler(event(cloudformation.url, upload("nonsense", "other.yaml"), "Update"), None)
    assert ("SUCCESS", "Version 1 is in force already; `understudy publish` changes it.") == told(cloudformation)


def test_deleting_the_stack_touches_no_document(store: Store, cloudformation: Listener) -> None:
    """A deletion succeeds without reading anything, also where the document has gone meanwhile."""
    handler(event(cloudformation.url, f"s3://{BUCKET}/gone.yaml", "Delete"), None)
    expected = "The control document belongs to the table and goes or stays with it."
    assert ("SUCCESS", expected) == told(cloudformation)


def test_a_failure_of_our_own_is_an_answer_too(
    store: Store, cloudformation: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer the stack would wait for an hour: a bug answers FAILED and points to the log."""
    asked = event(cloudformation.url, upload(TEXT))
    del asked["ResourceProperties"]["Document"]
    handler(asked, None)
    assert ("FAILED", "The function failed (KeyError); its log says why.") == told(cloudformation)


def test_an_answer_is_sent_again_until_it_is_taken(store: Store, cloudformation: Listener) -> None:
    """Two refusals of the address do not lose the answer."""
    cloudformation.statuses = [503, 500]
    handler(event(cloudformation.url, upload(TEXT)), None)
    assert "SUCCESS" == told(cloudformation)[0]


def test_an_answer_that_nobody_takes_raises(store: Store, cloudformation: Listener) -> None:
    """Lambda must try the request again where CloudFormation could not be told."""
    cloudformation.statuses = [503, 503, 503]
    with pytest.raises(httpx.HTTPStatusError):
        handler(event(cloudformation.url, upload(TEXT)), None)
    assert [] == cloudformation.told


def test_a_long_list_of_mistakes_fits_into_the_answer(store: Store, cloudformation: Listener) -> None:
    """CloudFormation takes no answer above 4,096 bytes."""
    wrong = TEXT + "".join(f"  chat{n}:\n    targets: [nobody{n}, {'é' * 40}]\n" for n in range(100))
    handler(event(cloudformation.url, upload(wrong)), None)
    [(_, answer)] = cloudformation.told
    assert ("FAILED", True) == (answer["Status"], len(json.dumps(answer).encode()) <= 4096)
