"""One suite for every persistence port, run on the table in memory and on DynamoDB as moto plays it."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import boto3
import pytest

from tests.contract.conftest import NAME, REGION
from tests.unit.services.worlds import DOCUMENT
from understudy.control.document import parse
from understudy.control.load import catalog
from understudy.control.versions import Pointer, Version
from understudy.detectors.sample import Alarm
from understudy.errors import Conflict, StoreError
from understudy.health.breaker import Breaker
from understudy.health.finding import Finding
from understudy.health.item import Health
from understudy.health.observation import Observation, observation_from
from understudy.health.status_page import Corroboration, StatusPage
from understudy.incidents.evidence import PAGE
from understudy.incidents.incident import Incident
from understudy.keys import ClientKey, hash_key, new_key
from understudy.ports import Answer, Kept, Probing, Rota, Snapshot
from understudy.services.trouble import Troubles
from understudy.store import dynamodb, keys
from understudy.store.dynamodb import DynamoTable
from understudy.store.store import Store
from understudy.store.table import Item, Key, Table

NOW = 1_790_000_000.0
RIVALS = 50


def version(number: int, **changes: Any) -> Version:
    document = {"targets": {"a": {"price": 0.25, "note": "größer"}}, "routes": [1, 2.5, None, True]}
    made = Version(number, f"source: {number}\n", document, "0" * 64, NOW + number, "someone", "a note")
    return replace(made, **changes)


def pointer(number: int, rev: int) -> Pointer:
    return Pointer(version=number, rev=rev, moved_at=NOW + rev, moved_by="someone")


def incident(**changes: Any) -> Incident:
    made = Incident("a", "outage", "open", "critical", NOW, NOW, NOW, 1, "5 failures", {"routes": "x, y"})
    return replace(made, **changes)


def race(attempt: Callable[[int], object]) -> tuple[int, int]:
    """How many of many threads that start at once won and how many met a Conflict."""
    start = threading.Barrier(RIVALS)

    def one(number: int) -> bool:
        start.wait()
        try:
            attempt(number)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(RIVALS) as pool:
        results = list(pool.map(one, range(RIVALS)))
    return results.count(True), results.count(False)


@dataclass
class Interrupted:
    """A table on which something happens just before the next write: a rival's write, or a failure."""

    table: Table
    before: Callable[[Item], None] | None = None

    def get(self, key: Key) -> Item | None:
        return self.table.get(key)

    def batch(self, keys: Sequence[Key]) -> Mapping[Key, Item]:
        return self.table.batch(keys)

    def put(self, item: Item, *, seen: int | None = None) -> None:
        if self.before is not None:
            self.before(item)
        self.table.put(item, seen=seen)

    def query(self, pk: str, *, prefix: str = "", limit: int | None = None, newest: bool = False) -> Sequence[Item]:
        return self.table.query(pk, prefix=prefix, limit=limit, newest=newest)

    def add(self, key: Key, amounts: Mapping[str, int], *, ttl: float) -> Mapping[str, int]:
        return self.table.add(key, amounts, ttl=ttl)

    def add_once(
        self, key: Key, amounts: Mapping[str, int], writer: str, number: int, *, ttl: float
    ) -> Mapping[str, int] | None:
        return self.table.add_once(key, amounts, writer, number, ttl=ttl)

    def forget(self, key: Key, counters: Mapping[str, int]) -> None:
        self.table.forget(key, counters)

    def delete(self, key: Key) -> None:
        self.table.delete(key)


class TestControl:
    def test_nothing_is_in_force_at_first(self, store: Store) -> None:
        """Before the first publication there is neither a pointer nor a version."""
        assert None is store.pointer()
        assert [] == list(store.versions(10))

    def test_a_version_comes_back_as_it_was_written(self, store: Store) -> None:
        """A version is read exactly as it was published."""
        store.add_version(version(1))
        assert version(1) == store.version(1)

    def test_a_version_from_before_versions_were_packed_is_read(self, table: Table, store: Store) -> None:
        """What an older router published stays readable, for rollbacks."""
        table.put(Item(("control", "version#000000000001"), asdict(version(1)), rev=1))
        assert version(1) == store.version(1)

    def test_a_missing_version_is_an_error(self, store: Store) -> None:
        """Reading a version that does not exist raises StoreError and names it."""
        store.add_version(version(1))
        with pytest.raises(StoreError, match="version 2"):
            store.version(2)

    def test_a_version_is_never_overwritten(self, store: Store) -> None:
        """The second writer of a number meets a Conflict and the first version stays."""
        store.add_version(version(1))
        with pytest.raises(Conflict):
            store.add_version(version(1, source="other: true\n"))
        assert version(1) == store.version(1)

    def test_one_of_many_publishers_gets_a_number(self, store: Store) -> None:
        """Of many who write one number at once exactly one wins."""
        assert (1, RIVALS - 1) == race(lambda number: store.add_version(version(1, note=str(number))))

    def test_versions_come_newest_first(self, store: Store) -> None:
        """Versions are ordered by number, not by text, and cut to the limit."""
        store.move_pointer(pointer(1, 1), None)
        for number in (9, 10, 11, 100):
            store.add_version(version(number))
        assert [100, 11, 10] == [each.number for each in store.versions(3)]
        assert [100, 11, 10, 9] == [each.number for each in store.versions(10)]
        assert [] == list(store.versions(0))

    def test_versions_larger_than_one_answer_are_all_read(self, store: Store) -> None:
        """A list of versions larger than one answer of DynamoDB (1 MB) is complete."""
        for number in range(1, 7):
            store.add_version(version(number, source=random.Random(number).randbytes(150_000).hex()))
        assert [6, 5, 4, 3, 2, 1] == [each.number for each in store.versions(50)]

    def test_the_pointer_moves_from_the_expected_one(self, store: Store) -> None:
        """The pointer moves for whoever has seen the one in force."""
        store.move_pointer(pointer(1, 1), None)
        assert pointer(1, 1) == store.pointer()
        store.move_pointer(pointer(2, 2), pointer(1, 1))
        assert pointer(2, 2) == store.pointer()

    @pytest.mark.parametrize("expected", [None, pointer(1, 1), pointer(3, 3)], ids=["none", "older", "newer"])
    def test_the_pointer_moves_from_no_other_one(self, store: Store, expected: Pointer | None) -> None:
        """Whoever has not seen the pointer in force meets a Conflict and moves nothing."""
        store.move_pointer(pointer(1, 1), None)
        store.move_pointer(pointer(2, 2), pointer(1, 1))
        with pytest.raises(Conflict):
            store.move_pointer(pointer(9, 9), expected)
        assert pointer(2, 2) == store.pointer()

    def test_a_pointer_that_is_gone_is_not_moved(self, store: Store) -> None:
        """Where a pointer was expected and there is none, the move is a Conflict."""
        with pytest.raises(Conflict):
            store.move_pointer(pointer(2, 2), pointer(1, 1))
        assert None is store.pointer()

    def test_one_of_many_movers_wins(self, store: Store) -> None:
        """Of many who move the pointer from the same one at once exactly one wins."""
        store.move_pointer(pointer(1, 1), None)
        assert (1, RIVALS - 1) == race(lambda number: store.move_pointer(pointer(number, 2), pointer(1, 1)))


class TestHealth:
    def test_targets_without_health_are_left_out(self, store: Store) -> None:
        """Only targets that have an item are answered."""
        store.put_health(Health("a"))
        assert {"a": Health("a", rev=1)} == store.health(["a", "b"])
        assert {} == store.health([])

    def test_health_comes_back_as_it_was_written(self, store: Store) -> None:
        """Every field of health survives the table, the breaker's window and the histograms included."""
        breaker = Breaker(
            state="open",
            changed_at=NOW,
            until=NOW + 30.5,
            opens=2,
            consecutive=5,
            failing_since=NOW - 2.25,
            down_since=NOW - 100,
            steady=True,
            successes=1,
            lease_until=NOW + 10,
            window=((29_833_333, 4, 6), (29_833_334, 0, 1)),
            reason="why",
        )
        full = Health(
            target="a",
            breaker=breaker,
            score=0.25,
            first_token=1.5,
            first_tokens=((36, 4.0), (40, 0.125)),
            gaps=((28, 3.0),),
            benched_until=NOW + 60,
            credential_failed=True,
            last_ok_at=NOW - 1,
            last_failure_at=NOW,
            last_failure="transient: 502",
            evaluations=3,
        )
        assert replace(full, rev=1) == store.put_health(full)
        assert {"a": replace(full, rev=1)} == store.health(["a"])

    def test_each_write_is_the_next_revision(self, store: Store) -> None:
        """A write returns what was written, one revision on."""
        first = store.put_health(Health("a"))
        second = store.put_health(replace(first, score=0.5))
        assert [1, 2] == [first.rev, second.rev]
        assert {"a": second} == store.health(["a"])

    @pytest.mark.parametrize("seen", [0, 1, 3])
    def test_health_is_written_from_the_seen_revision_only(self, store: Store, seen: int) -> None:
        """Whoever has not seen the current revision meets a Conflict and changes nothing."""
        second = store.put_health(store.put_health(Health("a")))
        with pytest.raises(Conflict):
            store.put_health(Health("a", score=0.0, rev=seen))
        assert {"a": second} == store.health(["a"])

    def test_a_revision_of_a_missing_item_is_a_conflict(self, store: Store) -> None:
        """Whoever has seen health that is gone meets a Conflict."""
        with pytest.raises(Conflict):
            store.put_health(Health("a", rev=4))
        assert {} == store.health(["a"])

    @pytest.mark.parametrize("exists", [False, True], ids=["first write", "later write"])
    def test_one_of_many_writers_of_a_revision_wins(self, store: Store, exists: bool) -> None:
        """Of many who take one lease in the same revision at once exactly one wins."""
        seen = store.put_health(Health("a")) if exists else Health("a")
        leased = replace(seen, breaker=Breaker("open", lease_until=NOW))
        assert (1, RIVALS - 1) == race(lambda number: store.put_health(replace(leased, last_failure=str(number))))
        assert seen.rev + 1 == store.health(["a"])["a"].rev

    def test_targets_do_not_touch_each_other(self, store: Store) -> None:
        """The revisions of one target say nothing about those of another."""
        store.put_health(store.put_health(Health("a")))
        assert 1 == store.put_health(Health("b")).rev
        assert {"a": 2, "b": 1} == {name: health.rev for name, health in store.health(["a", "b"]).items()}


class TestDetectors:
    def test_what_is_kept_of_streams_comes_back(self, store: Store) -> None:
        """Found by stream and kind, in one read or one by one; those that are not there are left out."""
        streams = [("", "latency"), ("core", "quality"), ("core", "tokens")]
        for number, stream in enumerate(streams):
            store.put_detector("a", stream, Kept({"n": number, "text": "größer"}), NOW)
        found = {stream: Kept({"n": number, "text": "größer"}, 1) for number, stream in enumerate(streams)}
        assert found == store.detectors("a", [*streams, ("core", "cost")])
        assert found[streams[1]] == store.detector("a", streams[1])
        assert (streams, [], {}, None) == (
            list(store.streams("a")),
            list(store.streams("b")),
            store.detectors("a", []),
            store.detector("b", streams[0]),
        )

    @pytest.mark.parametrize("seen", [0, 1, 3])
    def test_a_stream_is_written_from_the_seen_revision_only(self, store: Store, seen: int) -> None:
        """Whoever has not seen the current revision meets a Conflict and changes nothing."""
        for rev in range(2):
            store.put_detector("a", ("core", "quality"), Kept({"rev": rev}, rev), NOW)
        with pytest.raises(Conflict):
            store.put_detector("a", ("core", "quality"), Kept({}, seen), NOW)
        assert Kept({"rev": 1}, 2) == store.detector("a", ("core", "quality"))

    def test_one_of_many_writers_of_a_stream_wins(self, store: Store) -> None:
        """Of many who have seen the same revision exactly one takes its values in; the others do it anew."""
        assert (1, RIVALS - 1) == race(lambda n: store.put_detector("a", ("", "errors"), Kept({"n": n}), NOW))

    def test_a_stream_that_nobody_feeds_expires(self, store: Store, table: Table) -> None:
        """What is kept of it gets a time to live with each write, and lies beside its target's health."""
        store.put_detector("a", ("core", "quality"), Kept({}), NOW)
        item = table.get(("target#a", "detector#core#quality"))
        assert NOW + keys.DETECTOR_TTL == (item.ttl if item else None)


class TestObservations:
    def test_an_observation_expires_after_a_week(self, store: Store, table: Table) -> None:
        """An observation is kept whole, beside its target's health, and gets a time to live."""
        seen = Observation(
            target="a",
            at=NOW,
            source="probe",
            ok=3,
            failures=2,
            trailing=1,
            last_ok_at=NOW - 3.5,
            failing_since=NOW - 2.25,
            first_token=4.5,
            first_tokens=((36, 2.0), (40, 1.0)),
            gaps=((28, 3.0),),
            benched_until=NOW + 5,
            credential=True,
            last_failure="transient: 502",
            by_kind={"transient": 2},
        )
        store.add_observation(seen)
        (item,) = table.query(keys.target("a"), prefix=keys.OBSERVATION)
        assert seen == observation_from(item.body)
        assert NOW + keys.OBSERVATION_TTL == item.ttl

    def test_observations_of_one_moment_are_all_kept(self, store: Store, table: Table) -> None:
        """Observations made in the same millisecond do not replace each other, and come in the order of time."""
        for at in (NOW + 1, NOW, NOW, NOW):
            store.add_observation(Observation("a", at, ok=1))
        found = table.query(keys.target("a"), prefix=keys.OBSERVATION)
        assert [NOW, NOW, NOW, NOW + 1] == [item.body["at"] for item in found]
        assert {} == store.health(["a"])


class TestClientKeys:
    def test_an_unknown_key_is_none(self, store: Store) -> None:
        """A key that nobody has made is not found."""
        assert None is store.key(hash_key(new_key()))
        assert [] == list(store.client_keys())

    def test_a_key_is_found_by_its_hash(self, store: Store) -> None:
        """A client key comes back as it was written, alone and in the list."""
        made = [ClientKey(hash_key(new_key()), name, NOW) for name in ("one", "two")]
        made = [store.put_key(each) for each in made]
        assert made == [store.key(each.hash) for each in made]
        assert sorted(made, key=lambda each: each.hash) == list(store.client_keys())

    def test_a_key_is_revoked_in_place(self, store: Store) -> None:
        """Writing a key again replaces it, so that a revocation is seen."""
        made = ClientKey(hash_key(new_key()), "one", NOW)
        revoked = store.put_key(replace(store.put_key(made), revoked_at=NOW + 1))
        assert [revoked] == list(store.client_keys())
        assert [(True, False)] == [(each.active(NOW), each.active(NOW + 1)) for each in store.client_keys()]

    def test_a_change_is_never_lost(self, store: Store) -> None:
        """Of two who change the same key only the first is heard; the other is told."""
        made = store.put_key(ClientKey(hash_key(new_key()), "one", NOW))
        store.put_key(replace(made, revoked_at=NOW + 1))
        with pytest.raises(Conflict):
            store.put_key(replace(made, expires_at=NOW + 9))
        assert NOW + 1 == store.client_keys()[0].revoked_at


class TestIncidents:
    def test_no_incident_at_first(self, store: Store) -> None:
        """A subject without trouble has no incident."""
        assert None is store.incident("a", "outage")
        assert [] == list(store.incidents())

    def test_an_incident_comes_back_as_it_was_written(self, store: Store) -> None:
        """An incident is found by subject and kind, and in the list of all."""
        outage = store.put_incident(incident())
        credential = store.put_incident(incident(kind="credential"))
        assert [1, 1] == [outage.rev, credential.rev]
        assert replace(incident(), rev=1) == store.incident("a", "outage")
        assert [credential, outage] == list(store.incidents())

    @pytest.mark.parametrize("seen", [0, 1, 3])
    def test_an_incident_is_written_from_the_seen_revision_only(self, store: Store, seen: int) -> None:
        """Whoever has not seen the current revision meets a Conflict and changes nothing."""
        second = store.put_incident(store.put_incident(incident()))
        with pytest.raises(Conflict):
            store.put_incident(incident(summary="other", rev=seen))
        assert second == store.incident("a", "outage")

    def test_one_of_many_openers_wins(self, store: Store) -> None:
        """Of many who open the same incident at once exactly one wins."""
        assert (1, RIVALS - 1) == race(lambda number: store.put_incident(incident(summary=str(number))))

    def test_a_resolved_incident_becomes_history(self, store: Store, table: Table) -> None:
        """An incident goes into the history when it is resolved, and stays there when a new one opens."""
        opened = store.put_incident(incident())
        assert [] == list(table.query(keys.HISTORY))
        past = store.put_incident(replace(opened, status="resolved", resolved_at=NOW + 60))
        later = store.put_incident(incident(opened_at=NOW + 100, rev=past.rev))
        store.put_incident(replace(later, status="resolved", resolved_at=NOW + 160))
        found = [(item.body["opened_at"], item.body["resolved_at"]) for item in table.query(keys.HISTORY)]
        assert [(NOW, NOW + 60), (NOW + 100, NOW + 160)] == found
        assert [4] == [each.rev for each in store.incidents()]

    def test_a_failed_write_loses_no_history(self, table: Table) -> None:
        """Where one of the two writes of a resolution fails, trying again brings both about."""
        for failing in (keys.HISTORY, keys.INCIDENT):
            subject = f"failing {failing}"
            opened = Store(table).put_incident(incident(subject=subject))
            over = replace(opened, status="resolved", resolved_at=NOW + 60)

            def fail(item: Item, failing: str = failing) -> None:
                if item.key[0] == failing:
                    raise StoreError("the table is away")

            with pytest.raises(StoreError):
                Store(Interrupted(table, fail)).put_incident(over)
            current = Store(table).incident(subject, "outage")
            assert opened == current
            assert replace(over, rev=2) == Store(table).put_incident(over)
        assert 2 == len(table.query(keys.HISTORY))

    def test_many_who_see_the_same_trouble_open_one_incident(self, store: Store, table: Table) -> None:
        """Fifty updaters at once: one incident, with one notice; when it is over, one end and one piece of history."""
        current = catalog(parse(DOCUMENT), 1)
        alarm = Alarm("quality", "degraded", NOW, NOW - 60, 9, 0.9, 0.5)
        well, worse = Health("lead"), Health("lead", findings=(Finding("core", "confirmed", NOW, alarm),))
        for before, after in ((well, worse), (worse, well)):
            many = race(lambda number, b=before, a=after: Troubles(store, clock=lambda: NOW).react(b, a, current))  # type: ignore[misc]
            assert (RIVALS, 0) == many
        (told,) = store.incidents()
        assert ("quality", "resolved", 2, 2) == (told.kind, told.status, told.notices, told.rev)
        assert 1 == len(table.query(keys.HISTORY))

    def test_many_who_read_different_pages_tell_once(self, store: Store) -> None:
        """What a status page says changes while fifty updaters see the same trouble: one incident, and one notice."""
        url = "https://status.example/summary.json"
        current = catalog(parse(DOCUMENT.replace('v1"', f'v1", status_page: "{url}"')), 1)
        alarm = Alarm("quality", "degraded", NOW, NOW - 60, 9, 0.9, 0.5)
        worse = Health("lead", findings=(Finding("core", "confirmed", NOW, alarm),))

        def see(number: int) -> None:
            if number % 5 == 0:
                page = store.status_page("acme") or StatusPage("acme")
                said = Corroboration("minor", f"the word of {number}", NOW)
                with contextlib.suppress(Conflict):
                    store.put_status_page(replace(page, url=url, read_at=NOW, said=said))
            with contextlib.suppress(Conflict):
                Troubles(store, clock=lambda: NOW).react(Health("lead"), worse, current)

        race(see)
        Troubles(store, clock=lambda: NOW).react(Health("lead"), worse, current)
        (told,), page = store.incidents(), store.status_page("acme")
        assert ("open", 1, page and page.words(url, NOW)) == (told.status, told.notices, told.facts[PAGE])


class TestStatusPages:
    PAGE = StatusPage("acme", "https://status.example", NOW, NOW + 1, Corroboration("major", "Outage", NOW - 9))

    def test_nothing_is_known_at_first(self, store: Store) -> None:
        """A page that nobody has asked for is None."""
        assert None is store.status_page("acme")

    def test_a_page_comes_back_as_it_was_written(self, store: Store) -> None:
        """With what it said, and as one that could not be read."""
        first = store.put_status_page(self.PAGE)
        assert replace(self.PAGE, rev=1) == first == store.status_page("acme")
        assert replace(first, said=None, rev=2) == store.put_status_page(replace(first, said=None))
        assert replace(first, said=None, rev=2) == store.status_page("acme")

    def test_one_of_many_gets_to_read_it(self, store: Store) -> None:
        """Of many who ask for the page at once exactly one may, the first time and later."""
        for rev in (0, 1):
            page = replace(self.PAGE, rev=rev)
            assert (1, RIVALS - 1) == race(lambda _, page=page: store.put_status_page(page))  # type: ignore[misc]

    def test_it_expires_after_a_day(self, store: Store, table: Table) -> None:
        """It lies in a partition of its provider's, where probes may write, and gets a time to live."""
        store.put_status_page(self.PAGE)
        item = table.get(("provider#acme", "status_page"))
        assert NOW + keys.STATUS_PAGE_TTL == (item.ttl if item else None)


class TestNotices:
    def test_a_claimed_notice_is_told_once(self, store: Store) -> None:
        """Once a notice is settled nobody may tell it again, however late."""
        assert True is store.claim("n", NOW, 60)
        store.settle("n", NOW + 1)
        assert [False, False] == [store.claim("n", now, 60) for now in (NOW + 2, NOW + 1_000_000)]

    def test_nobody_tells_while_another_tells(self, store: Store) -> None:
        """While the lease of a claim runs everybody else meets a Conflict."""
        store.claim("n", NOW, 60)
        for now in (NOW, NOW + 59.9):
            with pytest.raises(Conflict):
                store.claim("n", now, 60)

    def test_a_vanished_teller_is_replaced(self, store: Store) -> None:
        """A claim may be taken over when its lease has run out, and then the new lease holds."""
        store.claim("n", NOW, 60)
        assert True is store.claim("n", NOW + 60, 60)
        with pytest.raises(Conflict):
            store.claim("n", NOW + 61, 60)

    def test_a_released_notice_may_be_claimed_at_once(self, store: Store) -> None:
        """Giving a claim back lets the next one tell without waiting for the lease."""
        store.claim("n", NOW, 60)
        store.release("n")
        assert True is store.claim("n", NOW + 1, 60)

    def test_releasing_nothing_is_no_error(self, store: Store) -> None:
        """A claim that is gone already may be given back."""
        store.release("n")
        assert True is store.claim("n", NOW, 60)

    @pytest.mark.parametrize("expired", [False, True], ids=["first claim", "takeover"])
    def test_one_of_many_claimants_wins(self, store: Store, expired: bool) -> None:
        """Of many who claim one notice at once exactly one may tell it."""
        if expired:
            store.claim("n", NOW - 61, 60)
        assert (1, RIVALS - 1) == race(lambda _: store.claim("n", NOW, 60))

    def test_notices_do_not_touch_each_other(self, store: Store) -> None:
        """A claim of one notice leaves the others free."""
        assert [True, True] == [store.claim(name, NOW, 60) for name in ("n/1/sns", "n/1/eventbridge")]

    def test_a_notice_told_during_a_takeover_is_not_told_twice(self, table: Table) -> None:
        """Whoever takes over an expired claim loses where it was settled just before the write."""
        first = Store(table)
        first.claim("n", NOW, 60)
        late = Store(Interrupted(table, lambda _: first.settle("n", NOW + 61)))
        with pytest.raises(Conflict):
            late.claim("n", NOW + 61, 60)
        assert False is first.claim("n", NOW + 200, 60)

    def test_a_notice_claimed_again_during_a_takeover_is_not_told_twice(self, table: Table) -> None:
        """Whoever takes over an expired claim loses where it was given back and claimed anew just before."""
        first = Store(table)
        first.claim("n", NOW, 60)

        def again(_: Item) -> None:
            first.release("n")
            first.claim("n", NOW + 61, 60)

        with pytest.raises(Conflict):
            Store(Interrupted(table, again)).claim("n", NOW + 61, 60)

    def test_a_notice_expires_after_a_month(self, store: Store, table: Table) -> None:
        """The mark of a notice gets a time to live."""
        store.claim("n", NOW, 60)
        store.settle("n", NOW + 1)
        item = table.get(keys.notice("n"))
        assert item is not None
        assert NOW + 1 + keys.NOTICE_TTL == item.ttl


class TestSnapshot:
    def test_an_empty_table_is_an_empty_snapshot(self, store: Store) -> None:
        """Where nothing was written nothing is found, and that is no error."""
        assert Snapshot(None, {}, {}) == store.snapshot(["a"], [hash_key("k")])

    def test_a_snapshot_has_pointer_health_and_keys(self, store: Store) -> None:
        """A snapshot holds the pointer and what there is of the targets and keys asked for, and nothing else."""
        store.move_pointer(pointer(1, 1), None)
        healthy = {name: store.put_health(Health(name)) for name in ("a", "b", "unasked")}
        made = store.put_key(ClientKey(hash_key("k"), "one", NOW))
        found = store.snapshot(["a", "b", "missing", "a"], [made.hash, hash_key("missing")])
        assert Snapshot(pointer(1, 1), {"a": healthy["a"], "b": healthy["b"]}, {made.hash: made}) == found

    def test_a_large_snapshot_is_complete(self, store: Store) -> None:
        """A snapshot of more items than one batch read may ask for is complete."""
        names = [f"t{number}" for number in range(130)]
        for name in names:
            store.put_health(Health(name))
        assert dict.fromkeys(names, 1) == {n: h.rev for n, h in store.snapshot(names, []).health.items()}


class TestDynamoDb:
    """What only the real table can get wrong: how it asks, and what it does when nobody answers."""

    @pytest.fixture
    def asked(self, dynamo: DynamoTable) -> Counter[str]:
        """How often each operation was asked for."""
        counter: Counter[str] = Counter()
        session = boto3.DEFAULT_SESSION
        assert session is not None
        session.events.register("before-call.dynamodb", lambda model, **_: counter.update([model.name]))
        return counter

    @pytest.mark.parametrize(("targets", "hashes", "calls"), [(0, 0, 1), (60, 39, 1), (61, 39, 2), (200, 0, 3)])
    def test_a_snapshot_is_one_batch_read(
        self, dynamo: DynamoTable, asked: Counter[str], targets: int, hashes: int, calls: int
    ) -> None:
        """The pointer and up to 99 other items are read in exactly one call."""
        names = [f"t{number}" for number in range(targets)]
        Store(dynamo).snapshot(names, [hash_key(str(number)) for number in range(hashes)])
        assert {"BatchGetItem": calls} == asked

    def test_keys_that_a_batch_read_left_are_asked_for_again(self, dynamo: DynamoTable) -> None:
        """A batch read that processed only some of its keys is completed."""
        session = boto3.DEFAULT_SESSION
        assert session is not None

        def leave(parsed: dict[str, Any], **_: Any) -> None:
            items = parsed["Responses"][NAME]
            left = [{name: item[name] for name in ("pk", "sk")} for item in items[1:]]
            parsed["Responses"][NAME] = items[:1]
            parsed["UnprocessedKeys"] = {NAME: {"Keys": left}} if left else {}

        session.events.register("after-call.dynamodb.BatchGetItem", leave)
        store = Store(dynamo)
        for name in ("a", "b", "c"):
            store.put_health(Health(name))
        assert {"a", "b", "c"} == set(store.snapshot(["a", "b", "c"], []).health)

    def test_a_throttled_batch_read_is_an_error(self, dynamo: DynamoTable) -> None:
        """A batch read of which no key was processed raises StoreError instead of asking for ever."""
        session = boto3.DEFAULT_SESSION
        assert session is not None

        def leave_all(parsed: dict[str, Any], **_: Any) -> None:
            parsed["UnprocessedKeys"] = {NAME: {"Keys": [{"pk": {"S": "control"}, "sk": {"S": "pointer"}}]}}

        session.events.register("after-call.dynamodb.BatchGetItem", leave_all)
        with pytest.raises(StoreError, match="throttling"):
            Store(dynamo).snapshot([], [])

    @pytest.mark.parametrize("operation", ["get", "batch", "put", "query", "delete"])
    def test_a_missing_table_is_a_store_error(self, dynamo: DynamoTable, operation: str) -> None:
        """Every operation on a table that is not there raises StoreError that names it, and no Conflict."""
        with pytest.raises(StoreError, match="absent") as caught:
            _operations(DynamoTable("absent"))[operation]()
        assert StoreError is type(caught.value)

    @pytest.mark.parametrize("operation", ["get", "batch", "put", "query", "add", "add_once", "forget", "delete"])
    def test_an_unreachable_table_is_a_store_error_in_time(
        self, credentials: None, fast_retries: None, operation: str
    ) -> None:
        """Every operation on a table that cannot be reached raises StoreError within bounded time."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            table = DynamoTable(NAME, endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}", region=REGION)
            started = time.monotonic()
            with pytest.raises(StoreError, match=NAME):
                _operations(table)[operation]()
        assert True is (time.monotonic() - started < 4.0)

    def test_a_mute_table_is_a_store_error_in_time(
        self, credentials: None, fast_retries: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A table that takes the call and never answers raises StoreError when the read limit has passed."""
        monkeypatch.setattr(dynamodb, "READ_TIMEOUT", 0.2)
        with socket.create_server(("127.0.0.1", 0), backlog=16) as mute:
            table = DynamoTable(NAME, endpoint=f"http://127.0.0.1:{mute.getsockname()[1]}", region=REGION)
            started = time.monotonic()
            with pytest.raises(StoreError, match=NAME):
                table.get(keys.pointer())
        assert True is (time.monotonic() - started < 4.0)

    def test_no_region_is_a_store_error(self, credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client that cannot even be built is a StoreError too."""
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        with pytest.raises(StoreError, match=NAME):
            DynamoTable(NAME).get(keys.pointer())

    @pytest.fixture
    def fast_retries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The pauses between botocore's own tries are random up to seconds; the number of tries stays."""
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.05)


def _operations(table: Table) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: table.get(keys.pointer()),
        "batch": lambda: table.batch([keys.pointer()]),
        "put": lambda: table.put(Item(keys.pointer(), {}, rev=1), seen=0),
        "query": lambda: table.query(keys.CONTROL),
        "add": lambda: table.add(keys.spend("a", "2026-01-01"), {"liveness": 1}, ttl=NOW),
        "add_once": lambda: table.add_once(keys.spent("a", "2026-01", 0), {"01": 1}, "@w", 1, ttl=NOW),
        "forget": lambda: table.forget(keys.spent("a", "2026-01", 0), {"@w": 1}),
        "delete": lambda: table.delete(keys.pointer()),
    }


class TestProbing:
    def test_nothing_is_known_at_first(self, store: Store) -> None:
        """Every target that is asked for has an answer, whatever is written of it."""
        store.put_health(Health("a"))
        assert {"a": Probing(Health("a", rev=1)), "b": Probing()} == store.probing(["a", "b"], NOW)

    def test_how_far_runs_have_come_is_kept_by_stream(self, store: Store) -> None:
        """A run is taken once; what another stream has come to stays."""
        core, drift = Rota(1, NOW, 10), Rota(1, NOW + 5, 3, confirmations=2, confirmed_at=NOW)
        taken = [store.take_run("a", "core", Rota(), core), store.take_run("a", "drift", Rota(), drift)]
        again = [store.take_run("a", "core", Rota(), core), store.take_run("a", "core", core, Rota(2, NOW + 9, 20))]
        assert ([True, True], [False, True]) == (taken, again)
        assert {"core": Rota(2, NOW + 9, 20), "drift": drift} == store.probing(["a"], NOW)["a"].rotas

    def test_a_run_and_a_confirmation_of_one_stream_are_both_taken(self, store: Store) -> None:
        """Each moves its own part of what both have read; neither is taken twice."""
        regular, confirming = Rota(1, NOW, 10), Rota(confirmations=1, confirmed_at=NOW)
        taken = [store.take_run("a", "core", Rota(), after) for after in (regular, confirming, regular, confirming)]
        assert [True, True, False, False] == taken
        assert {"core": Rota(1, NOW, 10, 1, NOW)} == store.probing(["a"], NOW)["a"].rotas

    def test_a_run_is_taken_by_one_of_many(self, store: Store) -> None:
        """Of fifty workers that want the same run one gets it."""
        with ThreadPoolExecutor(RIVALS) as pool:
            taken = list(pool.map(lambda n: store.take_run("a", "core", Rota(), Rota(1, NOW, n)), range(RIVALS)))
        assert 1 == taken.count(True)

    def test_another_streams_write_takes_no_run(self, table: Table) -> None:
        """Who loses the item to a run of another stream tries again and gets its own."""
        inner = Store(table)
        rivals = iter(["drift", "own"])

        def rival(item: Item) -> None:
            if (name := next(rivals, None)) is not None:
                inner.take_run("a", name, Rota(), Rota(1, NOW, 1))

        assert Store(Interrupted(table, rival)).take_run("a", "core", Rota(), Rota(1, NOW, 5))
        assert {"core", "drift", "own"} == set(inner.probing(["a"], NOW)["a"].rotas)

    def test_what_a_day_has_cost_is_added_up_by_kind(self, store: Store) -> None:
        """Dollars are counted exactly to a thousand millionth, by UTC day, and what is smaller is rounded up."""
        store.spend("a", {"quality": Decimal("0.1"), "judge": Decimal("0.000000001")}, NOW)
        store.spend("a", {"quality": Decimal("0.2"), "liveness": Decimal("0.0000000001")}, NOW)
        store.spend("a", {"quality": Decimal("7")}, NOW + 86400)
        smallest = Decimal("0.000000001")
        known = store.probing(["a"], NOW)["a"]
        assert {"quality": Decimal("0.3"), "judge": smallest, "liveness": smallest} == known.spent
        assert Decimal("0.300000002") == known.total
        assert {"quality": Decimal(7)} == store.probing(["a"], NOW + 86400)["a"].spent

    def test_no_cent_is_lost_between_workers(self, store: Store) -> None:
        """Fifty workers that add at once add up."""
        with ThreadPoolExecutor(RIVALS) as pool:
            list(pool.map(lambda n: store.spend("a", {"drift": Decimal(n) / 1000}, NOW), range(RIVALS)))
        assert {"drift": Decimal(sum(range(RIVALS))) / 1000} == store.probing(["a"], NOW)["a"].spent

    def test_a_counter_expires_and_has_no_body(self, table: Table) -> None:
        """An item that is added to holds its sums, and is forgotten when it is of no use."""
        key = keys.spend("a", "2026-09-21")
        assert [{"x": 5}, {"x": 7, "y": -1}] == [
            table.add(key, {"x": 5}, ttl=NOW),
            table.add(key, {"x": 2, "y": -1}, ttl=NOW),
        ]
        assert Item(key, {"x": 7, "y": -1}, ttl=NOW) == table.get(key) == table.batch([key])[key]


def test_an_answer_is_noted_once_and_judged_once(store: Store, table: Table) -> None:
    """It is found by the key and the id that it was noted for, gone after a day, and its first score stays."""
    noted = Answer("r1", "k1", "lead", "chat", NOW)
    store.put_answer(noted)
    judged = replace(noted, score=0.5)
    for again, found in ((noted, noted), (judged, judged), (replace(noted, score=1.0), judged), (noted, judged)):
        if again is not found or again is noted:
            with pytest.raises(Conflict):
                store.put_answer(again)
        else:
            store.put_answer(again)
        assert found == store.answer("k1", "r1")
    assert (None, None) == (store.answer("k2", "r1"), store.answer("k1", "r2"))
    item = table.get(keys.answer("k1", "r1"))
    assert item is not None and NOW + 86_400 == item.ttl


def test_signatures_are_kept_apart_for_each_key(store: Store) -> None:
    """A signature is found under the key and the call that it was kept for, and nowhere else."""
    store.keep("k1", {"call_1": "one", "call_2": "two"}, NOW)
    store.keep("k2", {"call_1": "other"}, NOW)
    assert {"call_1": "one", "call_2": "two"} == store.kept("k1", ["call_1", "call_2", "call_3"])
    assert ({"call_1": "other"}, {}) == (store.kept("k2", ["call_1", "call_2"]), store.kept("k3", ["call_1"]))
