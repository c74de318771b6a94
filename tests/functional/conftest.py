"""The local stack as it comes, for the test modules that want no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.stack import LocalStack, Options


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    stack = LocalStack(Options(port=0, api_key="us-test"), on_alert=lambda alert: None)
    stack.start()
    yield stack
    stack.stop()
