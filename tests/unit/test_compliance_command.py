"""`understudy compliance`: who may be asked on each route, and by which rule not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy.cli import main

DOCUMENT = """\
schema: 1
providers: {acme: {wire: openai, base_url: "https://acme.example/v1"}}
targets:
  here: {provider: acme, model: x, data: {jurisdictions: [de], contract: {id: C-7, expires: 2099-12-31}}}
  there: {provider: acme, model: y, data: {jurisdictions: [us], retention_days: 0}}
routes:
  open: {targets: [here, there]}
  shut: {targets: [here], shadow: {target: there, share: 0.1}, constraints: {data_classes: [local]}}
data_classes:
  local: {jurisdictions: [eu]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "router.yaml"
    path.write_text(DOCUMENT)
    return str(path)


def test_every_target_of_every_route_has_a_verdict(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Candidates, canaries and shadows, with every rule against them; then the facts, with the contract's last day."""
    assert 0 == main(["compliance", file])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [
        "open: demands nothing",
        "shut: jurisdictions eu; classes local",
        "",
        "ROUTE TARGET AS VERDICT",
        "open here candidate allowed",
        "open there candidate allowed",
        "shut here candidate allowed",
        "shut there shadow denied by jurisdictions: us not allowed",
        "",
        "TARGET PROVIDER ENTITY JURISDICTIONS RETENTION TRAINING CERTIFICATIONS CONTRACT ENDS",
        "here acme - de - - - C-7 2099-12-31",
        "there acme - us 0 d - - - -",
    ] == lines


def test_it_shows_what_a_request_would_meet(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the demands of a request's header, for machines as well; a wrong one is refused as the router would."""
    assert 0 == main(["compliance", file, "--json", "--constraints", "data_class=local; max_retention_days=0"])
    told = json.loads(capsys.readouterr().out)
    assert {
        "here": "denied by max_retention_days: retention not declared",
        "there": "denied by jurisdictions: us not allowed",
    } == {one["target"]: one["verdict"] for one in told["routes"][0]["targets"]}
    assert ["de"] == told["targets"]["here"]["jurisdictions"]
    assert 1 == main(["compliance", file, "--constraints", "data_class=secret"])
    assert "unknown data class `secret`: there are local" in capsys.readouterr().err
