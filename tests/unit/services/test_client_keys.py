"""Keys made, changed, rotated and revoked: nothing half-applied, nothing lost to somebody else's change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.services.worlds import NOW, World
from understudy.errors import StoreError
from understudy.facts import Constraints
from understudy.incidents.incident import Incident
from understudy.keys import ClientKey, KeyLimits, hash_key
from understudy.services.client_keys import (
    Changes,
    KeyRefused,
    change,
    create,
    find,
    left_behind,
    revoke,
    rotate,
    state_of,
)
from understudy.store.store import Store

DAY = 86400.0
FULL = Changes(
    key={"owner": "team a", "expires_at": NOW + 30 * DAY, "routes": frozenset({"chat"})},
    limits={"requests_per_minute": 60, "usd_per_day": Decimal("12.5")},
    constraints={"jurisdictions": frozenset({"eu"}), "no_training": True},
)


def made(world: World, name: str = "shop", changes: Changes = FULL) -> tuple[str, ClientKey]:
    return create(world.store, name, changes, by="ann", now=NOW)


def kept(world: World) -> dict[str, ClientKey]:
    return {one.hash: one for one in world.store.client_keys()}


def incident(subject: str) -> Incident:
    return Incident(subject, "budget", "open", "warning", NOW, NOW, NOW, 1, "most is spent", {"day": "$10 of $12.5"})


class TestCreating:
    def test_a_key_has_what_it_was_given(self) -> None:
        """It is shown once; what is kept is its hash and everything that it may and must."""
        world = World()
        secret, key = made(world)
        assert (hash_key(secret), "shop", "team a", NOW) == (key.hash, key.name, key.owner, key.created_at)
        assert KeyLimits(requests_per_minute=60, usd_per_day=Decimal("12.5")) == key.limits
        assert Constraints(jurisdictions=frozenset({"eu"}), no_training=True) == key.constraints
        assert key == world.store.key(key.hash)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            (Changes(limits={"usd_per_day": Decimal("-5")}), "usd-per-day: -5 is no budget"),
            (Changes(limits={"usd_per_month": Decimal(0)}), "usd-per-month: 0 is no budget"),
            (Changes(limits={"usd_per_month": Decimal("1e-12")}), "at most 9 decimals"),
            (Changes(limits={"usd_per_day": Decimal(9), "usd_per_month": Decimal(8)}), "more than the 8 of a month"),
            (Changes(limits={"requests_per_minute": 0}), "requests-per-minute: 0 is no limit"),
            (Changes(limits={"concurrent": 10**12}), "concurrent: 1000000000000 is no limit"),
            (Changes(key={"expires_at": NOW}), "expires: that is over"),
            (Changes(key={"owner": "a\nb"}), "owner: write one line"),
            (Changes(key={"routes": frozenset({"chta"})}), "there is no 'chta'; did you mean chat?"),
            (Changes(constraints={"denied_providers": frozenset({"amce"})}), "did you mean acme?"),
            (Changes(constraints={"classes": frozenset({"phi"})}), "data-classes: there is no 'phi'; there are none"),
            (Changes(constraints={"models": frozenset({"huge"})}), "there are large, small"),
            (
                Changes(constraints={k: frozenset({"acme"}) for k in ("providers", "denied_providers")}),
                "everything that providers allows is denied",
            ),
        ],
    )
    def test_what_is_wrong_is_told_and_nothing_written(self, changes: Changes, says: str) -> None:
        """With its place and a reason, together with whatever else is wrong."""
        world = World()
        before = kept(world)
        with pytest.raises(KeyRefused) as caught:
            create(world.store, "sh#op", changes, by="ann", now=NOW)
        assert (True, True) == (says in str(caught.value), "name: 'sh#op' is none" in str(caught.value))
        assert before == kept(world)

    def test_two_active_keys_have_two_names(self) -> None:
        """A name stands for one caller; that of a key that has ended is free again."""
        world = World()
        _, first = made(world)
        with pytest.raises(KeyRefused, match=f"rotate {first.hash[:12]}"):
            made(world)
        revoke(world.store, "shop", by="me", now=NOW)
        assert first.hash != made(world)[1].hash

    def test_routes_need_a_document(self) -> None:
        """Before the first publication nobody knows which routes there are."""
        world = World()
        world.table.delete(("control", "pointer"))
        with pytest.raises(KeyRefused, match="publish one"):
            made(world)


class TestChanging:
    def test_what_is_not_named_stays(self) -> None:
        """A limit is changed, another taken away, and the rest is as it was."""
        world = World()
        _, key = made(world)
        limits = {"requests_per_minute": None, "usd_per_day": Decimal(20)}
        after = change(world.store, "shop", Changes(limits=limits), by="me", now=NOW)
        assert replace(key, limits=KeyLimits(usd_per_day=Decimal(20)), rev=2) == after == world.store.key(key.hash)

    def test_two_who_change_a_key_at_once_both_do(self) -> None:
        """The second write finds that the first came in between, and is made on top of it: no update is lost."""
        world = World()
        _, key = made(world)
        world.table.before_put = lambda: change(
            world.store, "shop", Changes(limits={"concurrent": 3}), by="other", now=NOW
        )
        change(world.store, "shop", Changes(limits={"tokens_per_minute": 900}), by="me", now=NOW)
        assert replace(key.limits, concurrent=3, tokens_per_minute=900) == kept(world)[key.hash].limits

    def test_a_revocation_is_not_undone_by_a_change(self) -> None:
        """Who changes a key that is revoked at the same moment is told so, and it stays revoked."""
        world = World()
        _, key = made(world)
        world.table.before_put = lambda: revoke(world.store, "shop", by="other", now=NOW)
        with pytest.raises(KeyRefused, match="is revoked"):
            change(world.store, "shop", Changes(limits={"concurrent": 3}), by="me", now=NOW)
        assert not kept(world)[key.hash].active(NOW)

    def test_a_new_budget_ends_the_incident_of_the_old_one(self) -> None:
        """With the name of who changed it; where most of the new one is spent as well, the next request says so."""
        world = World()
        made(world)
        world.store.put_incident(incident("key:shop"))
        change(world.store, "shop", Changes(limits={"usd_per_day": Decimal(99)}), by="me", now=NOW)
        after = world.store.incident("key:shop", "budget")
        assert after is not None
        assert ("resolved", "its budget was changed by me") == (after.status, after.facts["over"])

    def test_nothing_to_change_is_refused(self) -> None:
        """Rather than done."""
        with pytest.raises(KeyRefused, match="say what to change"):
            change(World().store, "app", Changes(), by="me", now=NOW)


class TestRotating:
    def test_the_new_key_has_everything_of_the_old_one(self) -> None:
        """Both are good until the overlap is over; they share one account, through every further rotation."""
        world = World()
        _, old = made(world)
        secret, new, ended = rotate(world.store, "shop", 24.0, by="ann", now=NOW)
        assert replace(old, hash=hash_key(secret), replaces=old.hash, line=old.hash) == new
        assert replace(old, expires_at=NOW + DAY, rev=2) == ended == world.store.key(old.hash)
        assert [True, True, False] == [ended.active(NOW), ended.active(NOW + DAY - 1), ended.active(NOW + DAY)]
        _, third, _ = rotate(world.store, new.hash[:12], 0.0, by="ann", now=NOW + 1)
        assert (old.account, new.hash) == (third.account, third.replaces)

    def test_a_key_that_ends_sooner_is_not_prolonged(self) -> None:
        """The overlap is the longest that the old one lives."""
        world = World()
        made(world, changes=Changes(key={"expires_at": NOW + 60}))
        assert NOW + 60 == rotate(world.store, "shop", 24.0, by="ann", now=NOW)[2].expires_at

    def test_a_key_is_rotated_once(self) -> None:
        """The successor is rotated next, so that two operators do not make two."""
        world = World()
        _, old = made(world)
        _, new, _ = rotate(world.store, "shop", 24.0, by="ann", now=NOW)
        with pytest.raises(KeyRefused, match=f"its successor is {new.hash[:12]}"):
            rotate(world.store, old.hash, 24.0, by="ann", now=NOW)

    @pytest.mark.parametrize("how", ["rival", "failure"])
    def test_a_rotation_that_fails_half_way_leaves_no_key(self, how: str) -> None:
        """Where the old key cannot be ended the new one, which nobody has seen, is revoked again."""
        world = World()
        _, old = made(world)
        writes: list[ClientKey] = []

        class Disturbed(Store):
            def put_key(self, key: ClientKey) -> ClientKey:
                writes.append(key)
                if len(writes) == 2 and how == "failure":
                    raise StoreError("the table is down")
                if len(writes) == 2:
                    world.store.put_key(replace(old, owner="somebody else"))
                return super().put_key(key)

        with pytest.raises(KeyRefused, match="was not rotated"):
            rotate(Disturbed(world.table), "shop", 24.0, by="ann", now=NOW)
        assert [old.hash] == [one.hash for one in kept(world).values() if one.name == "shop" and one.active(NOW)]

    @pytest.mark.parametrize("overlap", [-1.0, float("nan"), 1e9])
    def test_an_overlap_is_hours(self, overlap: float) -> None:
        """Not less than nothing, nor years."""
        world = World()
        made(world)
        with pytest.raises(KeyRefused, match="--overlap"):
            rotate(world.store, "shop", overlap, by="ann", now=NOW)


class TestFinding:
    def test_by_name_or_by_the_beginning_of_the_hash(self) -> None:
        """One that fits several, or none, is refused with what there is."""
        world = World()
        _, old = made(world)
        _, new, _ = rotate(world.store, "shop", 24.0, by="ann", now=NOW)
        assert new == find(world.store, new.hash[:9], NOW)
        for reference in ("shop", "nobody", ""):
            with pytest.raises(KeyRefused):
                find(world.store, reference, NOW)
        assert find(world.store, "app", NOW).hash == hash_key("us-key")
        assert ("ending", "active") == (state_of(kept(world)[old.hash], NOW), state_of(new, NOW))

    @pytest.mark.parametrize(
        ("changed", "state"),
        [
            (lambda key: replace(key, revoked_at=NOW), "revoked"),
            (lambda key: replace(key, expires_at=NOW), "expired"),
            (lambda key: replace(key, expires_at=NOW + 60), "ending"),
            (lambda key: replace(key, expires_at=NOW + 2 * DAY), "active"),
            (lambda key: key, "active"),
        ],
    )
    def test_a_state_is_one_word(self, changed: Callable[[ClientKey], ClientKey], state: str) -> None:
        """For people and machines alike."""
        assert state == state_of(changed(ClientKey("a" * 64, "app", NOW)), NOW)


class TestRecords:
    def test_every_change_of_a_key_is_recorded_with_it(self) -> None:
        """Who made, changed, rotated and revoked it; neither the key nor its hash as a whole is in a record."""
        world = World()
        secret, old = made(world)
        change(world.store, "shop", Changes(key={"owner": "billing"}), by="bob", now=NOW)
        _, new, _ = rotate(world.store, "shop", 0.0, by="cy", now=NOW)
        revoke(world.store, new.hash[:12], by="dee", now=NOW)
        records = [one["record"] for one in world.store.changes()[1:]]
        expected = [
            ("ann", "key_created", old.hash[:12]),
            ("bob", "key_changed", old.hash[:12]),
            ("cy", "key_created", new.hash[:12]),
            ("cy", "key_rotated", old.hash[:12]),
            ("dee", "key_revoked", new.hash[:12]),
        ]
        assert expected == [(one["by"], one["action"], one["subject"]) for one in records]
        said = json.dumps(records)
        assert (False, False) == (secret in said, old.hash in said)


def test_keys_that_a_document_leaves_behind_are_told() -> None:
    """Those that name a data class or a route which it does not have; keys that have ended are nobody's trouble."""
    world = World()
    keys = {
        "careful": {"constraints": Constraints(classes=frozenset({"phi"}))},
        "narrow": {"routes": frozenset({"chat", "old"})},
        "fine": {"routes": frozenset({"chat"})},
        "ended": {"routes": frozenset({"old"}), "revoked_at": NOW},
    }
    for name, fields in keys.items():
        world.store.put_key(ClientKey(hash_key(name), name, 0.0, **fields))  # type: ignore[arg-type]
    told = left_behind(world.store, {"routes": {"chat": {}}, "data_classes": {"public": {}}}, NOW)
    assert ["careful", "narrow"] == [one.split("`")[1] for one in told]
    assert ("data class phi" in told[0], "may ask old," in told[1]) == (True, True)
