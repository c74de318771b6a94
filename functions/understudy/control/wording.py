"""What the schema found, in words for the person who wrote the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy.control.checks import NO_REFERENCE, PASTED_KEY, REFERENCES, WrongError, guess, tidy
from understudy.control.paths import Path, written
from understudy.control.source import Finding, Mark, Tree, kind
from understudy.errors import Problem

_NAMED = ("providers", "targets", "routes", "data_classes", "golden_sets")
_EXAMPLES = {
    "schema": "schema: 1",
    "providers": "providers: {NAME: {wire: openai, base_url: https://api.example.com/v1}}",
    "targets": "targets: {NAME: {provider: NAME, model: MODEL}}",
    "routes": "routes: {NAME: {targets: [TARGET]}}",
    "routes.NAME.targets": "targets: [TARGET]",
    "wire": "wire: openai",
    "base_url": "base_url: https://api.example.com/v1",
    "header": "header: Authorization",
    "scheme": "scheme: Bearer",
    "secret": "secret: env:NAME",  # nosec B105
    "service": "service: bedrock",
    "region": "region: eu-central-1",
    "model": "model: the-name-the-provider-uses",
    "input_per_million": 'input_per_million: "2.50"',
    "output_per_million": 'output_per_million: "10"',
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NUMBERS = {"int_type": "a whole number", "int_from_float": "a whole number", "int_parsing": "a whole number"}


def findings(errors: Iterable[Mapping[str, Any]], tree: Tree, fields: Mapping[str, Any]) -> Iterator[Finding]:
    """Put the schema library's errors into words.  `fields` is every field of the schema by its path."""
    for error in errors:
        path: Path = tuple(error["loc"])
        if path and path[-1] == "[key]":
            path = path[:-1]
        message, fix = _said(error, path, tree, fields)
        yield Finding(path, message, fix)


def _said(error: Mapping[str, Any], path: Path, tree: Tree, fields: Mapping[str, Any]) -> tuple[str, str]:
    sort, value, context = str(error["type"]), error.get("input"), error.get("ctx", {})
    if isinstance(wrong := context.get("error"), WrongError):
        return wrong.message, wrong.fix
    if pattern(path) == "providers.NAME.auth.secret" and sort == "string_type" and value is not None:
        return NO_REFERENCE, REFERENCES
    if sort == "missing":
        name = str(path[-1])
        example = _EXAMPLES.get(pattern(path)) or _EXAMPLES.get(name, f"{name}: …")
        return "is missing.", f"write `{example}`"
    if sort == "extra_forbidden":
        return _unknown(path, fields)
    if sort in _BOUNDS:
        return _bound(sort, context, path, value, fields)
    if sort in ("too_short", "too_long"):
        return _length(path, context, sort, value)
    if sort == "literal_error":
        return _literal(path, value, context)
    return _type(sort, path, value, tree) or (f"is not valid: {error['msg']}.", "")


def _unknown(path: Path, fields: Mapping[str, Any]) -> tuple[str, str]:
    name, above = str(path[-1]), pattern(path[:-1])
    depth = above.count(".") + 1 if above else 0
    known = [field.rsplit(".", 1)[-1] for field in fields if field.startswith(above) and field.count(".") == depth]
    if above == "providers.NAME" and any(word in name.lower() for word in ("key", "token", "secret")):
        example = "write `auth: {header: Authorization, scheme: Bearer, secret: env:NAME}`"
        return f"there is no field `{name}` here; a credential goes under `auth`.", example
    return f"there is no field `{name}` here.", guess(name, known)


def _bound(sort: str, context: Mapping[str, Any], path: Path, value: Any, fields: Mapping[str, Any]) -> tuple[str, str]:
    words, key = _BOUNDS[sort]
    default = fields.get(pattern(path))
    bound = f"{words} {context[key]:.10g}"
    known = f"; the default is {default:.10g}" if isinstance(default, int | float) else ""
    return f"must be {bound}, found {shown(value, path)}.", f"write {bound}{known}"


def _length(path: Path, context: Mapping[str, Any], sort: str, value: Any = None) -> tuple[str, str]:
    if sort == "too_long":
        # The schema library does not count a mapping to its end.
        return f"has {len(value)} entries; at most {context['max_length']} are allowed.", ""
    if pattern(path) == "routes.NAME.targets":
        return "the route has no targets.", "name at least one target, such as `targets: [lead, understudy]`"
    return f"there are no {path[-1]}.", f"define at least one under `{path[-1]}`"


def _literal(path: Path, value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    known = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
    return f"there is no {path[-1]} {shown(value, path)}.", guess(value if isinstance(value, str) else "", known)


def _type(sort: str, path: Path, value: Any, tree: Tree) -> tuple[str, str] | None:
    found = shown(value, path)
    entry = pattern(path) == "routes.NAME.targets[]"
    if path in tree.bare and value is not None and (sort == "string_type" or entry):
        if _secretive(path):
            return f"expected text, but YAML reads the bare value (not shown) as {kind(value)}.", "quote it"
        wanted = "the name of a target" if entry else "text"
        message = f"expected {wanted}, but YAML reads the bare word `{tree.bare[path]}` as {kind(value)}."
        return message, f'quote it: "{tree.bare[path]}"'
    if entry:
        return f"expected a target, found {found}.", "write its name, or {target: NAME, order: 1, weight: 1}"
    if sort == "string_type":
        return (
            f"expected text, found {found}.",
            "write one line of text" if value is not None else "write it or remove it",
        )
    if sort == "bool_type":
        return f"expected true or false, found {found}.", "write `true` or `false`, without quotes"
    if sort in _NUMBERS or sort in ("float_type", "float_parsing", "finite_number"):
        seconds = str(path[-1]).endswith("_s")
        fix = "write seconds as a plain number, such as 5" if seconds else "write digits only, without quotes or units"
        return f"expected {_NUMBERS.get(sort, 'a number')}, found {found}.", fix
    if sort == "list_type" and value is None and pattern(path) == "routes.NAME.targets":
        return _length(path, {}, sort)
    if sort == "list_type":
        fix = f"write [{value}]" if isinstance(value, str) and not _secretive(path) else "write a list, such as [a, b]"
        return f"expected a list, found {found}.", fix
    if sort in ("dict_type", "model_type", "model_attributes_type"):
        empty = "remove the line, or write something below it"
        return (
            f"expected a mapping, found {found}.",
            empty if value is None else "write `name: value` lines below it",
        )
    return None


def pattern(path: Path) -> str:
    """The path of the schema's field: `("targets", "a", "model")` -> `targets.NAME.model`."""
    text = ""
    for depth, part in enumerate(path):
        if isinstance(part, int):
            text += "[]"
        else:
            named = depth == 1 and path[0] in _NAMED
            text += ("." if text else "") + ("NAME" if named else part)
    return text


def shown(value: Any, path: Path = ()) -> str:
    """A value as it may be repeated in a message: short, on one line, never something that may be a key."""
    if _secretive(path) and isinstance(value, str | int | float):
        return f"{kind(value).replace('text', 'a text')} (not shown)"
    if isinstance(value, str):
        if PASTED_KEY.search(value):
            return "a text (not shown)"
        return f"`{tidy(value, 60)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, int | float) else kind(value)


def _secretive(path: Path) -> bool:
    return bool(path) and path[0] == "providers" and ("auth" in path[2:] or "headers" in path[2:])


def first_of_each(*stages: Iterable[Finding]) -> list[Finding]:
    """All findings, but of each place only those of the first stage that complains about it."""
    kept: list[Finding] = []
    for stage in stages:
        known = {finding.path for finding in kept}
        kept += [finding for finding in stage if finding.path not in known]
    return kept


def problems(found: Sequence[Finding], tree: Tree, filename: str, most: int) -> list[Problem]:
    """In the order of the document, each with its line; at most `most`, then one that counts the rest."""
    placed = [(finding, finding.mark or tree.mark(finding.path)) for finding in found]
    placed.sort(key=lambda pair: (pair[1].line, pair[1].column) if pair[1] else (0, 0))
    listed = [_problem(finding, mark, filename) for finding, mark in placed[:most]]
    if len(placed) > most:
        listed.append(Problem(filename, f"has at least {len(placed) - most} more problems.", "correct these first."))
    return listed


def _problem(finding: Finding, mark: Mark | None, filename: str) -> Problem:
    place = f" (line {mark.line}, column {mark.column})" if mark else ""
    path = tidy(written(finding.path) or filename, 300) + place
    fix = tidy(finding.fix, 600)
    return Problem(path, tidy(finding.message, 600), fix if not fix or fix.endswith("?") else f"{fix}.")
