"""`understudy keys`: create, list and revoke client keys."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from understudy.audit.change import ControlChange
from understudy.commands.router import CommandError, operator, store_of
from understudy.explain import when
from understudy.keys import ClientKey, hash_key, new_key


def add_parsers(added: Any, where: argparse.ArgumentParser) -> None:
    keys = added.add_parser("keys", help="create, list or revoke client keys")
    keys.set_defaults(run=_keys)
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("create", parents=[where]).add_argument("name", help="who the key is for")
    actions.add_parser("list", parents=[where])
    actions.add_parser("revoke", parents=[where]).add_argument("hash", help="first characters of the key's hash")


def _keys(options: argparse.Namespace) -> int:
    store = store_of(options)
    if options.action == "create":
        key, now = new_key(), time.time()
        made = ClientKey(hash_key(key), options.name, now)
        store.recording(ControlChange(now, operator(), "key_created", made.hash[:12], {"name": made.name})).put_key(
            made
        )
        print(f"{key}\nThis is the only time the key is shown; the router keeps its SHA-256.")
        return 0
    if options.action == "list":
        for known in sorted(store.client_keys(), key=lambda k: k.created_at):
            state = "active" if known.active(time.time()) else f"revoked {when(known.revoked_at or 0)}"
            print(f"{known.hash[:12]}  {known.name}  created {when(known.created_at)}  {state}")
        return 0
    matching = [
        known for known in store.client_keys() if known.hash.startswith(options.hash) and known.active(time.time())
    ]
    if len(matching) != 1:
        raise CommandError(
            f"{len(matching)} active keys begin with {options.hash!r}; `understudy keys list` shows them"
        )
    old = matching[0]
    now = time.time()
    recorded = store.recording(ControlChange(now, operator(), "key_revoked", old.hash[:12], {"name": old.name}))
    recorded.put_key(replace(old, revoked_at=now))
    print(f"revoked {old.hash[:12]} ({old.name}); routers refuse it within seconds")
    return 0
