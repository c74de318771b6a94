"""Runs what was registered: before a snapshot the last one first, after a restore the first one first.

Source of the order: the AWS Lambda developer guide, "Lambda SnapStart runtime hooks for Python".
"""

import snapshot_restore_py


def run_before_snapshot() -> None:
    for hook, arguments in reversed(snapshot_restore_py.before):
        hook(*arguments)


def run_after_restore() -> None:
    for hook, arguments in snapshot_restore_py.after:
        hook(*arguments)
