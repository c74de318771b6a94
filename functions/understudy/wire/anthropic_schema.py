"""JSON schemas as Anthropic's structured outputs take them.

Source: platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations": objects must be
closed, and keywords outside a small set are refused.  As the provider's own client libraries do, a refused keyword
is told to the model in the description, and `oneOf` goes as `anyOf`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_KEPT = frozenset(
    {"$ref", "$defs", "definitions", "type", "enum", "const", "default", "title", "description", "format"}
    | {"properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "allOf", "minItems"}
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
# Says which dialect or document the schema is; nothing about the answer.
_ABOUT = frozenset({"$schema", "$id", "$comment"})


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema for this provider.  Raises ValueError where an object is meant to be open."""
    if schema.get("additionalProperties") not in (None, False):
        raise ValueError("objects with additional properties are not supported")
    closed = {_rename(name): _within(name, value) for name, value in schema.items() if _carried(name, value)}
    told = {k: v for k, v in schema.items() if not _carried(k, v) and k not in _ABOUT}
    if told:
        said = [schema["description"]] if isinstance(schema.get("description"), str) else []
        closed["description"] = "\n\n".join([*said, json.dumps(told, ensure_ascii=False)])
    if schema.get("type") == "object" or "properties" in schema:
        closed["additionalProperties"] = False
    return closed


def _carried(name: str, value: object) -> bool:
    if name == "format":
        return value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    return name in _KEPT


def _rename(name: str) -> str:
    return "anyOf" if name == "oneOf" else name


def _within(name: str, value: Any) -> Any:
    if name in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
        return {key: _schema(inner) for key, inner in value.items()}
    if name in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
        return [_schema(inner) for inner in value]
    return _schema(value) if name == "items" else value


def _schema(value: Any) -> Any:
    return closed_schema(value) if isinstance(value, Mapping) else value
