"""Models that stand for more than one region, and where they may be processed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.control.documents import problems
from understudy.control.document import parse
from understudy.control.profiles import services
from understudy.jurisdictions import within

DOCUMENT = """\
schema: 1
providers: {b: {PROVIDER}}
targets: {t: {provider: b, model: "MODEL", DATA}}
routes: {chat: {targets: [t]}}
"""
PRESET = "preset: bedrock, with: {region: REGION}"


def document(model: str, region: str = "eu-central-1", data: str = "data: {}", provider: str = PRESET) -> str:
    text = DOCUMENT.replace("PROVIDER", provider).replace("MODEL", model)
    return text.replace("DATA", data).replace("REGION", region)


def declared(*given: Any, **named: Any) -> list[str]:
    places: list[str] = parse(document(*given, **named))["targets"]["t"]["data"]["jurisdictions"]
    return places


FILLED = [
    ("eu.anthropic.claude-x", "eu-central-1", ["eu"]),
    ("us.anthropic.claude-x", "us-east-1", ["us"]),
    ("us-gov.anthropic.claude-x", "us-gov-west-1", ["us"]),
    ("jp.anthropic.claude-x", "ap-northeast-1", ["jp"]),
    ("au.anthropic.claude-x", "ap-southeast-2", ["au"]),
    ("ca.amazon.nova-x", "ca-central-1", ["ca"]),
    ("apac.amazon.nova-x", "ap-south-1", ["ae", "apac"]),
    ("global.anthropic.claude-x", "eu-central-1", ["global"]),
    ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x", "eu-west-1", ["eu"]),
    # Received outside of where it is processed.
    ("eu.anthropic.claude-x", "eu-west-2", ["eu", "gb"]),
    ("us.anthropic.claude-x", "ca-central-1", ["ca", "us"]),
    # Not known to be profiles: nothing is claimed of them.
    ("anthropic.claude-x", "eu-central-1", []),
    ("europe.anthropic.claude-x", "eu-central-1", []),
    ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/eu.x", "eu-west-1", []),
]


@pytest.mark.parametrize(("model", "region", "places"), FILLED)
def test_a_profile_says_where_it_may_process(model: str, region: str, places: list[str]) -> None:
    """Where a target declares nothing, what its profile may use is written down in the document."""
    assert places == declared(model, region)


def test_a_profile_is_known_behind_other_protocols_of_the_same_service() -> None:
    """The host tells the service where the protocol does not; another host's `eu.` means something else."""
    address = "wire: openai, base_url: 'https://HOST/openai/v1', sigv4: {service: bedrock, region: eu-west-1}"
    names = {"bedrock-runtime.eu-west-1.amazonaws.com": ["eu"], "llm.example.com": []}
    assert names == {host: declared("eu.x.y", provider=address.replace("HOST", host)) for host in names}


@pytest.mark.parametrize(
    ("model", "places", "missing"),
    [
        ("eu.a.b", "[de]", "eu"),
        ("eu.a.b", "[us]", "eu"),
        ("global.a.b", "[eu, us]", "global"),
        ("apac.a.b", "[jp, au]", "ae, apac"),
        ("eu.a.b", "[eu]", ""),
        ("eu.a.b", "[eea]", ""),
        ("eu.a.b", "[global]", ""),
        ("us.a.b", "[us, de]", ""),
        ("a.b", "[fr]", ""),
    ],
)
def test_a_target_may_not_declare_less_than_its_profile_uses(model: str, places: str, missing: str) -> None:
    """A document that promises more than the profile holds is refused, with the place and what to write."""
    # A call is received in the region of its address.
    region = "us-east-1" if model.startswith("us") else "eu-central-1" if "apac" not in model else "ap-south-1"
    text = document(model, region, data=f"data: {{jurisdictions: {places}}}")
    found = [] if not missing else problems(text)
    if not missing:
        parse(text)
    expected = [] if not missing else [("targets.t.data.jurisdictions", True)]
    assert expected == [(one.partition(" (line")[0], f"may process in {missing} as well" in one) for one in found]


def test_every_row_has_a_source_and_a_date() -> None:
    """Facts of a day say where they were read; every region of a service has its jurisdiction."""
    for service in services():
        assert (True, True) == (bool(service.source), bool(service.date))
        assert all(within(place, "global") for place in service.regions.values())
        assert all(service.profiles.values())
