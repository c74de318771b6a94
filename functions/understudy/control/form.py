"""What every part of the schema has in common."""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)
"""A mapping of known names; values are of the type that is written, and nothing is guessed."""
