"""A decision in words."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.explain import explain, when

AT = 1_795_568_524.4
SERVER_ERROR = "The server had an error"
OPENED = "its breaker opened: 5 failures in a row"
USAGE = {"prompt_tokens": 12, "completion_tokens": 40, "total_tokens": 52}
DECISION: dict[str, Any] = {
    "at": AT,
    "message": "decision",
    "request_id": "3f2a",
    "client": "local",
    "route": "chat",
    "document_version": 3,
    "stream": True,
    "outcome": "ok",
    "target": "spare",
    "reported_model": "spare-1",
    "candidates": [{"target": "lead", "reason": "place 1, healthy"}, {"target": "spare", "reason": "place 2, healthy"}],
    "denied": [{"target": "us-large", "reason": "denied by jurisdictions: us not allowed"}],
    "unfit": [{"target": "old", "reason": "it does not take tools"}],
    "attempts": [
        {
            "target": "lead",
            "outcome": "transient",
            "detail": SERVER_ERROR,
            "status": 500,
            "first_token_ms": None,
            "ms": 3,
        },
        {"target": "spare", "outcome": "ok", "detail": "", "status": None, "first_token_ms": 120.4, "ms": 405.1},
    ],
    "usage": USAGE,
    "cost_usd": "0.00064",
    "ms": 412.3,
}
TODAY = """\
request 3f2a  route chat  2026-11-25 01:02:03 UTC  answered by spare after 2 attempts in 412 ms
control document version 3, client local, streamed, the model calls itself spare-1
candidates:  1.  lead   place 1, healthy
             2.  spare  place 2, healthy
denied:      us-large  denied by jurisdictions: us not allowed
unfit:       old  it does not take tools
attempts:    1.  lead   transient (500) after 3 ms: The server had an error
             2.  spare  answered, first token after 120 ms, 405 ms
answer:      12+40 tokens, $0.00064"""


def test_a_decision_is_told_from_the_first_to_the_last() -> None:
    """Who was asked, why, what each said, what it took and what it cost, in the order in which it happened."""
    assert TODAY == explain([DECISION])


def test_how_each_was_asked_and_what_followed_is_told() -> None:
    """Hedges, resumptions, effects on health, money, limits and who was passed over have their place."""
    asked = {"how": "fresh", "hedge": False, "usage": None, "cost_usd": None, "usage_estimated": False}
    first, second = DECISION["attempts"]
    more = {
        "attempts": [
            {**first, **asked, "effect": OPENED},
            {**second, **asked, "outcome": "cancelled", "hedge": True, "usage": USAGE, "usage_estimated": True},
            {**second, **asked, "how": "continuation", "usage": USAGE, "cost_usd": "0.00064", "reported_model": "s-1"},
        ],
        "skipped": [{"target": "far", "reason": "benched for 30 s"}],
        "resumed": [{"from": "lead", "to": "spare", "at": 120, "how": "continuation"}],
        "time_to_commit_ms": 130.2,
        "limits": {"request_ms": 120_000, "max_cost_usd": "0.05", "attempts": 4},
        "attempts_cost_usd": "0.00128",
    }
    told = explain([{**DECISION, **more}]).splitlines()[1:]
    assert [
        "control document version 3, client local, streamed, first chunk given out after 130 ms, "
        "the model calls itself spare-1",
        "not asked:   far  benched for 30 s",
        "attempts:    1.  lead   (fresh)  transient (500) after 3 ms: The server had an error  → " + OPENED,
        "             2.  spare  (fresh, hedge)  cancelled after 405 ms, first token after 120 ms, "
        "about 12+40 tokens (estimated)",
        "             3.  spare  (continuation)  answered, first token after 120 ms, 405 ms, "
        "12+40 tokens, $0.00064, by s-1",
        "resumed:     from lead to spare at character 120 by continuation",
        "in all:      $0.00128",
        "limits:      request 120 s, max cost $0.05, attempts 4",
    ] == [line for line in told if line not in TODAY.splitlines()]


def test_strategy_scores_and_trials_are_told() -> None:
    """How candidates were ranked, the parts of each score once, and what became of canary, shadow and the drained."""
    scored = [
        {"target": "lead", "reason": "place 1, healthy, score 93.1", "score": 93.1, "parts": "availability 49.8 of 50"},
        {"target": "spare", "reason": "last resort: breaker open", "score": 75.0, "parts": "availability not known"},
    ]
    more = {
        "strategy": "adaptive",
        "candidates": [*scored, scored[1]],
        "canary": "new in front",
        "shadow": {"target": "next", "reason": "asked as well"},
        "held": [{"target": "old", "reason": "drained by ada: gone"}],
    }
    told = explain([{**DECISION, **more}]).splitlines()
    assert [
        "strategy:    adaptive",
        "candidates:  1.  lead   place 1, healthy, score 93.1",
        "             2.  spare  last resort: breaker open",
        "             3.  spare  last resort: breaker open",
        "scores:      lead   93.1  availability 49.8 of 50",
        "             spare  75.0  availability not known",
        "canary:      new in front",
        "shadow:      next  asked as well",
        "drained:     old  drained by ada: gone",
    ] == told[2:11]


def test_a_request_that_was_turned_away_says_why() -> None:
    """Without a decision there is the status, the code, the field and what each target stood in the way of."""
    refused = {
        "at": AT,
        "message": "refused",
        "request_id": "3f2a",
        "status": 403,
        "outcome": "NoCompliantTarget",
        "code": None,
        "param": None,
        "causes": [{"target": "us-large", "reason": "denied by jurisdictions: us not allowed"}],
    }
    assert [
        "request 3f2a  2026-11-25 01:02:04 UTC  turned away",
        "refused:     status 403, no compliant target",
        "because:     us-large  denied by jurisdictions: us not allowed",
    ] == explain([refused]).splitlines()


def test_a_decision_without_an_answer_says_what_the_caller_got() -> None:
    """An error after the attempts is told with them; a caller that left is no failure."""
    failed = {**DECISION, "outcome": "NoTargetAnswered", "target": None, "usage": None, "cost_usd": None}
    told = explain([failed, {"message": "refused", "status": 503, "outcome": "NoTargetAnswered", "causes": []}])
    assert "not answered (no target answered) after 2 attempts in 412 ms" in told.splitlines()[0]
    assert "refused:     status 503, no target answered" == told.splitlines()[-1]
    left = explain([{**DECISION, "outcome": "CancelledError", "attempts": []}])
    assert "the caller left after 0 attempts in 412 ms" in left.splitlines()[0]


def test_what_is_not_known_is_shown_as_it_is() -> None:
    """A field, a record or an attempt's detail that this version has no words for is not kept from the reader."""
    attempt = {"target": "lead", "outcome": "ok", "queue_ms": 4, "note": {"a_b": [1, 2]}}
    told = explain(
        [
            {"message": "decision", "request_id": "x", "colour": "blue", "attempts": [attempt]},
            {"message": "the router failed", "request_id": "x", "reason": "unknown"},
        ]
    )
    assert [
        "request x",
        "attempts:    1.  lead  answered  [queue 4 ms, note a b 1; 2]",
        "also:        colour blue",
        "log:         message the router failed, reason unknown",
    ] == told.splitlines()


def test_a_providers_words_do_not_drive_the_terminal() -> None:
    """Control characters are shown as question marks."""
    attempt = {"target": "lead", "outcome": "transient", "detail": "\x1b[2J gone\n  forged:      line"}
    told = explain([{"message": "decision", "request_id": "x", "attempts": [attempt]}])
    assert "attempts:    1.  lead  transient: ?[2J gone?  forged:      line" == told.splitlines()[-1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*DECISION, "from", "how"]), inner),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([*DECISION, "resumed", "skipped", "limits", "causes"]), VALUES)))
def test_no_record_makes_it_fail(records: list[dict[str, Any]]) -> None:
    """Whatever a later version writes into the log, its request can be explained."""
    for record in records:
        assert "" != explain([{**record, "message": "decision"}, {**record, "message": "refused"}, record])


def test_a_moment_is_told_in_utc() -> None:
    """A moment is told to the second, and no moment as a dash."""
    assert ("2026-11-25 01:02:04 UTC", "-") == (when(AT), when(0))


OLD = "[it declares: no tools, refuses logit_bias, n, context window 8000]"
TARGETS = {
    "old": {"capabilities": {"tools": False, "vision": True, "refuses": ["logit_bias", "n"], "context_window": 8000}},
    "plain": {"capabilities": {"tools": True, "refuses": [], "prefill": "none"}},
}


def test_an_unfit_target_is_told_with_what_it_declares() -> None:
    """Only what differs from a target that declares nothing, and nothing where the document is not known."""
    unfit = [{"target": "old", "reason": "no tools"}, {"target": "plain", "reason": "no"},
             {"target": "gone", "reason": "no"}]  # fmt: skip
    told = explain([{**DECISION, "unfit": unfit}], TARGETS).splitlines()
    assert [
        f"unfit:       old    no tools  {OLD}",
        "             plain  no        [it declares: nothing]",
        "             gone   no",
    ] == [line for line in told if line not in TODAY.splitlines()]


def test_a_request_that_nobody_can_carry_says_what_each_declares() -> None:
    """Such a request is never decided on, so what was in everybody's way stands with the refusal."""
    causes = [{"target": "old", "reason": "it does not take tools"}]
    refused = {"message": "refused", "request_id": "x", "status": 400, "param": "tools", "causes": causes}
    expected = (
        "because:     old  it does not take tools  [it declares: no tools, refuses logit_bias, n, context window 8000]"
    )
    assert expected == explain([refused], TARGETS).splitlines()[-1]
