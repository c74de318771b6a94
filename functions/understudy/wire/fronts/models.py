"""The list of routes, in a shape that the clients of both families read.

Sources: the OpenAI API reference, "Models", and the Anthropic API reference, "Models".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from understudy.errors import UnknownModel

# Nobody knows when a route was made; the references want a date.
_CREATED = {"created": 0, "created_at": "1970-01-01T00:00:00Z"}


def models(names: Collection[str]) -> dict[str, Any]:
    """All routes, on one page."""
    data = [_model(name) for name in names]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": False, **ends}


def model(name: str, names: Collection[str]) -> Mapping[str, Any]:
    """One route; its name may come as it is or quoted for a path.  Raises UnknownModel."""
    name = name if name in names else unquote(name)
    if name not in names:
        raise UnknownModel(f"There is no model {name!r} here; there are: {', '.join(sorted(names))}.", param="model")
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "understudy", "type": "model", "display_name": name, **_CREATED}
