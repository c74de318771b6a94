"""The table in DynamoDB.  Short timeouts and few retries: a slow store is treated like a dead one."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from understudy.errors import Conflict, StoreError
from understudy.store.table import FORGETS, Item, Key

BATCH = 100
"""Keys of one BatchGetItem (Amazon DynamoDB API reference)."""
CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0


class DynamoTable:
    """See `understudy.store.table.Table`.  Thread-safe; the client is built at the first call, not at import."""

    def __init__(self, name: str, *, endpoint: str | None = None, region: str | None = None) -> None:
        self._name = name
        self._options = {"endpoint_url": endpoint, "region_name": region}
        self._built: Any = None
        self._lock = threading.Lock()

    def get(self, key: Key) -> Item | None:
        answer = self._call("get_item", Key=_key(key), ConsistentRead=True)
        return item_from_image(answer["Item"]) if "Item" in answer else None

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        found: dict[Key, Item] = {}
        waiting = [_key(key) for key in dict.fromkeys(keys)]
        while waiting:
            ask, waiting = waiting[:BATCH], waiting[BATCH:]
            answer = self._call("batch_get_item", RequestItems={self._name: {"Keys": ask}}, named=False)
            for raw in answer["Responses"].get(self._name, ()):
                item = item_from_image(raw)
                found[item.key] = item
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if len(left) == len(ask):
                raise StoreError("DynamoDB is throttling: it processed no key of a batch read")
            waiting = left + waiting
        return found

    def put(self, item: Item, *, seen: int | None = None) -> None:
        self._call("put_item", Item=_raw(item), **({} if seen is None else _condition(seen)))

    def put_all(self, writes: Sequence[tuple[Item, int]]) -> Key | None:
        from botocore.exceptions import ClientError

        puts = [{"Put": {"TableName": self._name, "Item": _raw(item), **_condition(seen)}} for item, seen in writes]
        try:
            # The token that boto3 adds to each call makes a repeated one count once (Amazon DynamoDB API reference,
            # "TransactWriteItems").
            self._call("transact_write_items", TransactItems=puts, named=False)
        except StoreError as error:
            cause = error.__cause__
            reasons = cause.response.get("CancellationReasons", ()) if isinstance(cause, ClientError) else ()
            for (item, _), reason in zip(writes, reasons, strict=False):
                if reason.get("Code") in _LOST:
                    return item.key
            raise
        return None

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        values = {":pk": {"S": pk}}
        condition = "pk = :pk"
        if prefix:
            values[":prefix"] = {"S": prefix}
            condition += " AND begins_with(sk, :prefix)"
        ask: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
            "ScanIndexForward": not newest,
        }
        items: list[Item] = []
        while limit is None or len(items) < limit:
            if limit is not None:
                ask["Limit"] = limit - len(items)
            answer = self._call("query", **ask)
            items += [item_from_image(raw) for raw in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            ask["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return items

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        return self._added(key, amounts, "SET #ttl = :ttl", {":ttl": {"N": str(int(ttl))}}, {"#ttl": "ttl"})

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        try:
            return self._added(
                key,
                amounts,
                "SET #ttl = :ttl, #writer = :number",
                {":ttl": {"N": str(int(ttl))}, ":number": {"N": str(number)}},
                {"#ttl": "ttl", "#writer": writer},
                ConditionExpression="attribute_not_exists(#writer) OR #writer < :number",
            )
        except Conflict:
            return None

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        gone = dict(list(counters.items())[:FORGETS])
        places = range(len(gone))
        # Whose counter has moved meanwhile is taken away another time.
        with suppress(Conflict):
            self._call(
                "update_item",
                Key=_key(key),
                UpdateExpression=f"REMOVE {', '.join(f'#{n}' for n in places)}",
                ConditionExpression=" AND ".join(f"#{n} = :{n}" for n in places),
                ExpressionAttributeNames={f"#{place}": name for place, name in enumerate(gone)},
                ExpressionAttributeValues={f":{place}": {"N": str(last)} for place, last in enumerate(gone.values())},
            )

    def _added(
        self,
        key: Key,
        amounts: Mapping[str, int],
        assign: str,
        values: Mapping[str, Any],
        names: Mapping[str, str],
        **condition: Any,
    ) -> Mapping[str, int]:
        places = range(len(amounts))
        answer = self._call(
            "update_item",
            Key=_key(key),
            UpdateExpression=f"{assign} ADD {', '.join(f'#{n} :{n}' for n in places)}",
            ExpressionAttributeNames={f"#{place}": name for place, name in enumerate(amounts)} | dict(names),
            ExpressionAttributeValues={f":{place}": {"N": str(amount)} for place, amount in enumerate(amounts.values())}
            | dict(values),
            ReturnValues="ALL_NEW",
            **condition,
        )
        return _counters(answer["Attributes"])

    def delete(self, key: Key) -> None:
        self._call("delete_item", Key=_key(key))

    def _call(self, operation: str, *, named: bool = True, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        if named:
            arguments["TableName"] = self._name
        try:
            answer: dict[str, Any] = getattr(self._client(), operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise Conflict("the item was changed by somebody else") from error
            raise StoreError(f"DynamoDB {operation} on table {self._name!r} failed: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"DynamoDB {operation} on table {self._name!r} failed: {error}") from error
        return answer

    def _client(self) -> Any:
        with self._lock:
            if self._built is None:
                # boto3 costs a cold start more than the rest of the router; it is imported by its first use.
                import boto3
                from botocore.config import Config

                config = Config(
                    connect_timeout=CONNECT_TIMEOUT,
                    read_timeout=READ_TIMEOUT,
                    retries={"mode": "standard", "max_attempts": 2},
                    max_pool_connections=16,
                )
                self._built = boto3.client("dynamodb", config=config, **self._options)
            return self._built


_LOST = ("ConditionalCheckFailed", "TransactionConflict")
"""Why a write of several was refused, where somebody else wrote first or writes just now."""


def _raw(item: Item) -> dict[str, Any]:
    """The item in DynamoDB's attribute-value form."""
    pk, sk = item.key
    raw = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "rev": {"N": str(item.rev)},
        "body": {"S": json.dumps(item.body, separators=(",", ":"))},
    }
    return raw if item.ttl is None else raw | {"ttl": {"N": str(int(item.ttl))}}


def _condition(seen: int) -> dict[str, Any]:
    return {
        "ConditionExpression": "rev = :seen" + (" OR attribute_not_exists(pk)" if seen == 0 else ""),
        "ExpressionAttributeValues": {":seen": {"N": str(seen)}},
    }


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def item_from_image(raw: Mapping[str, Any]) -> Item:
    """An item from DynamoDB's attribute-value form, as the API and the table stream give it."""
    ttl = raw.get("ttl")
    return Item(
        key=(raw["pk"]["S"], raw["sk"]["S"]),
        body=json.loads(raw["body"]["S"]) if "body" in raw else _counters(raw),
        rev=int(raw.get("rev", {}).get("N", 0)),
        ttl=float(ttl["N"]) if ttl else None,
    )


def _counters(raw: Mapping[str, Any]) -> dict[str, int]:
    """The sums of an item that is added to; it has no body."""
    return {name: int(value["N"]) for name, value in raw.items() if name not in ("pk", "sk", "rev", "ttl")}
