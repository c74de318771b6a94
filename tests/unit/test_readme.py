"""The README says what is true."""

import re
from pathlib import Path

import pytest

from infra.local.simulators import FAULTS
from understudy.cli import _parser
from understudy.control.document import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(
    {m[1] for m in re.finditer(r"understudy ((?:up|break|heal|status|keys|publish|validate)\b[^`\n&]*)", README)}
)


def test_the_control_document_in_the_readme_is_valid() -> None:
    """The example that a reader copies passes the schema."""
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert {"chat"} == set(parse(block[1])["routes"])


def test_the_commands_in_the_readme_exist() -> None:
    """Every subcommand that the README names is one."""
    usage = _parser().format_help()
    named = {command.split()[0] for command in COMMANDS}
    assert named == {name for name in named if re.search(rf"^\s+{name}\s", usage, re.MULTILINE)}


@pytest.mark.parametrize(
    "fault", ["http_500", "http_429", "hang", "reset", "cut_midstream", "slow_first_token", "garbage"]
)
def test_the_faults_in_the_readme_exist(fault: str) -> None:
    """Every fault that the README names can be switched on, and the README names every promised one."""
    assert (True, True) == (fault in FAULTS, f"`{fault}`" in README)


def test_links_lead_somewhere() -> None:
    """Every file that README, decisions and runbooks point to is there."""
    pages = [ROOT / "README.md", *(ROOT / "infra").rglob("*.md")]
    targets = [(p, link) for p in pages for link in re.findall(r"\]\((?!http)([^)#]+)\)", p.read_text())]
    assert [] == [(p.name, link) for p, link in targets if not (p.parent / link).exists()]


def test_an_alert_names_runbooks_that_exist() -> None:
    """The runbook that an alert names can be opened."""
    from understudy.incidents.wording import DO

    named = {path for text in DO.values() for path in re.findall(r"infra/runbooks/\w+\.md", text)}
    assert named == {path for path in named if (ROOT / path).exists()}
    assert len(DO) == len(named)
