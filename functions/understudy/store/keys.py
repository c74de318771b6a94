"""The table design on one page.  One table; `pk` and `sk` are strings; `ttl` is epoch seconds, `rev` a number.

| what                  | pk                | sk                          | written by                 |
|-----------------------|-------------------|-----------------------------|----------------------------|
| pointer               | control           | pointer                     | publish, rollback (rev)    |
| control document      | control           | version#000000000012        | publish (once)             |
| health of a target    | target#NAME       | health                      | update_health, routers, operators (rev)|
| detector of a stream  | target#NAME       | detector#STREAM#KIND        | update_health, operators (rev, ttl)|
| observation           | target#NAME       | observation#MILLIS#RANDOM   | routers, probes (once, ttl)|
| probing of a target   | target#NAME       | probing                     | probes (rev)               |
| spent on a target     | target#NAME       | spend#YYYY-MM-DD            | probes (added to, ttl)     |
| status page           | provider#NAME     | status_page                 | probes (rev, ttl)          |
| current incident      | incident          | SUBJECT#KIND                | update_health, operators (rev)|
| past incident         | incident_history  | MILLIS#SUBJECT#KIND         | update_health, operators (once)|
| notice                | notice#ID         | notice                      | publish_alerts (ttl)       |
| signature of a call   | call#SHA256#ID    | signature                   | routers (once, ttl)        |
| answer to be judged   | answer#SHA256#ID  | answer                      | routers (rev, ttl)         |
| client key            | keys              | SHA256                      | understudy keys (rev)      |
| use of a key's limits | use#ACCOUNT       | use                         | routers (added to, ttl)    |
| line of the ledger    | ledger#ACCOUNT    | DAY#route#ROUTE#SHARD       | routers, probes (added to, ttl)|
| … of its own calls    | ledger#ACCOUNT    | DAY#target#TARGET#SHARD     | routers, probes (added to, ttl)|
| spent by an account   | spent#ACCOUNT     | YYYY-MM#SHARD               | routers, probes (added to, ttl)|

An ACCOUNT is the SHA256 of a client key (of the first of those that replaced each other), or empty for the router
itself; an item that is added to once for each token also has the last number of each WRITER under `@WRITER`.

The stream filters of template.yaml name these keys; a test compares the two.
"""

from __future__ import annotations

HEALTH = "health"
OBSERVATION = "observation#"
PROBING = "probing"
SPEND = "spend#"
DETECTOR = "detector#"
STATUS_PAGE = "status_page"
INCIDENT = "incident"
HISTORY = "incident_history"
CONTROL = "control"
VERSION = "version#"
KEYS = "keys"
OBSERVATION_TTL = 7 * 86400
SPEND_TTL = 90 * 86400
DETECTOR_TTL = 90 * 86400
STATUS_PAGE_TTL = 86400
NOTICE_TTL = 30 * 86400
KEEPSAKE_TTL = 86400
ANSWER_TTL = 86400
USE_TTL = 86400
LEDGER_TTL = 400 * 86400
"""A year and a month."""


def pointer() -> tuple[str, str]:
    return CONTROL, "pointer"


def version(number: int) -> tuple[str, str]:
    return CONTROL, f"{VERSION}{number:012d}"


def target(name: str) -> str:
    return f"target#{name}"


def health(name: str) -> tuple[str, str]:
    return target(name), HEALTH


def observation(name: str, at: float, nonce: str) -> tuple[str, str]:
    return target(name), f"{OBSERVATION}{int(at * 1000):015d}#{nonce}"


def probing(name: str) -> tuple[str, str]:
    return target(name), PROBING


def spend(name: str, day: str) -> tuple[str, str]:
    return target(name), f"{SPEND}{day}"


def detector(name: str, stream: str, kind: str) -> tuple[str, str]:
    return target(name), f"{DETECTOR}{stream}#{kind}"


def provider(name: str) -> str:
    return f"provider#{name}"


def status_page(name: str) -> tuple[str, str]:
    return provider(name), STATUS_PAGE


def incident(subject: str, kind: str) -> tuple[str, str]:
    return INCIDENT, f"{subject}#{kind}"


def history(subject: str, kind: str, opened_at: float) -> tuple[str, str]:
    return HISTORY, f"{int(opened_at * 1000):015d}#{subject}#{kind}"


def notice(notice_id: str) -> tuple[str, str]:
    return f"notice#{notice_id}", "notice"


def keepsake(key_hash: str, call_id: str) -> tuple[str, str]:
    return f"call#{key_hash}#{call_id}", "signature"


def answer(key_hash: str, request_id: str) -> tuple[str, str]:
    return f"answer#{key_hash}#{request_id}", "answer"


def client_key(key_hash: str) -> tuple[str, str]:
    return KEYS, key_hash


def use(account: str) -> tuple[str, str]:
    return f"use#{account}", "use"


def ledger_of(account: str) -> str:
    return f"ledger#{account}"


def ledger(account: str, day: str, name: str, shard: int, *, own: bool) -> tuple[str, str]:
    """`name` is that of a route, or of a target where a call is the router's `own`."""
    return ledger_of(account), f"{day}#{'target' if own else 'route'}#{name}#{shard}"


def spent_of(account: str) -> str:
    return f"spent#{account}"


def spent(account: str, month: str, shard: int) -> tuple[str, str]:
    return spent_of(account), f"{month}#{shard}"
