"""The simulated providers: where they answer, their keys, and the control documents that name them."""

from __future__ import annotations

import json
import secrets
from typing import Any

import yaml

from infra.local.simulators import SimulatedProvider

MESSAGES = [{"role": "user", "content": "Are you there?"}]
LEAD = "[simulated openai provider, model simulated-gpt] You said: Are you there?"
STAND_IN = "[simulated anthropic provider, model simulated-claude] You said: Are you there?"
PREFIX = "understudy/"
"""Of the secrets' names: the functions' roles may read nothing else."""
LATE_SECRET = f"{PREFIX}late"
PRICE = {"input_per_million": "1.00", "output_per_million": "1.00", "source": "invented for the simulator"}


class Providers:
    """They run in this process, on loopback, and end with it.  Each takes one key only, made anew each time."""

    def __init__(self) -> None:
        self._keys = {name: secrets.token_urlsafe(24) for name in ("lead", "understudy", "late")}
        self.lead = SimulatedProvider("openai", api_key=self._keys["lead"])
        self.understudy = SimulatedProvider("anthropic", api_key=self._keys["understudy"])
        self.late = SimulatedProvider("openai", api_key=self._keys["late"])
        self._all = (self.lead, self.understudy, self.late)

    def start(self) -> None:
        for provider in self._all:
            provider.start()

    def stop(self) -> None:
        for provider in self._all:
            provider.stop()

    def store_keys(self, store: Any) -> None:
        """All but the late one, in Secrets Manager: one as a field of a JSON object, one as it is."""
        lead = json.dumps({"api_key": self._keys["lead"]})
        store.create_secret(Name=f"{PREFIX}lead", SecretString=lead)
        store.create_secret(Name=f"{PREFIX}understudy", SecretString=self._keys["understudy"])

    def store_late_key(self, store: Any) -> None:
        store.create_secret(Name=LATE_SECRET, SecretString=self._keys["late"])

    def delete_keys(self, store: Any) -> None:
        for one in store.list_secrets()["SecretList"]:
            if one["Name"].startswith(PREFIX):
                store.delete_secret(SecretId=one["Name"], ForceDeleteWithoutRecovery=True)

    def confidential(self) -> list[str]:
        """What no log may hold."""
        return [*self._keys.values(), MESSAGES[0]["content"]]

    def document(self, *, idle: bool = True, late: bool = False) -> str:
        """`idle` adds a target that nobody asks; `late` one that has no secret yet, and a route that asks it."""
        targets = {
            "lead": {"provider": "simulated-openai", "model": "simulated-gpt"},
            "understudy": {"provider": "simulated-anthropic", "model": "simulated-claude"},
        }
        routes = {"chat": ["lead", "understudy"]}
        if idle:
            # What is known about it can only come from the schedule's tick.
            targets["idle"] = {"provider": "simulated-openai", "model": "simulated-idle"}
            routes["quiet"] = ["idle"]
        if late:
            targets["late"] = {"provider": "simulated-late", "model": "simulated-gpt"}
            routes["late"] = ["late", "understudy"]
        document = {
            "schema": 1,
            "providers": self._rows(),
            "targets": {name: {**target, "price": dict(PRICE)} for name, target in targets.items()},
            "routes": {name: {"targets": names} for name, names in routes.items()},
            "health": {"flush_s": 1},
        }
        return str(yaml.safe_dump(document, sort_keys=False))

    def _rows(self) -> dict[str, Any]:
        bearer = {"header": "Authorization", "scheme": "Bearer"}
        return {
            "simulated-openai": {
                "wire": "openai",
                "base_url": self.lead.base_url,
                "auth": {**bearer, "secret": f"secretsmanager:{PREFIX}lead#api_key"},
                "simulated": True,
            },
            "simulated-anthropic": {
                "wire": "anthropic",
                "base_url": self.understudy.base_url,
                "auth": {"header": "x-api-key", "scheme": "", "secret": f"secretsmanager:{PREFIX}understudy"},
                "simulated": True,
            },
            "simulated-late": {
                "wire": "openai",
                "base_url": self.late.base_url,
                "auth": {**bearer, "secret": f"secretsmanager:{LATE_SECRET}"},
                "simulated": True,
            },
        }
