"""The table that every persistence port is tried on: in memory, and in DynamoDB as moto plays it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from infra.local.template import wiring
from understudy.store.dynamodb import DynamoTable
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.store.table import Table

NAME = "contract"
REGION = "us-east-1"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, REGION)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield


@pytest.fixture(scope="module")
def design() -> Mapping[str, Any]:
    """The table as infra/storage.yaml has it."""
    return wiring().table


@pytest.fixture
def dynamo(credentials: None, design: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoTable]:
    """The table of infra/storage.yaml in moto."""
    lock = threading.RLock()

    def serialized(write: Callable[..., Any]) -> Callable[..., Any]:
        # DynamoDB decides the writes of one item one after the other; moto alone does not.
        def alone(*arguments: Any, **named: Any) -> Any:
            with lock:
                return write(*arguments, **named)

        return alone

    for name in ("put_item", "update_item", "transact_write_items", "query"):
        monkeypatch.setattr(DynamoDBBackend, name, serialized(getattr(DynamoDBBackend, name)))
    with mock_aws():
        boto3.setup_default_session(region_name=REGION)
        boto3.client("dynamodb").create_table(
            TableName=NAME, **{name: design[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")}
        )
        yield DynamoTable(NAME)


@pytest.fixture(params=["memory", "dynamodb"])
def table(request: pytest.FixtureRequest) -> Table:
    return MemoryTable() if request.param == "memory" else request.getfixturevalue("dynamo")


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table)
