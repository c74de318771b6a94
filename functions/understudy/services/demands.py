"""What one request demands of every target that sees it: its route, its key, its header and the classes of its data.

They are only ever added up (`Constraints.and_`), so that nothing a caller writes can loosen what the others demand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from understudy.catalog import Catalog, Route
from understudy.errors import Cause, InvalidRequest, NoCompliantTarget
from understudy.facts import NO_CONSTRAINTS, PII_MODES, Constraints, plain_constraints
from understudy.keys import ClientKey

HEADER = "x-understudy-constraints"
EXAMPLE = "jurisdictions=eu; max_retention_days=0; no_training; certifications=SOC2,ISO27001; data_class=phi"
LONGEST = 2000
"""Characters of the header."""
_CODE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NAME = re.compile(r"[!-+\--:<>-~]{1,256}")
_DAYS = re.compile(r"[0-9]{1,5}")
_ALONE = "no_training"
_LISTED = 12


def in_force(route: Route, client: ClientKey, given: str | None, catalog: Catalog) -> Constraints:
    """What holds for one request; `given` is its header, None where it has none.

    Raises InvalidRequest where the header is not what it should be, NoCompliantTarget where the key demands a class of
    data that the document does not know: nobody can say who meets it.
    """
    demanded = route.constraints
    if client.constraints != NO_CONSTRAINTS:
        if unknown := client.constraints.classes - catalog.data_classes.keys():
            reason = f"denied by data_class: the key's class {min(unknown)} is not defined in the control document"
            refused = NoCompliantTarget(route.name, [Cause(one.target.name, reason) for one in route.candidates])
            refused.constraints = plain_constraints(demanded.and_(client.constraints))
            raise refused
        demanded = demanded.and_(with_classes(client.constraints, catalog))
    if given is not None:
        demanded = demanded.and_(asked(given, catalog))
    return demanded


def asked(text: str, catalog: Catalog) -> Constraints:
    """What a header demands, with its data classes.  Raises InvalidRequest with what to write."""
    return with_classes(_known(read(text), catalog), catalog)


def with_classes(demanded: Constraints, catalog: Catalog) -> Constraints:
    """Constraints with what their data classes demand, all of which the document must know."""
    for name in sorted(demanded.classes):
        demanded = demanded.and_(catalog.data_classes[name])
    return demanded


@lru_cache(maxsize=256)
def read(text: str) -> Constraints:
    """The demands of a header: `jurisdictions=eu; no_training`.  Raises InvalidRequest with what to write."""
    if len(text) > LONGEST:
        raise _wrong(f"is longer than {LONGEST} characters", "name fewer")
    found: dict[str, Any] = {}
    for part in text.split(";"):
        word, given, value = (piece.strip() for piece in part.partition("="))
        if not word and not given:
            # A semicolon at the end.
            continue
        if word not in _WORDS:
            raise _wrong(f"has the unknown word `{_short(word)}`", f"the words are {', '.join(_WORDS)}")
        field, take = _WORDS[word]
        if field in found:
            raise _wrong(f"has `{word}` twice", "write each word once, with all its values: `certifications=A,B`")
        found[field] = take(word, value if given else None)
    if not found:
        raise _wrong("demands nothing", f"write for example `{EXAMPLE}`, or leave the header out")
    return Constraints(**found)


def _days(word: str, value: str | None) -> int:
    if value is None or not _DAYS.fullmatch(value):
        raise _wrong(f"has `{word}` without a number of days", f"write `{word}=0`; without a limit leave the word out")
    return int(value)


def _flag(word: str, value: str | None) -> bool:
    if value not in (None, "true"):
        raise _wrong(f"has `{word}={_short(value or '')}`, and can only tighten", f"write `{word}`, or leave it out")
    return True


def _pii(word: str, value: str | None) -> str:
    if value not in PII_MODES[1:]:
        fix = f"write `{word}` with one of {', '.join(PII_MODES[1:])}, or leave it out"
        raise _wrong(f"has `{word}={_short(value or '')}`, and can only tighten", fix)
    return value


def _list(example: str, tidy: Callable[[str], str] = str) -> Callable[[str, str | None], frozenset[str]]:
    """A reader of lists: entries between commas, at least one, none of which is a word that stands alone: a header that
    came twice, put together with a comma, must not lose it."""

    def take(word: str, value: str | None) -> frozenset[str]:
        names = [tidy(name.strip()) for name in (value or "").split(",")]
        if wrong := [name for name in names if not _NAME.fullmatch(name) or name == _ALONE]:
            fix = f"write `{word}={example}`, and a semicolon before the next word; without a demand leave the word out"
            raise _wrong(f"has `{word}` with the entry `{_short(wrong[0])}`", fix)
        return frozenset(names)

    return take


def _places(word: str, value: str | None) -> frozenset[str]:
    names = _list("eu", str.lower)(word, value)
    if wrong := sorted(name for name in names if not _CODE.fullmatch(name)):
        raise _wrong(f"has the jurisdiction `{_short(wrong[0])}`", f"write short codes: `{word}=eu,ch`")
    return names


_Take = Callable[[str, str | None], Any]
_WORDS: dict[str, tuple[str, _Take]] = {
    "jurisdictions": ("jurisdictions", _places),
    "max_retention_days": ("max_retention_days", _days),
    _ALONE: (_ALONE, _flag),
    "certifications": ("certifications", _list("SOC2", str.upper)),
    "providers": ("providers", _list("NAME")),
    "models": ("models", _list("MODEL")),
    "denied_providers": ("denied_providers", _list("NAME")),
    "denied_models": ("denied_models", _list("MODEL")),
    "pii": ("pii", _pii),
    "data_class": ("classes", _list("phi")),
}


def _known(wanted: Constraints, catalog: Catalog) -> Constraints:
    """The demands again.  Raises InvalidRequest where a name that is not known here would demand nothing."""
    targets = catalog.targets.values()
    if unknown := wanted.classes - catalog.data_classes.keys():
        raise _wrong(f"has the unknown data class `{_short(min(unknown))}`", _choice(catalog.data_classes))
    if wanted.denied_providers:
        providers = {target.provider.name for target in targets}
        if unknown := wanted.denied_providers - providers:
            raise _wrong(f"denies the provider `{_short(min(unknown))}`, which is not here", _choice(providers))
    if wanted.denied_models:
        models = {name for target in targets for name in (target.model, target.data.family) if name}
        if unknown := wanted.denied_models - models:
            raise _wrong(f"denies the model `{_short(min(unknown))}`, which is not here", _choice(models))
    return wanted


def _choice(names: Iterable[str]) -> str:
    known = sorted(names)
    if not known:
        return "leave it out; there are none"
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"there are {', '.join(known[:_LISTED])}{more}"


def _wrong(what: str, fix: str) -> InvalidRequest:
    return InvalidRequest(f"`{HEADER}` {what}: {fix}.", param=HEADER)


def _short(text: str) -> str:
    """What a caller wrote, as it may be repeated."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:60])
    return shown if len(text) <= 60 else shown + "..."
