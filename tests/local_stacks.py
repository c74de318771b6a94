"""A local stack over a document of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.stack import LocalStack, Options


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
