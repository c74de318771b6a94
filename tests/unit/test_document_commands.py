"""The commands that show documents and presets, without a router."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.cli import main
from understudy.control.document import parse
from understudy.control.presets import presets

SHORT = """\
schema: 1
providers: {fast: {preset: groq, auth: {secret: "env:GROQ_API_KEY"}}}
targets: {lead: {provider: fast, model: m}}
routes: {chat: {targets: [lead]}}
"""


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a preset: its name, wire, address, credential, the day it was read and where."""
    assert 0 == main(["presets"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert ["PRESET", "WIRE", "ADDRESS", "CREDENTIAL", "READ", "SOURCE"] == head.split()
    assert list(presets()) == [line.split()[0] for line in lines]
    line = next(line for line in lines if line.startswith("anthropic"))
    assert line.startswith("anthropic   anthropic  https://api.anthropic.com  ")
    assert "  x-api-key: KEY  " in line


def test_a_document_is_shown_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a preset stands for can be read before it is published, and is a document that says the same."""
    file = tmp_path / "router.yaml"
    file.write_text(SHORT)
    assert 0 == main(["show", str(file)])
    shown = capsys.readouterr().out
    assert "base_url: https://api.groq.com/openai/v1" in shown
    assert "preset" not in shown
    assert parse(SHORT) == parse(shown)


def test_a_wrong_document_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its mistakes are told, as by every command that reads it."""
    file = tmp_path / "router.yaml"
    file.write_text(SHORT.replace("groq", "grok"))
    assert 1 == main(["show", str(file)])
    out, err = capsys.readouterr()
    assert ("", True) == (out, "there is no preset `grok`" in err)
