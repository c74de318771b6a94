"""Client keys: what the router knows of a caller.  The key itself is never stored, only its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

PREFIX = "us-"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client key.  `hash` is the hex SHA-256 of the key; times are epoch seconds."""

    hash: str
    name: str
    created_at: float
    revoked_at: float | None = None

    @property
    def active(self) -> bool:
        return self.revoked_at is None


def hash_key(key: str) -> str:
    """Hex SHA-256.  The keys are 256 random bits, so a slow password hash would add nothing but latency."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """A fresh key: 256 bits from the operating system."""
    return PREFIX + secrets.token_urlsafe(32)
