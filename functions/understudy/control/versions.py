"""Published versions of the control document and the pointer that says which one is in force.

The data plane imports this module, so it knows neither the schema library nor YAML.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which version is in force.  `rev` grows by one with each move; `moved_at` is in epoch seconds."""

    version: int
    rev: int
    moved_at: float
    moved_by: str


@dataclass(frozen=True, slots=True)
class Version:
    """One published document, never changed afterwards.

    `source` is the YAML as written, `document` its canonical form (plain JSON, every default filled in) and
    `digest` the SHA-256 of that form.  `published_at` is in seconds since the epoch.
    """

    number: int
    source: str
    document: Mapping[str, Any]
    digest: str
    published_at: float
    published_by: str
    note: str


def canonical_json(document: Mapping[str, Any]) -> str:
    """The one JSON text of a document: sorted keys, no spaces, ASCII only."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits; equal for documents that mean the same."""
    return hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()


def packed(source: str, document: Mapping[str, Any]) -> str:
    """Source and canonical form as one short text: a thousand targets say mostly the same, and an item holds 400 KB."""
    text = json.dumps([source, canonical_json(document)])
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def plain(version: Version) -> dict[str, Any]:
    """JSON-able form of a version, as it is stored."""
    fields = asdict(version)
    return fields | {"packed": packed(fields.pop("source"), fields.pop("document"))}


def version_from(plain: Mapping[str, Any]) -> Version:
    """The version that `plain` wrote, or that was written before versions were packed."""
    fields = dict(plain)
    if "packed" in fields:
        source, document = json.loads(zlib.decompress(base64.b64decode(fields.pop("packed"))))
        fields |= {"source": source, "document": json.loads(document)}
    return Version(**fields)
