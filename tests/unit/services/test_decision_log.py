"""What the line of a decision holds."""

from __future__ import annotations

from tests.builders import Log, request, target
from tests.unit.services.worlds import NOW
from understudy.catalog import Candidate, Limits, Route
from understudy.facts import NO_CONSTRAINTS
from understudy.health.score import Score
from understudy.keys import ClientKey
from understudy.routing.journal import Journal
from understudy.routing.policy import Decision, Ranked
from understudy.routing.scorers import Rating
from understudy.services.decision_log import SCORED, log_decision
from understudy.services.handling import Handling


def test_the_first_candidates_have_their_scores_in_the_line() -> None:
    """A line must not grow with a long route: all candidates have a reason, those who are asked first a score too."""
    names, log = [f"t{number}" for number in range(SCORED + 3)], Log()
    ranked = tuple(Ranked(target(name), "healthy") for name in names)
    decision = Decision("chat", ranked, ratings={name: Rating(Score(75.0)) for name in names})
    handling = Handling(
        id="r1",
        front="/chat/completions",
        client=ClientKey("a" * 64, "app", NOW),
        request=request(),
        route=Route("chat", (Candidate(target("t0"), 1),)),
        decision=decision,
        bound=frozenset(),
        journal=Journal(),
        version=1,
        limits=Limits(),
        constraints=NO_CONSTRAINTS,
        started_at=NOW,
    )
    log_decision(log, handling, None, NOW + 1)
    told = log.lines[-1][1]["candidates"]
    assert (names, [75.0] * SCORED) == ([one["target"] for one in told], [o["score"] for o in told if "score" in o])
