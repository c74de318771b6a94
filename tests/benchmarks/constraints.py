"""What constraints cost a request: microseconds of reading the header, adding up and judging every candidate.

A script: `python -m tests.benchmarks.constraints`.  Each figure is the median of rounds on this machine.  Candidates
are judged when the request is decided, and the one that is asked once more right before its call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from tests.builders import target
from understudy.catalog import Candidate, Catalog, Route, Target
from understudy.compliance import judge
from understudy.facts import NO_CONSTRAINTS, Constraints, Contract, DataFacts
from understudy.keys import ClientKey
from understudy.services.demands import EXAMPLE, in_force

ROUNDS, TIMES = 21, 2000
PAPERS = frozenset({"SOC2", "ISO27001", "HIPAA-BAA"})
FACTS = DataFacts(frozenset({"de", "fr"}), 0, False, PAPERS, contract=Contract("C-1", 4e9), family="llama")
ROUTE = Constraints(frozenset({"eu"}), 30, True, frozenset({"SOC2"}), denied_models=frozenset({"x"}))
KEY = Constraints(frozenset({"eea"}), 7, certifications=frozenset({"ISO27001"}))
PHI = Constraints(max_retention_days=0, certifications=frozenset({"HIPAA-BAA"}))


def best(work: Callable[[], object]) -> float:
    """Microseconds of one call: the median of the rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(TIMES):
            work()
        took.append((time.perf_counter() - began) / TIMES * 1e6)
    return statistics.median(took)


def whole(route: Route, client: ClientKey, header: str | None, catalog: Catalog) -> Constraints:
    """All that a request pays: what is in force, each candidate's verdict, and once more that of the first."""
    demanded = in_force(route, client, header, catalog)
    for candidate in (*route.candidates, route.candidates[0]):
        judge(candidate.target, demanded, 0.0)
    return demanded


def main() -> None:
    targets = [target(f"t{n}", data=FACTS) for n in range(10)]
    catalog = Catalog(1, {one.name: one for one in targets}, {}, data_classes={"phi": PHI})
    plain, bound = ClientKey("h", "app", 0.0), ClientKey("h", "app", 0.0, constraints=KEY)
    print(f"{'':<46}{'us':>8}")
    for count in (2, 10):
        for said, constraints, client, header in (
            ("nothing demanded", NO_CONSTRAINTS, plain, None),
            ("by the route", ROUTE, plain, None),
            ("by the route and the key", ROUTE, bound, None),
            ("by route, key, header and a data class", ROUTE, bound, EXAMPLE),
        ):
            route = Route("r", _candidates(targets[:count]), constraints=constraints)
            took = best(partial(whole, route, client, header, catalog))
            print(f"{f'{count} candidates, {said}':<46}{took:>8.1f}")


def _candidates(targets: list[Target]) -> tuple[Candidate, ...]:
    return tuple(Candidate(one, place) for place, one in enumerate(targets, 1))


if __name__ == "__main__":
    main()
