"""Nothing leaves for a target that may not see it: a few cases of tests.fuzz.egress, which has many more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fuzz.egress import Breach, case, several
from tests.virtual import run
from understudy import compliance, facts
from understudy.catalog import Catalog, Route
from understudy.compliance import Allowed
from understudy.facts import NO_CONSTRAINTS, Constraints
from understudy.keys import ClientKey
from understudy.services import demands, probe_call, probe_runs, probe_targets, route_request, serving, sweep

CASES = 150
MOST = 1500
"""Cases within which a broken filter must have shown."""


def test_nothing_leaves_for_whom_it_is_not_meant() -> None:
    """Random documents, health, keys, headers, faults and probes: no call at the transport breaks a demand."""
    seen, wrong = run(several(1, CASES))
    assert [] == wrong
    paths = (
        "calls: requests",
        "calls: golden",
        "calls: judged",
        "calls: alive or drift",
        "copies",
        "canaries in front",
    )
    assert {} == {path: seen[path] for path in (*paths, "failovers", "status 403") if not seen[path]}


def anybody(*_: object, **__: object) -> Allowed:
    return Allowed()


def of_the_route(route: Route, client: ClientKey, given: str | None, catalog: Catalog) -> Constraints:
    return route.constraints


def without_key(route: Route, client: ClientKey, given: str | None, catalog: Catalog) -> Constraints:
    return demands.in_force(route, ClientKey(client.hash, client.name, 0.0), given, catalog)


def without_header(route: Route, client: ClientKey, given: str | None, catalog: Catalog) -> Constraints:
    return demands.in_force(route, client, None, catalog)


def everybody(current: Catalog, now: float) -> dict[str, list[Route]]:
    return {name: list(current.routes.values()) for name in current.targets}


def nothing(*_: object) -> Constraints:
    return NO_CONSTRAINTS


Break = tuple[Any, str, Callable[..., Any]]
BROKEN: dict[str, list[Break]] = {
    "the decision and what is asked before each call": [(route_request, "judge", anybody), (serving, "judge", anybody)],
    "what is asked before each call, when a contract ends meanwhile": [(serving, "judge", anybody)],
    "the key": [(route_request, "in_force", without_key)],
    "the header": [(route_request, "in_force", without_header)],
    "the key and the header": [(route_request, "in_force", of_the_route)],
    "health checks": [(probe_targets, "allowing", everybody), (probe_call, "judge", anybody)],
    "golden sets": [(sweep, "demanded_of", nothing), (probe_runs, "demanded_of", nothing)],
    "the judge": [(sweep, "demanded_of_judges", nothing), (probe_runs, "demanded_of_judges", nothing)],
    "the containment of jurisdictions": [(compliance, "outside", lambda *_: [])],
    "the end of a contract": [(compliance, "_ended", lambda *_: False)],
    "the sum of two demands": [(facts, "meet", lambda one, other: one | other)],
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_filter_is_seen(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the filter is missing in one path the cases show it, so their silence says something of that path."""
    for where, name, instead in BROKEN[what]:
        monkeypatch.setattr(where, name, instead)

    async def found() -> int:
        for number in range(MOST):
            try:
                await case(f"egress:{number}")
            except Breach:
                return number
        return MOST

    assert MOST > run(found())
