"""A value that fits a JSON schema, chosen deterministically: what a simulated model puts into its JSON."""

from collections.abc import Mapping
from typing import Any

# A schema that requires itself has no finite value; below this depth it gets null.
DEEPEST = 12

FORMATS = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def fill(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object with every required property of an object schema (anything else gives an empty object)."""
    value = _value(schema, schema, "value", 0)
    return value if isinstance(value, dict) else {}


def _value(schema: Any, root: Mapping[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return None
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), root, name, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _value(_first_that_is_something(schema[key]), root, name, depth + 1)
    if schema.get("allOf"):
        merged = {key: value for part in schema["allOf"] for key, value in part.items()}
        return _value({**schema, "allOf": None, **merged}, root, name, depth + 1)
    return _by_type(schema, root, name, depth)


def _by_type(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object":
        properties = schema.get("properties") or {}
        return {key: _value(properties.get(key, {}), root, key, depth + 1) for key in schema.get("required", [])}
    if kind == "array":
        length = max(1, schema.get("minItems", 1)) if schema.get("maxItems", 1) else 0
        return [_value(schema.get("items", {}), root, name, depth + 1) for _ in range(length)]
    if kind in ("integer", "number"):
        return schema.get("minimum", min(1, schema.get("maximum", 1)))
    if kind == "boolean":
        return True
    return None if kind == "null" else _string(schema, name)


def _string(schema: Mapping[str, Any], name: str) -> str:
    text = FORMATS.get(schema.get("format", ""), f"simulated {name}")
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _first_that_is_something(options: list[Any]) -> Any:
    return next((option for option in options if option.get("type") != "null"), options[0])


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
