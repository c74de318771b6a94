"""Which records somebody asks for, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Query:
    """What a record must be, where it is given.  `key`: a client's name, or first characters of its key's hash;
    `since` and `until` as records have times (UTC), or a part of one from its beginning."""

    request_id: str = ""
    key: str = ""
    target: str = ""
    since: str = ""
    until: str = ""

    def takes(self, record: Mapping[str, Any]) -> bool:
        at = str(record.get("at", ""))
        return (
            (not self.request_id or record.get("request_id") == self.request_id)
            and (not self.since or at >= self.since)
            and (not self.until or at[: len(self.until)] <= self.until)
            and (not self.key or self._of_key(record))
            and (not self.target or self.target in _targets(record))
        )

    def _of_key(self, record: Mapping[str, Any]) -> bool:
        client = record.get("client")
        known = client if isinstance(client, dict) else {}
        digest = str(known.get("key", "")) or (str(record.get("subject")) if "key" in str(record.get("action")) else "")
        return known.get("name") == self.key or (len(self.key) >= 4 and digest.startswith(self.key))

    def insights(self) -> str:
        """The same question for CloudWatch Logs Insights; its own time range is beside it."""
        asked = ['message = "audit"']
        if self.request_id:
            asked.append(f"record.request_id = {_quoted(self.request_id)}")
        if self.key:
            asked.append(f"(record.client.name = {_quoted(self.key)} or record.client.key like {_quoted(self.key)})")
        if self.target:
            # Attempts are a list; whoever was asked stands in the line by name.
            named = _quoted(json.dumps({"target": self.target}, separators=(",", ":"))[1:-1])
            asked.append(f"(record.target = {_quoted(self.target)} or @message like {named})")
        return f"fields @message | filter {' and '.join(asked)} | sort @timestamp asc | limit 10000"


def _targets(record: Mapping[str, Any]) -> Iterator[str]:
    yield str(record.get("target"))
    if record.get("action") in ("drain", "quarantine", "release", "accept", "acknowledge"):
        yield str(record.get("subject"))
    for name in ("attempts", "denied"):
        listed = record.get(name)
        for one in listed if isinstance(listed, list) else ():
            yield str(one.get("target")) if isinstance(one, dict) else ""


def shown(record: Mapping[str, Any]) -> str:
    """One line for a person."""
    at, kind = record.get("at"), record.get("kind")
    if kind == "change":
        return f"{at}  {record.get('action')} {record.get('subject')} by {record.get('by')}"
    client = record.get("client")
    who = client.get("name") if isinstance(client, dict) and client.get("name") else "unknown"
    denied = ", ".join(
        f"{one.get('target')} ({one.get('rule')})" for one in record.get("denied") or () if isinstance(one, dict)
    )
    words = [f"{at}  {record.get('request_id')}  {who} asked {record.get('route') or record.get('front')}"]
    words.append(f"{record.get('target') or 'nobody'} answered: {record.get('outcome')}")
    if denied:
        words.append(f"denied {denied}")
    if record.get("cost_usd") is not None:
        words.append(f"{record['cost_usd']} USD")
    return "; ".join(words)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
