"""The operator's command line: run the router locally, and manage control documents, keys and health anywhere.

Its commands are in `understudy.commands`, a file for each of their concerns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from understudy import __version__
from understudy.commands import compliance, cost, documents, golden, keys, local, on_call, watching
from understudy.commands.router import operator, places, print_columns, store_of
from understudy.errors import DocumentError, UnderstudyError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: refused or failed, with the reason on stderr; 2: wrong usage, or (replay) wrong lines."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except DocumentError as error:
        print(f"{options.file}: {len(error.problems)} mistake(s), nothing was changed", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    except (UnderstudyError, OSError) as error:
        print(f"understudy: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="understudy", description="A serverless LLM router.")
    parser.add_argument("--version", action="version", version=__version__)
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    here, where = places()
    local.add_parsers(added, here)
    documents.add_parsers(added, where)
    compliance.add_parsers(added, where)
    golden.add_parsers(added, print, print_columns)
    on_call.add_parsers(added, where, store_of, operator)
    watching.add_parsers(added, where)
    keys.add_parsers(added, where)
    cost.add_parsers(added, where)
    return parser


if __name__ == "__main__":
    sys.exit(main())
