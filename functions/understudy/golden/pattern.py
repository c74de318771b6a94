"""Regular expressions that cannot take for ever.

Those of a control document are somebody's own, and an answer is a model's; with Python's engine, which backtracks, a
pair of them can run for hours.  The schema library brings an engine whose time grows with the text alone; it knows
neither look-around nor references back, and says so of a pattern that has them.
"""

from __future__ import annotations

from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_PATTERN = 500


@lru_cache(maxsize=600)
def _compiled(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def mistake(pattern: str) -> str:
    """What is wrong with a pattern, in words; empty where nothing is."""
    if len(pattern) > MAX_PATTERN:
        return f"it has {len(pattern)} characters; {MAX_PATTERN} are allowed"
    try:
        _compiled(pattern)
    except SchemaError as error:
        # The engine draws the pattern with a mark below; its last line says what is wrong.
        return str(error).strip().splitlines()[-1].strip().removeprefix("SchemaError: ").removeprefix("error: ")
    return ""


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern`, which has no mistake, is anywhere in `text`; `^` and `$` bind it to the ends."""
    return _compiled(pattern).isinstance_python(text)
