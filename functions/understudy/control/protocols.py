"""What a provider's protocol has room for: how calls are signed, which fields have other names, what targets can do.

Takes the data as it was read, which may be wrong in any other way: whatever has not the expected shape is passed over
here, because the schema reports it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from understudy.control.checks import is_loopback
from understudy.control.paths import Path
from understudy.control.source import Finding

_SIGNED = frozenset({"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})
_REGION_IN_HOST = re.compile(r"(?:^|\.)([a-z]{2,5}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})\.amazonaws\.com(?:\.cn)?$")
_EMBEDDING_WIRES = ("openai", "gemini")
_LOGPROBS_WIRES = ("openai", "gemini")


def as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def findings(targets: Mapping[str, Any], providers: Mapping[str, Any]) -> Iterator[Finding]:
    """Contradictions inside a provider, and capabilities that a target's protocol does not have."""
    for name, provider in providers.items():
        path: Path = ("providers", name)
        yield from _fixed_headers(path, as_mapping(provider))
        yield from _signature(path, as_mapping(provider))
        yield from _renamed(path, as_mapping(provider))
    for name, target in targets.items():
        path = ("targets", name, "capabilities")
        can = as_mapping(as_mapping(target).get("capabilities"))
        named = as_mapping(target).get("provider")
        wire = as_mapping(providers.get(named)).get("wire") if isinstance(named, str) else None
        yield from _nothing(path, can)
        if isinstance(wire, str):
            yield from _operations(path, can, wire)
            yield from _words(path, can, wire)


def _fixed_headers(path: Path, provider: Mapping[str, Any]) -> Iterator[Finding]:
    header = as_mapping(provider.get("auth")).get("header")
    for given in as_mapping(provider.get("headers")):
        if isinstance(header, str) and given.lower() == header.lower():
            message = f"the header `{given}` is the one that carries the credential."
            yield Finding((*path, "headers", given), message, "remove it here; `auth` sends it")
        elif given.lower() in _SIGNED and provider.get("sigv4") is not None:
            yield Finding((*path, "headers", given), f"the header `{given}` is set by the signature.", "remove it")


def _signature(path: Path, provider: Mapping[str, Any]) -> Iterator[Finding]:
    if provider.get("sigv4") is None:
        return
    if provider.get("auth") is not None:
        message = "a call has one credential, and `auth` gives another one."
        yield Finding((*path, "sigv4"), message, "remove `sigv4` or `auth`")
    region, named = as_mapping(provider.get("sigv4")).get("region"), region_of(provider.get("base_url"))
    if named and isinstance(region, str) and region != named:
        message = f"the signature is for {region}, the address is in {named}."
        yield Finding((*path, "sigv4", "region"), message, f"write `region: {named}`, or correct `base_url`")


def region_of(base_url: Any) -> str:
    """The region of AWS in an address; empty where it names none."""
    try:
        host = urlsplit(base_url).hostname if isinstance(base_url, str) else None
    except ValueError:
        host = None
    match = _REGION_IN_HOST.search(host or "")
    return match[1] if match else ""


def _renamed(path: Path, provider: Mapping[str, Any]) -> Iterator[Finding]:
    """Each field has one other name, which nobody else has."""
    pairs = {k: v for k, v in as_mapping(provider.get("rename")).items() if isinstance(k, str) and isinstance(v, str)}
    wire = provider.get("wire")
    if pairs and isinstance(wire, str) and wire != "openai":
        message = f"it has no effect: fields are translated into the protocol `{wire}` one by one."
        yield Finding((*path, "rename"), message, "remove it")
        return
    first: dict[str, str] = {}
    for given, other in pairs.items():
        place = (*path, "rename", given)
        if given == other:
            yield Finding(place, f"`{given}` is its name already.", "remove it")
        elif other in pairs:
            yield Finding(place, f"`{other}` is renamed itself.", "name what the server calls it")
        elif other in first:
            message = f"`{first[other]}` becomes `{other}` too."
            yield Finding(place, message, "keep one of them, and name the other under `refuses`")
        first.setdefault(other, given)


def _nothing(path: Path, can: Mapping[str, Any]) -> Iterator[Finding]:
    if can.get("chat") is False and can.get("embeddings") is not True and can.get("responses") is not True:
        fix = "write `embeddings: true` for a model that makes them, or remove `chat: false`"
        yield Finding((*path, "chat"), "the target answers nothing at all.", fix)


def _operations(path: Path, can: Mapping[str, Any], wire: str) -> Iterator[Finding]:
    if can.get("responses") is True and wire != "openai":
        message = f"the Responses API is spoken on the wire `openai` only, not on `{wire}`."
        yield Finding((*path, "responses"), message, "remove it; such requests are translated")
    if can.get("embeddings") is True and wire not in _EMBEDDING_WIRES:
        message = f"the wire `{wire}` has no embeddings."
        yield Finding((*path, "embeddings"), message, "remove it, or name a provider on another wire")


def _words(path: Path, can: Mapping[str, Any], wire: str) -> Iterator[Finding]:
    """Ways of saying something that only some protocols have."""
    prefill, control, refuses = can.get("prefill"), can.get("reasoning_control"), can.get("refuses")
    if can.get("logprobs") is True and wire not in _LOGPROBS_WIRES:
        message = f"the wire `{wire}` has no probabilities of tokens."
        yield Finding((*path, "logprobs"), message, "remove it; first words are watched all the same")
    elif can.get("logprobs") is True and isinstance(refuses, list) and "logprobs" in refuses:
        yield Finding((*path, "logprobs"), "`refuses` names `logprobs` too.", "remove one of them")
    # The two marked ways to continue an answer are fields of one protocol; the others have a plain message.
    if prefill in ("prefix", "continue_final_message") and wire != "openai":
        message = f"`{prefill}` does not exist on the wire `{wire}`."
        yield Finding((*path, "prefill"), message, "write `message`, or `none`")
    if control in ("effort", "budget") and wire == "openai":
        message = "it has no effect on the wire `openai`, which has `reasoning_effort` itself."
        yield Finding((*path, "reasoning_control"), message, "remove it")


def oddities(document: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about a canonical document, of any version: routes without a stand-in, calls without a credential."""
    for name, route in document["routes"].items():
        serves = {entry["target"]: _served(document["targets"][entry["target"]]) for entry in route["targets"]}
        models = sorted({document["targets"][target]["model"] for target, one in serves.items() if "embeddings" in one})
        if len(models) > 1:
            told = ", ".join(f"`{model}`" for model in models)
            yield f"The route `{name}` makes embeddings with {told}: vectors of two models cannot be compared."
        if len(serves) > 1 and not frozenset.intersection(*serves.values()):
            told = "; ".join(f"`{target}` {' and '.join(sorted(one)) or 'nothing'}" for target, one in serves.items())
            yield f"The targets of the route `{name}` cannot stand in for each other: {told}."
    for name, provider in document["providers"].items():
        bare = provider.get("auth") is None and provider.get("sigv4") is None
        if bare and provider["wire"] == "bedrock" and not is_loopback(urlsplit(provider["base_url"]).hostname or ""):
            yield f"The provider `{name}` has neither `sigv4` nor `auth`: its calls are not signed."


def _served(target: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one for one in ("chat", "embeddings") if target["capabilities"].get(one, one == "chat"))
