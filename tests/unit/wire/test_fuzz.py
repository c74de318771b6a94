"""Every translator, whatever it is given: a few cases of each check of tests.fuzz, which has many more."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.checks import all_checks

CASES = 60
CHECKS = dict(all_checks())


@pytest.mark.parametrize("name", CHECKS)
def test_damaged_input_breaks_no_promise(name: str) -> None:
    """A damaged request is read or refused, a damaged answer is chunks or a failure, and nothing else happens."""
    for number in range(CASES):
        CHECKS[name](random.Random(f"{name}:{number}"))
