"""What an operator does with client keys: make, change, rotate and revoke them.

Whatever is wrong is told before anything is written, and every write says which revision it has seen.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Protocol

from understudy.audit.change import Action, ControlChange
from understudy.errors import Conflict, StoreError, UnderstudyError
from understudy.facts import Constraints
from understudy.incidents.incident import ACCOUNT
from understudy.keys import ClientKey, KeyLimits, hash_key, new_key
from understudy.services.budget_alerts import end
from understudy.services.current_catalog import CurrentCatalog
from understudy.store_ports import ControlStore, IncidentStore, KeyStore

TRIES = 8
"""Times a conditional write is tried again after losing to another writer."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@:/+-]{0,63}")
LONGEST = 200
MOST_COUNT = 1_000_000_000
MOST_MONEY = Decimal(1_000_000_000)
SMALLEST = Decimal("1e-9")
"""US dollars that are counted."""
OVERLAP = 24.0
"""Hours that the old key of a rotation is good for."""
MOST_OVERLAP = 24.0 * 366


class Store(KeyStore, ControlStore, IncidentStore, Protocol):
    """The part of the store that keys need."""


class KeyRefused(UnderstudyError):
    """Nothing was changed; says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What shall be another way, by the names of `ClientKey`, `KeyLimits` and `Constraints`; the rest stays."""

    key: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.key or self.limits or self.constraints)

    def made_on(self, key: ClientKey) -> ClientKey:
        return replace(
            key,
            **self.key,
            limits=replace(key.limits, **self.limits),
            constraints=replace(key.constraints, **self.constraints),
        )


def create(store: Store, name: str, changes: Changes, *, by: str, now: float) -> tuple[str, ClientKey]:
    """A new key, which is shown once, and what is kept of it.  Raises KeyRefused."""
    problems = (
        [] if NAME.fullmatch(name) else [f"name: {name[:LONGEST]!r} is none; use 1 to 64 letters, digits, ._@:/+-"]
    )
    _refuse([*problems, *_wrong(store, changes.made_on(ClientKey("", name, now)), changes, now)])
    if known := [one for one in store.client_keys() if one.name == name and one.active(now)]:
        hint = f"`understudy keys rotate {known[0].hash[:12]}` makes its successor"
        raise KeyRefused(f"there is a key {name!r} already ({known[0].hash[:12]}); choose another name, or {hint}")
    secret = new_key()
    made = changes.made_on(ClientKey(hash_key(secret), name, now))
    return secret, _recording(store, "key_created", made, by, now).put_key(made)


def change(store: Store, reference: str, changes: Changes, *, by: str, now: float) -> ClientKey:
    """Change an active key, and nothing of it that somebody else changes at the same time.  Raises KeyRefused."""
    if not changes:
        raise KeyRefused("say what to change; `understudy keys set --help` lists it")
    key_hash = find(store, reference, now).hash
    after = _changed(store, key_hash, lambda known: _checked(store, known, changes, now), "key_changed", by, now)
    if {"usd_per_day", "usd_per_month"} & changes.limits.keys():
        # Where most of the new budget is spent as well, the next request says so.
        end(store, ACCOUNT + after.name, f"its budget was changed by {by}", now)
    return after


def rotate(store: Store, reference: str, overlap: float, *, by: str, now: float) -> tuple[str, ClientKey, ClientKey]:
    """A new key with everything of an active one, which ends `overlap` hours from now.  Returns it, what is kept of
    both.  Raises KeyRefused."""
    if not 0 <= overlap <= MOST_OVERLAP:
        raise KeyRefused(f"--overlap: {overlap:g} hours; write 0 to {MOST_OVERLAP:g}")
    old = find(store, reference, now)
    if heirs := [one for one in store.client_keys() if one.replaces == old.hash and one.active(now)]:
        raise KeyRefused(f"{old.hash[:12]} was rotated already, its successor is {heirs[0].hash[:12]}; rotate that one")
    secret = new_key()
    new = replace(old, hash=hash_key(secret), created_at=now, replaces=old.hash, line=old.account, rev=0)
    new = _recording(store, "key_created", new, by, now).put_key(new)
    ends = now + overlap * 3600
    try:
        after = replace(old, expires_at=ends if old.expires_at is None else min(ends, old.expires_at))
        ended = _recording(store, "key_rotated", after, by, now, successor=new.hash[:12]).put_key(after)
    except StoreError as error:
        # Nobody has seen the new key yet.
        taken_back = replace(new, revoked_at=now)
        _recording(store, "key_revoked", taken_back, by, now, because="the rotation failed").put_key(taken_back)
        what = "it was changed by somebody else at the same time" if isinstance(error, Conflict) else str(error)
        raise KeyRefused(f"{old.hash[:12]} was not rotated: {what}; nothing was changed, try again") from error
    return secret, new, ended


def revoke(store: Store, reference: str, *, by: str, now: float) -> ClientKey:
    """End a key for good.  Raises KeyRefused."""
    key_hash = find(store, reference, now).hash
    after = _changed(store, key_hash, lambda known: replace(known, revoked_at=now), "key_revoked", by, now)
    if not any(one.name == after.name and one.active(now) for one in store.client_keys()):
        end(store, ACCOUNT + after.name, f"the key was revoked by {by}", now)
    return after


def find(store: Store, reference: str, now: float, *, ended: bool = False) -> ClientKey:
    """The one active key (`ended`: or other) of that name, or whose hash begins so.  Raises KeyRefused."""
    every = [one for one in store.client_keys() if ended or one.active(now)]
    found = [one for one in every if reference and one.hash.startswith(reference)]
    found = found or [one for one in every if one.name == reference]
    if len(found) == 1:
        return found[0]
    kind = "keys" if ended else "active keys"
    if found:
        told = ", ".join(f"{one.hash[:12]} ({one.name})" for one in found)
        raise KeyRefused(
            f"{len(found)} {kind} are called {reference!r}: {told}; say the first characters of one's hash"
        )
    raise KeyRefused(f"no {kind[:-1]} is called {reference!r} or begins so; `understudy keys list` shows them")


def state_of(key: ClientKey, now: float) -> str:
    """One word: revoked, expired, ending (rotated, or about to expire within a day) or active."""
    if key.revoked_at is not None and now >= key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "active"
    left = key.expires_at - now
    return "expired" if left <= 0 else "ending" if left <= OVERLAP * 3600 else "active"


def left_behind(store: KeyStore, document: Mapping[str, Any], now: float) -> list[str]:
    """A sentence for each active key that names what a canonical document does not have."""
    told = []
    for key in sorted(store.client_keys(), key=lambda one: one.name):
        if not key.active(now):
            continue
        if gone := sorted(key.constraints.classes - (document.get("data_classes") or {}).keys()):
            told.append(
                f"The key `{key.name}` demands the data class {', '.join(gone)}, which the document does not define: "
                "every request of it is answered 403."
            )
        if gone := sorted(key.routes - document["routes"].keys()):
            told.append(f"The key `{key.name}` may ask {', '.join(gone)}, and the document has no such route.")
    return told


def _checked(store: Store, known: ClientKey, changes: Changes, now: float) -> ClientKey:
    if not known.active(now):
        raise KeyRefused(f"{known.hash[:12]} ({known.name}) is {state_of(known, now)}; nothing was changed")
    after = changes.made_on(known)
    _refuse(_wrong(store, after, changes, now))
    return after


def _recording(store: Store, action: Action, key: ClientKey, by: str, now: float, **more: str) -> Store:
    """The store, whose write of the key brings the record of it along."""
    told = {name: value for name, value in key.plain().items() if value and name not in ("hash", "created_at", "line")}
    told |= {"replaces": key.replaces[:12]} if key.replaces else {}
    return store.recording(ControlChange(now, by, action, key.hash[:12], told | more))


def _changed(
    store: Store, key_hash: str, change: Callable[[ClientKey], ClientKey], action: Action, by: str, now: float
) -> ClientKey:
    for _ in range(TRIES):
        known = store.key(key_hash)
        if known is None:
            raise KeyRefused(f"the key {key_hash[:12]} is gone; nothing was changed")
        try:
            after = change(known)
            return _recording(store, action, after, by, now).put_key(after)
        except Conflict:
            continue
    raise KeyRefused(f"the key {key_hash[:12]} changed {TRIES} times meanwhile; nothing was changed, try again")


def _refuse(problems: Iterable[str]) -> None:
    if told := list(problems):
        raise KeyRefused("\n".join(["nothing was changed:", *(f"  {one}" for one in told)]))


def _wrong(store: Store, key: ClientKey, changes: Changes, now: float) -> Iterator[str]:
    """What is wrong with a key as it would be."""
    if len(key.owner) > LONGEST or not key.owner.isprintable():
        yield f"owner: write one line of up to {LONGEST} characters"
    if "expires_at" in changes.key and key.expires_at is not None and key.expires_at <= now:
        yield "expires: that is over; write a later date"
    for name in (one.name for one in fields(KeyLimits)):
        value = getattr(key.limits, name)
        if name in changes.limits and value is not None:
            yield from _wrong_limit(name.replace("_", "-"), value)
    day, month = key.limits.usd_per_day, key.limits.usd_per_month
    if day is not None and month is not None and day > month:
        yield f"usd-per-day: {day:f} is more than the {month:f} of a month"
    yield from _unknown(store, key, changes)
    yield from _contradictions(key.constraints)


def _wrong_limit(name: str, value: int | Decimal) -> Iterator[str]:
    if isinstance(value, Decimal):
        if value <= 0:
            yield f"{name}: {value:f} is no budget; write more than 0, `none`, or revoke the key"
        elif value > MOST_MONEY or value % SMALLEST:
            yield f"{name}: write US dollars up to {MOST_MONEY:f} with at most 9 decimals"
    elif not 1 <= value <= MOST_COUNT:
        yield f"{name}: {value} is no limit; write 1 to {MOST_COUNT}, `none`, or revoke the key"


def _unknown(store: Store, key: ClientKey, changes: Changes) -> Iterator[str]:
    """Names that lead nowhere in the document that is in force."""
    named: dict[str, Iterable[str]] = {"routes": key.routes} if "routes" in changes.key else {}
    for name in ("providers", "models", "denied_providers", "denied_models", "classes"):
        if name in changes.constraints:
            named[name] = getattr(key.constraints, name) or ()
    if not any(named.values()):
        return
    current = CurrentCatalog(store).read()
    if current is None:
        yield f"{', '.join(named)}: no control document is in force; publish one with `understudy publish FILE` first"
        return
    targets = current.targets.values()
    providers, models = {one.provider.name for one in targets}, {one.model for one in targets}
    families = {one.data.family for one in targets if one.data.family}
    known = {"routes": set(current.routes), "providers": providers, "denied_providers": providers, "models": models}
    known["denied_models"] = models | families
    known["classes"] = set(current.data_classes)
    for name, values in named.items():
        for value in sorted(set(values) - known[name]):
            near = difflib.get_close_matches(value, known[name], 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known[name])) or 'none'}"
            option = "data-classes" if name == "classes" else name.replace("_", "-")
            yield f"{option}: there is no {value!r}; {hint}"


def _contradictions(constraints: Constraints) -> Iterator[str]:
    for kind in ("providers", "models"):
        allowed, denied = getattr(constraints, kind), getattr(constraints, f"denied_{kind}")
        if allowed is not None and allowed <= denied:
            yield f"denied-{kind}: everything that {kind} allows is denied"
