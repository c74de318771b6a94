"""Presets: rows of data that a document names, and that are written out where it is read."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.control.documents import EXAMPLE, changed, problems
from understudy.control.document import fields, parse
from understudy.control.load import catalog
from understudy.control.presets import Preset, expand, presets
from understudy.control.target_forms import CapabilitiesForm
from understudy.control.versions import digest

PAGE = EXAMPLE.with_name("providers.md")
NAMED = ["anthropic", "azure", "bedrock", "cohere", "deepseek", "fireworks", "gemini", "groq", "llama-cpp", "mistral",
         "ollama", "openai", "openrouter", "together", "vertex", "vllm", "xai"]  # fmt: skip
WRITTEN = "wire: openai\n    base_url: https://alpha.example/v1\n"


def by_preset(text: str, written: str) -> str:
    """The small document, whose provider is written by preset."""
    return changed(text, WRITTEN, written + "\n")


def provider(text: str, written: str) -> dict[str, Any]:
    found: dict[str, Any] = parse(by_preset(text, written))["providers"]["alpha"]
    return found


def test_every_named_provider_has_a_row() -> None:
    """The seventeen providers that a newcomer may look for are there."""
    assert NAMED == sorted(presets())


@pytest.mark.parametrize("row", presets().values(), ids=lambda row: row.name)
def test_each_row_is_whole(row: Preset) -> None:
    """A row says where it was read and when, names only fields that exist, and every placeholder it uses."""
    assert [] == [source for source in row.source if not re.search(r"^.+, https://\S+$", source)]
    assert date(2026, 1, 1) <= date.fromisoformat(row.date)
    templates = [row.base_url, *(row.sigv4 or {}).values()]
    assert set(row.placeholders) == {name for template in templates for name in re.findall(r"\{(\w+)\}", template)}
    assert set() == set(row.capabilities) - set(CapabilitiesForm.model_fields)
    assert row.serves == tuple(name for name in ("chat", "embeddings", "responses") if name in row.serves)
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", row.variable)


@pytest.mark.parametrize("row", presets().values(), ids=lambda row: row.name)
def test_each_row_makes_a_valid_document(row: Preset, text: str) -> None:
    """With its key and a value for each placeholder a row needs nothing else, and the data plane can load it."""
    key = f"\n    auth: {{secret: env:{row.variable}}}"
    places = "".join(f"\n    with: {json.dumps(dict(row.placeholders))}" if row.placeholders else "")
    document = parse(by_preset(text, f"preset: {row.name}{places}{key}"))
    loaded = catalog(document, 1).targets["lead"]
    assert row.base_url.format(**row.placeholders) == loaded.provider.base_url
    assert (row.wire, row.header, row.scheme) == (
        loaded.provider.wire,
        loaded.provider.auth and loaded.provider.auth.header,
        loaded.provider.auth and loaded.provider.auth.scheme,
    )
    assert frozenset(row.capabilities.get("refuses", ())) == loaded.capabilities.refuses


def test_a_preset_and_the_same_by_hand_are_one_document(text: str) -> None:
    """The canonical form does not know that there was a preset, so no later row can change what was published."""
    short = by_preset(text, "preset: groq\n    auth: {secret: env:GROQ_API_KEY}")
    long = by_preset(
        text,
        "wire: openai\n    base_url: https://api.groq.com/openai/v1\n"
        "    auth: {header: Authorization, scheme: Bearer, secret: env:GROQ_API_KEY}",
    )
    for target in ("big", "small"):
        refused = "capabilities: {refuses: [n, logprobs, top_logprobs, logit_bias]}"
        long = changed(long, f"model: {target}}}", f"model: {target}, {refused}}}")
    assert digest(parse(long)) == digest(parse(short))


def test_what_the_document_gives_counts(text: str) -> None:
    """A field that is given replaces that of the preset: parts of `auth` and of capabilities one by one."""
    given = "preset: mistral\n    base_url: https://eu.example/v1\n    rename: {}\n"
    given += "    auth: {scheme: Key, secret: env:M}"
    document = parse(changed(by_preset(text, given), "model: big}", "model: big, capabilities: {refuses: [n]}}"))
    alpha, can = document["providers"]["alpha"], document["targets"]["lead"]["capabilities"]
    expected = ("https://eu.example/v1", {}, {"header": "Authorization", "scheme": "Key", "secret": "env:M"})
    assert expected == (alpha["base_url"], alpha["rename"], alpha["auth"])
    assert (["n"], "prefix") == (can["refuses"], can["prefill"])


def test_targets_of_other_providers_are_left_alone(text: str) -> None:
    """Capabilities of a preset go to the targets of its provider only."""
    two = by_preset(text, "preset: ollama\n  beta: {wire: openai, base_url: https://beta.example/v1}")
    targets = parse(changed(two, "{provider: alpha, model: small}", "{provider: beta, model: small}"))["targets"]
    assert (False, True) == tuple(targets[name]["capabilities"]["image_urls"] for name in ("lead", "second"))


def test_a_signed_preset_takes_a_key_instead(text: str) -> None:
    """Bedrock is signed with the router's own credentials, unless the document gives a key."""
    signed = provider(text, "preset: bedrock\n    with: {region: eu-central-1}")
    assert (None, {"service": "bedrock", "region": "eu-central-1"}) == (signed["auth"], signed["sigv4"])
    keyed = provider(text, "preset: bedrock\n    with: {region: eu-central-1}\n    auth: {secret: env:B}")
    assert ("Bearer", None) == (keyed["auth"]["scheme"], keyed["sigv4"])
    elsewhere = provider(text, "preset: bedrock\n    base_url: https://vpce.example\n    sigv4: {region: eu-west-1}")
    assert ("https://vpce.example", "eu-west-1") == (elsewhere["base_url"], elsewhere["sigv4"]["region"])


MISTAKES = {
    "unknown": (
        "preset: gemni",
        "providers.alpha.preset (line 4, column 5): there is no preset `gemni`. Fix: did you mean `gemini`? There are "
        + ", ".join(f"`{name}`" for name in NAMED)
        + ".",
    ),
    "no key": (
        "preset: mistral",
        "providers.alpha.auth (line 3, column 3): is missing; the preset `mistral` sends a key. "
        "Fix: write `auth: {secret: env:MISTRAL_API_KEY}`.",
    ),
    "no secret": (
        "preset: mistral\n    auth: {scheme: Bearer}",
        "providers.alpha.auth.secret (line 5, column 5): is missing. Fix: write `secret: env:NAME`.",
    ),
    "no value for a placeholder": (
        "preset: bedrock",
        "providers.alpha.with (line 3, column 3): the preset `bedrock` needs `region`. "
        "Fix: write `with: {region: eu-central-1}`.",
    ),
    "no value for two placeholders": (
        "preset: vertex\n    auth: {secret: env:V}",
        "providers.alpha.with (line 3, column 3): the preset `vertex` needs `location` and `project`. "
        "Fix: write `with: {location: europe-west4, project: my-project}`.",
    ),
    "no such placeholder": (
        "preset: groq\n    auth: {secret: env:G}\n    with: {regoin: x}",
        "providers.alpha.with.regoin (line 6, column 12): the preset `groq` has no place for `regoin`. Fix: remove it.",
    ),
    "a value that would leave its place": (
        "preset: azure\n    auth: {secret: env:A}\n    with: {resource: 'evil.example/ x'}",
        "providers.alpha.with.resource (line 6, column 12): `evil.example/ x` cannot stand in an address. "
        "Fix: use 1 to 128 letters, digits, `-`, `_` or `.`, beginning and ending with a letter or digit.",
    ),
    "values without a preset": (
        WRITTEN + "    with: {region: x}",
        "providers.alpha.with (line 6, column 5): there is no preset to fill in. "
        "Fix: name one under `preset`, or remove it.",
    ),
    "no text": (
        "preset: [groq]",
        "providers.alpha.preset (line 4, column 5): expected text, found a list. Fix: write one line of text.",
    ),
}


@pytest.mark.parametrize(("written", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_with_presets_are_told_alone(text: str, written: str, expected: str) -> None:
    """Each is told with its place and its fix, and nothing is said of what the preset would have given."""
    assert [expected] == problems(by_preset(text, written))


@pytest.mark.parametrize(
    "written", ["preset: sk-proj-Zx81kfPq0aLmWn27Tt5Bv9Rc", "preset: groq\n    auth: hunter2secret"]
)
def test_a_pasted_key_is_not_repeated(text: str, written: str) -> None:
    """Somebody who writes the key in the place of a preset or of `auth` does not find it in the message."""
    found = "\n".join(problems(by_preset(text, written)))
    assert [] == [key for key in ("Zx81kfPq0aLmWn27", "hunter2secret") if key in found]


PIECES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from([*NAMED, "env:X", "region", "eu-central-1"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["preset", "with", "auth", "sigv4", "secret", "capabilities", "region"]), inner
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(PIECES, PIECES)
def test_whatever_stands_in_a_document_is_expanded_or_passed_over(alpha: Any, target: Any) -> None:
    """Data of any shape, also where presets are named, is expanded without an error of our own."""
    written = {"providers": {"alpha": alpha}, "targets": {"lead": target}}
    before = json.dumps(written)
    expand(written)
    assert before == json.dumps(written)


def test_the_schema_knows_presets_and_the_canonical_form_does_not(text: str) -> None:
    """`preset` and `with` are fields of a document as it is written, and of nothing that is stored."""
    assert {"providers.NAME.preset", "providers.NAME.with"} <= set(fields())
    assert set() == {"preset", "with"} & set(provider(text, "preset: ollama"))


def table() -> list[str]:
    """The rows of the page's table, as the data has them."""
    rows = ["| Preset | Wire | Address | Credential | Serves | Other names | Its targets by default | Read |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for row in presets().values():
        names = ", ".join(f"`{one}` → `{other}`" for one, other in row.rename.items()) or "–"
        can = {name: value for name, value in row.capabilities.items() if name != "refuses"}
        words = [f"`{name}: {json.dumps(value).strip(chr(34))}`" for name, value in can.items()]
        if refused := row.capabilities.get("refuses"):
            words.append("refuses " + ", ".join(f"`{name}`" for name in sorted(refused)))
        links = " ".join(f"[{n}]({source.rsplit(', ', 1)[1]})" for n, source in enumerate(row.source, start=1))
        cells = [f"`{row.name}`", f"`{row.wire}`", f"`{row.base_url}`", f"`{row.credential}`", ", ".join(row.serves)]
        rows.append(f"| {' | '.join([*cells, names, '; '.join(words) or '–', f'{row.date} {links}'])} |")
    return rows


def test_the_page_shows_the_rows() -> None:
    """infra/providers.md has the table of the data, and what a row says beside it."""
    lines = PAGE.read_text().splitlines()
    start = lines.index(table()[0])
    assert table() == lines[start : start + len(table())]
    notes = [f"- `{row.name}`: {row.note}" for row in presets().values() if row.note]
    assert notes == [line for line in lines if re.match(r"- `[a-z-]+`: ", line)]
