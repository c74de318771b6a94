"""Local stacks over a document of a test's own, or over the one that comes with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.stack import DOCUMENT, LocalStack, Options
from tests.builders import NO_RUNS


def quiet(folder: Path) -> Path:
    """The document that comes with the local stack, for tests that count what its simulators are asked."""
    file = folder / "quiet.yaml"
    file.write_text(f"{DOCUMENT.read_text()}\nhealth: {{{NO_RUNS}}}\n")
    return file


@contextmanager
def local_stack(folder: Path, document: str) -> Iterator[LocalStack]:
    """`document` leaves the simulators' addresses open (`${openai_url}`); they answer without delay."""
    file = folder / "router.yaml"
    file.write_text(document)
    stack = LocalStack(Options(port=0, api_key="us-test", config=file), on_alert=lambda alert: None)
    stack.start()
    try:
        for simulator in stack.simulators.values():
            simulator.token_delay = 0
        yield stack
    finally:
        stack.stop()
