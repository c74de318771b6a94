"""Which router a command is for, and what the commands have in common."""

from __future__ import annotations

import argparse
import getpass
import importlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from understudy.errors import UnderstudyError

LOCAL_URL = "http://127.0.0.1:8080"


class CommandError(UnderstudyError):
    """The command cannot be carried out; says what to do."""


def places() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The options that name a local stack, and those that name any router."""
    local = argparse.ArgumentParser(add_help=False)
    local.add_argument(
        "--local-url", default=os.environ.get("UNDERSTUDY_LOCAL_URL", LOCAL_URL), help=f"local stack ({LOCAL_URL})"
    )
    where = argparse.ArgumentParser(add_help=False, parents=[local])
    where.add_argument("--local", action="store_true", help="the running local stack")
    where.add_argument("--table", default=os.environ.get("UNDERSTUDY_TABLE"), help="table of a deployed router")
    return local, where


def store_of(options: argparse.Namespace) -> Any:
    from understudy.bootstrap import operator_store

    if options.local:
        info = local_call(options.local_url, "info")
        os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_SESSION_TOKEN="local")  # noqa: S106  # nosec B106
        return operator_store(info["table"], endpoint=info["aws_endpoint"], region=info["region"])
    if not options.table:
        raise CommandError(
            "say which router: --local, or --table NAME (the stack's output TableName) with AWS credentials"
        )
    return operator_store(options.table)


def local_call(url: str, path: str, body: object = None) -> Any:
    """One call to the running local stack."""
    if not url.startswith("http://"):
        raise CommandError(f"--local-url {url}: expected http://HOST:PORT")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/_local/{path}", data)  # noqa: S310 - http only, see above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise CommandError(json.load(error)["error"]) from error
    except urllib.error.URLError as error:
        raise CommandError(
            f"no local stack answers at {url} ({error.reason}); start one with `understudy up`"
        ) from error


def local_package(name: str) -> Any:
    """A module of infra/local, which is part of a source checkout and not of an installation."""
    try:
        return importlib.import_module(f"infra.local.{name}")
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the local stack needs a source checkout installed with `pip install -e '.[local]'` ({error})"
        ) from error


def operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
