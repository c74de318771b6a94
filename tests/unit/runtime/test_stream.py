"""Table streams: records in, the first failed one out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.runtime.stream import Images, images, in_order
from understudy.store.table import Item
from understudy.telemetry import JsonLogger


def image(sk: str, body: str = '{"a":1.5}', **more: Any) -> dict[str, Any]:
    return {"pk": {"S": "incident"}, "sk": {"S": sk}, "body": {"S": body}, "rev": {"N": "3"}} | more


def record(number: int, **images: Any) -> dict[str, Any]:
    change = images or {"NewImage": image(str(number))}
    return {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": str(number), **change}}


def item(sk: str, ttl: float | None = None) -> Item:
    return Item(("incident", sk), {"a": 1.5}, 3, ttl)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"NewImage": image("x")}, (None, item("x"))),
        ({"OldImage": image("x"), "NewImage": image("y")}, (item("x"), item("y"))),
        ({"OldImage": image("x")}, (item("x"), None)),
        ({"Keys": {}}, (None, None)),
        ({"NewImage": image("x", ttl={"N": "1790000000"})}, (None, item("x", 1_790_000_000.0))),
    ],
    ids=["insert", "modify", "remove", "keys only", "with a time to live"],
)
def test_a_record_has_the_item_before_and_after(change: dict[str, Any], expected: Images) -> None:
    """Images are read as items; one that is not there is None."""
    assert expected == images(record(1, **change))


def test_an_image_without_revision_has_revision_zero() -> None:
    """An item that was written without a revision reads as revision 0."""
    bare = image("x")
    del bare["rev"]
    _, after = images(record(1, NewImage=bare))
    assert Item(("incident", "x"), {"a": 1.5}) == after


def test_records_are_handled_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Every record is handled once and in order, and then none has failed."""
    seen: list[Images] = []
    answer = in_order({"Records": [record(1), record(2), record(3)]}, seen.append, JsonLogger("t", "INFO"))
    assert {"batchItemFailures": []} == answer
    assert [(None, item("1")), (None, item("2")), (None, item("3"))] == seen
    assert "" == capsys.readouterr().out


def test_no_records_are_no_failure() -> None:
    """An empty batch is handled."""
    assert {"batchItemFailures": []} == in_order({"Records": []}, lambda _: None, JsonLogger("t", "INFO"))


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_the_first_failed_record_is_reported(failing: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The first record that fails is reported and logged, and those behind it are left alone."""
    seen: list[str] = []

    def handle(change: Images) -> None:
        _, after = change
        assert after is not None
        seen.append(after.key[1])
        if len(seen) == failing:
            raise RuntimeError("no")

    answer = in_order({"Records": [record(1), record(2), record(3)]}, handle, JsonLogger(f"t{failing}", "INFO"))
    assert {"batchItemFailures": [{"itemIdentifier": str(failing)}]} == answer
    assert ["1", "2", "3"][:failing] == seen
    assert str(failing) == json.loads(capsys.readouterr().out)["sequence_number"]


@pytest.mark.parametrize("broken", [image("x", body="{"), {"pk": {"S": "incident"}}], ids=["no JSON", "no body"])
def test_a_record_that_cannot_be_read_is_reported(broken: dict[str, Any]) -> None:
    """A record whose image is not ours fails like one that could not be handled."""
    seen: list[Images] = []
    answer = in_order(
        {"Records": [record(1), record(2, NewImage=broken), record(3)]}, seen.append, JsonLogger("t", "ERROR")
    )
    assert {"batchItemFailures": [{"itemIdentifier": "2"}]} == answer
    assert [(None, item("1"))] == seen
