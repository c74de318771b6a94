"""What accounts take of their limits, on the table in memory and on DynamoDB as moto plays it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from understudy.ports import Use
from understudy.store import keys
from understudy.store.store import MOST_OVER, Store
from understudy.store.table import Table

NOW = 1_800_000_000.0
RIVALS = 50
LAST = MOST_OVER + 5


def test_nothing_is_taken_at_first(store: Store) -> None:
    """An account that was never used has everything left."""
    assert Use() == store.use("a", NOW)


def test_what_is_taken_adds_up_by_minute(store: Store) -> None:
    """Each call is told what all have taken of its minute; another account and another minute have their own."""
    told = [
        store.take("a", NOW, requests=1, tokens=30),
        store.take("a", NOW + 59, requests=1, tokens=12),
        store.take("a", NOW + 59, tokens=-10),
        store.take("b", NOW, requests=1),
        store.take("a", NOW + 60, requests=1),
    ]
    assert [Use(1, 30), Use(2, 42), Use(2, 32), Use(1), Use(1)] == told
    assert [Use(2, 32), Use(1), Use()] == [store.use("a", NOW + after) for after in (0, 60, 120)]


def test_a_lease_counts_until_it_is_returned_or_over(store: Store) -> None:
    """Requests under way are those of every minute; one that is not heard of again counts until its lease is over."""
    counts = [
        store.take("a", NOW, requests=1, lease=NOW + 130).concurrent,
        store.take("a", NOW + 70, lease=NOW + 200).concurrent,
        store.take("a", NOW + 80, returned=NOW + 200).concurrent,
        *(store.use("a", NOW + after).concurrent for after in (100, 179, 180)),
    ]
    assert [1, 2, 1, 1, 1, 0] == counts


def test_no_request_is_lost_between_rivals(store: Store) -> None:
    """Fifty that count at once add up."""
    with ThreadPoolExecutor(RIVALS) as pool:
        list(pool.map(lambda _: store.take("a", NOW, requests=1, tokens=7, lease=NOW + 60), range(RIVALS)))
    assert Use(RIVALS, 7 * RIVALS, RIVALS) == store.use("a", NOW)


def test_minutes_that_are_over_do_not_pile_up(store: Store, table: Table) -> None:
    """However long an account is used, its item stays small, and it expires when nobody uses it."""
    for minute in range(LAST + 1):
        store.take("a", NOW + 60 * minute, requests=1, tokens=1)
    item = table.get(keys.use("a"))
    assert item is not None
    assert (True, Use(1, 1)) == (len(item.body) <= MOST_OVER + 4, store.use("a", NOW + 60 * LAST))
    assert NOW + 60 * LAST + 86_400 == item.ttl
