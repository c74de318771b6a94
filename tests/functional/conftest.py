"""The local stack as it comes, for the test modules that want no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.stack import LocalStack, Options
from tests.local_stacks import quiet


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    config = quiet(tmp_path_factory.mktemp("stack"))
    stack = LocalStack(Options(port=0, api_key="us-test", config=config), on_alert=lambda alert: None)
    stack.start()
    yield stack
    stack.stop()
