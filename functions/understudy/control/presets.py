"""Presets: what is known of providers' APIs, and how a control document that names one is written out.

The rows are data (`presets.yaml`, which says what each field means).  `expand` works on the data as it was read, before
the schema sees it, so the canonical form holds everything and knows nothing of presets: a row that changes later
changes no document that was published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from understudy.control.checks import guess, placeholder, tidy
from understudy.control.paths import Path
from understudy.control.source import Finding, read

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# So that a document whose preset cannot be used is told of that, and not of all that the preset would have given.
_STAND_IN: Mapping[str, Any] = {"wire": "openai", "base_url": "https://unknown.invalid"}


@dataclass(frozen=True, slots=True)
class Preset:
    """One row of `presets.yaml`.  `keyless`: the key may be left out; `source` are titles with addresses."""

    name: str
    wire: str
    base_url: str
    header: str
    scheme: str
    keyless: bool
    variable: str
    serves: tuple[str, ...]
    source: tuple[str, ...]
    date: str
    note: str = ""
    placeholders: Mapping[str, str] = field(default_factory=dict)
    sigv4: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def credential(self) -> str:
        """How a call proves who it is from, in a few words."""
        sent = f"{self.header}: {self.scheme} KEY".replace(":  ", ": ")
        if self.sigv4:
            return f"AWS signature, or {sent}"
        return f"none, or {sent}" if self.keyless else sent


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """Every row by its name, in the order of the file."""
    text = resources.files("understudy.control").joinpath("presets.yaml").read_text("utf-8")
    return {name: _preset(name, row) for name, row in read(text).value.items()}


def _preset(name: str, row: Mapping[str, Any]) -> Preset:
    rest = dict(row)
    auth = rest.pop("auth")
    return Preset(
        name=name,
        header=auth["header"],
        scheme=auth["scheme"],
        keyless=auth.get("optional", False),
        serves=tuple(rest.pop("serves")),
        source=tuple(rest.pop("source")),
        **rest,
    )


def expand(value: Any) -> tuple[Any, list[Finding]]:
    """A document as it was read, with what its presets say written out, and what is wrong with how they are named.

    What the document gives itself is kept: `auth`, `sigv4` and a target's `capabilities` field by field, all else as a
    whole.  Whatever has not the expected shape is passed over, because the schema reports it.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("providers"), Mapping):
        return value, []
    findings: list[Finding] = []
    used: dict[str, Preset] = {}
    providers = dict(value["providers"])
    for name, section in providers.items():
        if not isinstance(section, Mapping):
            continue
        path: Path = ("providers", name)
        if section.get("preset") is None:
            findings += _without_preset(path, section)
            continue
        preset = presets().get(section["preset"]) if isinstance(section["preset"], str) else None
        if preset is None:
            findings += _unknown(path, section["preset"])
            providers[name] = {**_STAND_IN, **section}
            continue
        used[name] = preset
        findings += _mistakes(path, section, preset)
        providers[name] = _provider(section, preset)
    expanded = {**value, "providers": providers}
    if used and isinstance(value.get("targets"), Mapping):
        expanded["targets"] = {name: _target(section, used) for name, section in value["targets"].items()}
    return expanded, findings


def _provider(section: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    # What is missing is told by itself; its example stands in, so that nothing else is said about it.
    values = {**preset.placeholders, **_values(section)}
    base_url = _fill(preset.base_url, values)
    filled = {"wire": preset.wire, "base_url": base_url, "headers": preset.headers, "rename": preset.rename}
    found = {**filled, **section}
    if isinstance(auth := section.get("auth"), Mapping):
        found["auth"] = {"header": preset.header, "scheme": preset.scheme, **auth}
    if preset.sigv4 and "auth" not in section and isinstance(own := section.get("sigv4", {}), Mapping):
        found["sigv4"] = {**{name: _fill(text, values) for name, text in preset.sigv4.items()}, **own}
    return found


def _target(section: Any, used: Mapping[str, Preset]) -> Any:
    provider = section.get("provider") if isinstance(section, Mapping) else None
    preset = used.get(provider) if isinstance(provider, str) else None
    own = section.get("capabilities", {}) if preset else None
    if preset is None or not preset.capabilities or not isinstance(own, Mapping):
        return section
    return {**section, "capabilities": {**preset.capabilities, **own}}


def _values(section: Mapping[str, Any]) -> Mapping[str, str]:
    """The values for placeholders that can be used; the schema reports the others."""
    given = section.get("with")
    pairs = given.items() if isinstance(given, Mapping) else ()
    return {name: value for name, value in pairs if isinstance(value, str) and _is_fit(value)}


def _is_fit(value: str) -> bool:
    try:
        return placeholder(value) == value
    except ValueError:
        return False


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _without_preset(path: Path, section: Mapping[str, Any]) -> Iterator[Finding]:
    if section.get("with"):
        yield Finding((*path, "with"), "there is no preset to fill in.", "name one under `preset`, or remove it")


def _unknown(path: Path, name: Any) -> Iterator[Finding]:
    if not isinstance(name, str):
        return
    listed = ", ".join(f"`{known}`" for known in sorted(presets()))
    near = guess(name, presets())
    fix = f"{near} There are {listed}" if near.startswith("did you mean") else f"choose one of {listed}"
    yield Finding((*path, "preset"), f"there is no preset `{tidy(name, 60)}`.", fix)


def _mistakes(path: Path, section: Mapping[str, Any], preset: Preset) -> Iterator[Finding]:
    given = section.get("with", {})
    names = given if isinstance(given, Mapping) else {}
    for name in names:
        if name not in preset.placeholders:
            message = f"the preset `{preset.name}` has no place for `{tidy(str(name), 60)}`."
            yield Finding((*path, "with", name), message, guess(str(name), preset.placeholders) or "remove it")
    missing = {name: preset.placeholders[name] for name in _needed(section, preset) if name not in names}
    if missing and isinstance(given, Mapping):
        lacks = " and ".join(f"`{name}`" for name in missing)
        example = ", ".join(f"{name}: {text}" for name, text in missing.items())
        yield Finding((*path, "with"), f"the preset `{preset.name}` needs {lacks}.", f"write `with: {{{example}}}`")
    signed = bool(preset.sigv4) or section.get("sigv4") is not None
    if "auth" not in section and not preset.keyless and not signed:
        fix = f"write `auth: {{secret: env:{preset.variable}}}`"
        yield Finding((*path, "auth"), f"is missing; the preset `{preset.name}` sends a key.", fix)


def _needed(section: Mapping[str, Any], preset: Preset) -> list[str]:
    """The placeholders of what comes from the preset, in the order of the row."""
    templates = [] if "base_url" in section else [preset.base_url]
    if preset.sigv4 and "auth" not in section:
        own = section.get("sigv4")
        templates += [text for name, text in preset.sigv4.items() if not isinstance(own, Mapping) or name not in own]
    used = {name for template in templates for name in _PLACEHOLDER.findall(template)}
    return [name for name in preset.placeholders if name in used]
