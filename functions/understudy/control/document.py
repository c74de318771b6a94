"""The schema of the control document as a whole; its parts are in target_forms, route_forms, health_forms and golden.

`parse` turns YAML text into the canonical plain form (JSON-able, every default written out, decimals as text)
or raises DocumentError with every problem that was found, each with its place and what to write instead.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from understudy.control import checks, demands, golden, presets, profiles, rules, wording
from understudy.control.form import Form
from understudy.control.health_forms import AlertsForm, HealthForm
from understudy.control.protocols import as_mapping
from understudy.control.route_forms import DefaultsForm, DemandsForm, RouteForm
from understudy.control.source import Finding, Tree, UnreadableError, read
from understudy.control.target_forms import ProviderForm, TargetForm
from understudy.control.versions import packed
from understudy.errors import DocumentError

# A DynamoDB item is at most 400 KB, names and attributes included; the rest is room for those.
MAX_BYTES = 350_000
MAX_PROBLEMS = 200
# Each target and each route is a value of a dimension of the metrics, and costs money there.
MAX_TARGETS = 2000
MAX_ROUTES = 500
MAX_CLASSES = 100

Name = Annotated[str, AfterValidator(checks.name)]
RouteName = Annotated[str, AfterValidator(checks.route_name)]


class DocumentForm(Form):
    # `schema` itself is taken by a method of the base class.
    version: Annotated[int, AfterValidator(checks.schema)] = Field(alias="schema")
    defaults: DefaultsForm = DefaultsForm()
    providers: Annotated[dict[Name, ProviderForm], Field(min_length=1)]
    targets: Annotated[dict[Name, TargetForm], Field(min_length=1, max_length=MAX_TARGETS)]
    routes: Annotated[dict[RouteName, RouteForm], Field(min_length=1, max_length=MAX_ROUTES)]
    data_classes: Annotated[dict[Name, DemandsForm], Field(max_length=MAX_CLASSES)] = Field(default_factory=dict)
    health: HealthForm = HealthForm()
    alerts: AlertsForm = AlertsForm()
    golden_sets: golden.GoldenSets


REQUIRED = "required"


def fields(form: type[BaseModel] = DocumentForm, prefix: str = "") -> dict[str, Any]:
    """Every field by its path, with its default or REQUIRED: `routes.NAME.targets[].weight` -> 1.0.

    A field that holds other fields has them as its default (a plain mapping), or None where the whole may be
    left out.
    """
    found: dict[str, Any] = {}
    for name, info in form.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        found[path] = _default(info)
        for step, part in _parts(info.annotation):
            found.update(fields(part, f"{path}{step}."))
    return found


def _default(info: FieldInfo) -> Any:
    if info.is_required():
        return REQUIRED
    default = info.get_default(call_default_factory=True, validated_data={})
    return default.model_dump() if isinstance(default, BaseModel) else default


def _parts(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The forms inside an annotation, each with the step of the path that leads into it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        yield from ((".NAME", part) for _, part in _parts(arguments[1]))
    elif origin is list:
        yield from (("[]", part) for _, part in _parts(arguments[0]))
    elif origin in (Union, types.UnionType, Annotated):
        for argument in arguments:
            yield from _parts(argument)


def parse(
    text: str,
    *,
    filename: str = "<document>",
    now: float | None = None,
    in_force: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The canonical form of a control document.

    Plain data as JSON has it: every default and every preset written out, decimals as text, every route with its
    full limits and every candidate with its order.  `filename` is used in messages only.  Where `now` is given (epoch
    seconds), contracts that have ended are mistakes unless `in_force`, a canonical document, has the same.  Raises
    DocumentError with all problems.
    """
    tree = _read(text, filename)
    value, named = presets.expand(tree.value)
    value = profiles.expand(value)
    form, errors = _validated(value)
    found = wording.first_of_each(
        tree.findings,
        rules.pasted_keys(tree, text),
        islice(named, MAX_PROBLEMS + 1),
        wording.findings(errors, tree, fields()),
        # Guessing what was meant costs time for each dangling name; nobody reads more than these.
        islice(rules.across(value), MAX_PROBLEMS + 1),
        islice(golden.findings(value), MAX_PROBLEMS + 1),
        () if now is None else islice(demands.ended(as_mapping(value), in_force, now), MAX_PROBLEMS + 1),
    )
    if found or form is None:
        raise DocumentError(wording.problems(found, tree, filename, MAX_PROBLEMS))
    document = _canonical(form)
    size = len(packed(text, document))
    if size > MAX_BYTES:
        raise DocumentError(wording.problems([_too_large(size, "as it is stored")], tree, filename, MAX_PROBLEMS))
    return document


def _read(text: str, filename: str) -> Tree:
    # Surrogates are passed here so that the reader below can say where they are.
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise DocumentError(wording.problems([_too_large(size, "of text")], Tree(), filename, MAX_PROBLEMS))
    try:
        tree = read(text)
    except UnreadableError as unreadable:
        raise DocumentError(wording.problems([unreadable.finding], Tree(), filename, MAX_PROBLEMS)) from None
    if tree.value is None:
        finding = Finding((), "is empty.", "begin with `schema: 1`; infra/router.example.yaml is a complete document")
        raise DocumentError(wording.problems([*tree.findings, finding], Tree(), filename, MAX_PROBLEMS))
    return tree


def _validated(value: Any) -> tuple[DocumentForm | None, list[Mapping[str, Any]]]:
    try:
        return DocumentForm.model_validate(value), []
    except ValidationError as error:
        return None, [dict(one) for one in error.errors(include_url=False)]


def _too_large(size: int, of: str) -> Finding:
    message = f"takes {size:,} bytes {of}; {MAX_BYTES:,} are allowed."
    return Finding((), message, "remove what no route uses, or shorten comments")


def _canonical(form: DocumentForm) -> dict[str, Any]:
    document = form.model_dump(by_alias=True) | {"golden_sets": golden.canonical(form.golden_sets)}
    for provider in document["providers"].values():
        del provider["preset"], provider["with"]
    for name, route in form.routes.items():
        own = route.limits.model_dump(exclude_unset=True)
        candidates = [
            {**candidate.model_dump(), "order": candidate.order or position}
            for position, candidate in enumerate(route.targets, start=1)
        ]
        # Within one order the place in the list means nothing, so it must not make two documents differ.
        candidates.sort(key=lambda candidate: (candidate["order"], candidate["target"]))
        document["routes"][name] |= {"targets": candidates, "limits": document["defaults"]["limits"] | own}
    return document


def warnings(document: Mapping[str, Any], now: float | None = None) -> list[str]:
    """What is allowed but probably not meant, one sentence each; takes a canonical document.  `now` (epoch seconds):
    what ends is told as well."""
    return list(rules.oddities(document, now))
