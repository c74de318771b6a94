"""Stands in for the package of this name in Lambda's image: what is registered to run around a snapshot.

Source: the AWS Lambda developer guide, "Lambda SnapStart runtime hooks for Python".
"""

from collections.abc import Callable
from typing import Any

before: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
after: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []


def register_before_snapshot(hook: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    before.append((hook, arguments))
    return hook


def register_after_restore(hook: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    after.append((hook, arguments))
    return hook
