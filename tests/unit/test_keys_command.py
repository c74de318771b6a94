"""`understudy keys`, as an operator uses it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.services.worlds import World
from understudy import bootstrap
from understudy.cli import main
from understudy.commands.keys import _moment
from understudy.facts import Constraints
from understudy.keys import ClientKey, KeyLimits, hash_key

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(bootstrap, "operator_store", lambda table: world.store)
    return world


@pytest.fixture
def keys(world: World, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with these words: its exit code and what it wrote."""

    def run(action: str, *words: str) -> tuple[int, str, str]:
        code = main(["keys", action, *words, "--table", "t"])
        return (code, *capsys.readouterr())

    return run


def kept(world: World, name: str) -> ClientKey:
    return next(one for one in world.store.client_keys() if one.name == name)


EVERYTHING = (
    "--owner team-a --expires 2099-12-31 --routes chat --requests-per-minute 60 --tokens-per-minute 9000 --concurrent "
    "4 --usd-per-day 12.50 --usd-per-month 100 --jurisdictions EU,us --certifications soc2 --denied-models small "
    "--max-retention-days 30 --no-training --pii redact"
)


def test_a_key_is_made_with_everything_that_it_may(world: World, keys: Run) -> None:
    """It is shown once, on the first line; the rest is kept."""
    code, out, err = keys("create", "shop", *EVERYTHING.split())
    key = kept(world, "shop")
    assert (0, "", hash_key(out.split()[0])) == (code, err, key.hash)
    limits = KeyLimits(60, 9000, 4, Decimal("12.50"), Decimal(100))
    demands = Constraints(
        jurisdictions=frozenset({"eu", "us"}),
        max_retention_days=30,
        no_training=True,
        certifications=frozenset({"SOC2"}),
        denied_models=frozenset({"small"}),
        pii="redact",
    )
    assert ("team-a", 4_102_444_800.0, frozenset({"chat"})) == (key.owner, key.expires_at, key.routes)
    assert (limits, demands) == (key.limits, key.constraints)


def test_every_mistake_is_told_at_once_and_nothing_is_made(world: World, keys: Run) -> None:
    """Each with the option that it is in and what to write; the exit code says so."""
    before = world.store.client_keys()
    words = "--expires tomorrow --usd-per-day five --concurrent 1.5 --jurisdictions E!U --no-training maybe --pii some"
    code, out, err = keys("create", "shop", *words.split())
    assert (1, "") == (code, out)
    for option in ("expires", "usd-per-day", "concurrent", "jurisdictions", "no-training", "pii"):
        assert f"  {option}: " in err
    assert before == world.store.client_keys()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--usd-per-day -5", "usd-per-day: -5 is no budget"),
        ("--requests-per-minute -1", "requests-per-minute: -1 is less than nothing"),
        ("--expires 2020-01-01", "expires: that is over"),
        ("--routes nowhere", "there is no 'nowhere'"),
    ],
)
def test_what_cannot_be_is_refused(keys: Run, words: str, says: str) -> None:
    """Negative budgets, dates in the past, unknown routes."""
    code, _, err = keys("create", "shop", *words.split())
    assert (1, True) == (code, says in err)


def test_keys_are_listed_with_limits_and_state(keys: Run) -> None:
    """For people in columns, for machines as JSON; never the key itself."""
    _, made, _ = keys("create", "shop", *EVERYTHING.split())
    _, out, _ = keys("list")
    head, *lines = out.splitlines()
    assert ["HASH", "NAME", "OWNER", "STATE", "EXPIRES", "ROUTES", "LIMITS"] == head.split()
    line = next(line for line in lines if " shop " in line)
    for word in ("team-a", "active", "2100-01-01 00:00:00 UTC", "requests-per-minute 60", "usd-per-day 12.50"):
        assert word in line
    _, out, _ = keys("list", "--json")
    listed = {one["name"]: one for one in json.loads(out)}
    assert ("active", "12.50", ["chat"]) == (
        listed["shop"]["state"],
        listed["shop"]["limits"]["usd_per_day"],
        listed["shop"]["routes"],
    )
    assert made.split()[0] not in out


def test_a_key_is_shown_with_what_it_has_taken(world: World, keys: Run) -> None:
    """Money of the day and the month, and the minute so far."""
    world.store.take(kept(world, "app").account, time.time(), requests=3, tokens=70, lease=time.time() + 60)
    code, out, _ = keys("show", "app", "--json")
    shown: dict[str, Any] = json.loads(out)
    assert (0, 1, "0") == (code, shown["taken"]["concurrent"], shown["taken"]["usd_today"])
    code, out, _ = keys("show", "app")
    assert (0, True) == (code, "$0 today, $0 this month (UTC)" in out)


def test_a_key_is_changed_rotated_and_revoked(world: World, keys: Run) -> None:
    """Words take limits away again; a rotated key works beside its successor until it ends."""
    keys("create", "shop", *EVERYTHING.split())
    words = "--usd-per-day none --usd-per-month none --routes all --expires never --jurisdictions none --no-training no"
    assert 0 == keys("set", "shop", *words.split())[0]
    key = kept(world, "shop")
    assert (KeyLimits(60, 9000, 4), frozenset(), None) == (key.limits, key.routes, key.expires_at)
    assert (None, False) == (key.constraints.jurisdictions, key.constraints.no_training)
    code, out, _ = keys("rotate", "shop", "--overlap", "2")
    new = next(one for one in world.store.client_keys() if one.hash == hash_key(out.split()[0]))
    assert (0, key.hash, key.limits) == (code, new.replaces, new.limits)
    assert f"({new.name}) replaces {key.hash[:12]}, which ends " in out
    code, out, err = keys("revoke", "shop")
    assert (1, "", True) == (code, out, "2 active keys are called 'shop'" in err)
    assert 0 == keys("revoke", key.hash[:12])[0]
    assert [new.hash] == [
        one.hash for one in world.store.client_keys() if one.name == "shop" and one.active(time.time())
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("never", None),
        ("12h", 43_200.0),
        ("90d", 7_776_000.0),
        ("1970-01-02", 172_800.0),
        ("1970-01-02T00:00Z", 86_400.0),
        ("1970-01-02T00:00+01:00", 82_800.0),
        ("1970-01-02T00:00", 86_400.0),
    ],
)
def test_a_moment_is_a_day_a_time_or_a_span(text: str, moment: float | None) -> None:
    """A day counts to its end; a time without a zone is UTC."""
    assert moment == _moment(text, 0.0)


@pytest.mark.parametrize("text", ["", "soon", "0d", "2027-13-01", "9999-12-31", "12m", "2027-1-1"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match="write such as"):
        _moment(text, 0.0)
