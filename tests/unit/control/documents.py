"""The small valid document that the tests of this folder change, and the problems of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.control.document import parse
from understudy.errors import DocumentError

EXAMPLE = Path(__file__).resolve().parents[3] / "infra" / "router.example.yaml"
TEXT = """\
schema: 1
providers:
  alpha:
    wire: openai
    base_url: https://alpha.example/v1
targets:
  lead: {provider: alpha, model: big}
  second: {provider: alpha, model: small}
routes:
  chat:
    targets: [lead, second]
"""


def problems(text: str) -> list[str]:
    """What is wrong with a document, one line each; fails where nothing is."""
    with pytest.raises(DocumentError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def changed(text: str, old: str, new: str) -> str:
    """`text` with one place changed; fails where that place is not there."""
    assert old in text
    return text.replace(old, new, 1)
