"""Client keys: what the router knows of a caller.  The key itself is never stored, only its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal
from typing import Any

from understudy.facts import NO_CONSTRAINTS, Constraints, constraints_from, plain_constraints

PREFIX = "us-"


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What the requests of one key may take together; None means no limit.  Minutes and days are those of UTC.

    `concurrent` requests at a time; tokens are those of prompts and answers; money is in US dollars.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None

    def __bool__(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client key.  `hash` is the hex SHA-256 of the key; times are epoch seconds.

    `routes` are the only ones it may ask, none meaning all; `constraints` tighten those of every route; `owner` is who
    answers for it; `replaces` the hash of the key that this one was rotated from, and `line` that of the first one
    before it.
    """

    hash: str
    name: str
    created_at: float
    revoked_at: float | None = None
    owner: str = ""
    expires_at: float | None = None
    routes: frozenset[str] = frozenset()
    constraints: Constraints = NO_CONSTRAINTS
    limits: KeyLimits = field(default_factory=KeyLimits)
    replaces: str = ""
    line: str = ""
    rev: int = 0

    @property
    def account(self) -> str:
        """What its requests count for: a key that was rotated goes on with the limits and the money of the old one."""
        return self.line or self.hash

    def may_ask(self, route: str) -> bool:
        """Whether a route exists for it."""
        return not self.routes or route in self.routes

    def active(self, now: float) -> bool:
        """Whether it is good at `now`."""
        revoked = self.revoked_at is not None and now >= self.revoked_at
        return not revoked and (self.expires_at is None or now < self.expires_at)

    def plain(self) -> dict[str, Any]:
        """JSON-able form, without the revision; money as text."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rev"}
        limits = {n: str(v) if isinstance(v, Decimal) else v for n, v in asdict(self.limits).items() if v is not None}
        constraints = plain_constraints(self.constraints)
        return given | {"routes": sorted(self.routes), "constraints": constraints, "limits": limits}


def key_from(plain: Mapping[str, Any], rev: int = 0) -> ClientKey:
    """The key that `plain()` wrote, or an older version did; fields of a newer one are ignored."""
    known = {f.name: plain[f.name] for f in fields(ClientKey) if f.name in plain}
    limits = dict(plain.get("limits") or {})
    money = {name: Decimal(limits[name]) for name in ("usd_per_day", "usd_per_month") if limits.get(name) is not None}
    built = {f.name: limits[f.name] for f in fields(KeyLimits) if f.name in limits} | money
    return ClientKey(
        **known
        | {
            "routes": frozenset(plain.get("routes") or ()),
            "constraints": constraints_from(plain.get("constraints") or {}),
            "limits": KeyLimits(**built),
            "rev": rev,
        }
    )


def hash_key(key: str) -> str:
    """Hex SHA-256.  The keys are 256 random bits, so a slow password hash would add nothing but latency."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """A fresh key: 256 bits from the operating system."""
    return PREFIX + secrets.token_urlsafe(32)
