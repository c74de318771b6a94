"""DynamoDB stream events: records in, the ids of those that failed out.

Source: the AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB", "Reporting batch item failures".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from understudy.ports import Logger
from understudy.store.dynamodb import item_from_image
from understudy.store.table import Item

Images = tuple[Item | None, Item | None]


def images(record: Mapping[str, Any]) -> Images:
    """The item before and after a change; None where there is none."""
    change = record["dynamodb"]
    old, new = change.get("OldImage"), change.get("NewImage")
    return (item_from_image(old) if old else None, item_from_image(new) if new else None)


def in_order(event: Mapping[str, Any], handle: Callable[[Images], None], logger: Logger) -> dict[str, Any]:
    """Handle records in order.  At the first that fails the rest is left, so that Lambda starts again from it."""
    for record in event["Records"]:
        number = record["dynamodb"]["SequenceNumber"]
        try:
            handle(images(record))
        except Exception:
            logger.exception("a record could not be handled", sequence_number=number)
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}
