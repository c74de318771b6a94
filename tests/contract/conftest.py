"""Settings of the contract tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import botocore.loaders
import pytest


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> Iterator[None]:
    """AWS's service descriptions are read from disk once, not once for each test's session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders, "create_loader", cache(botocore.loaders.create_loader))
        yield
