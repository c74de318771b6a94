"""What one attempt may take: first tokens, pace, a share of a short deadline, and money."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import piece, request, taking, target
from understudy.catalog import Capabilities, Limits, Price
from understudy.chat.usage import Usage
from understudy.errors import OutOfTime, Silent
from understudy.routing.limits import (
    ASSUMED_OUTPUT,
    Pace,
    Watch,
    dearest,
    estimated_usage,
    first_token_limit,
    hedge_delay,
    stall_limit,
    tokens,
)

LIMITS = Limits()
PLAIN = Capabilities()
THINKING = Capabilities(reasoning=True)
WHOLE = Capabilities(streaming=False)

# Upper edges of the buckets that hold these times.
ONE, NINE = 0.001 * 2 ** (40 / 4), 0.001 * 2 ** (53 / 4)
FIRST_TOKENS = [
    # what the target is, its own p99, the prompt's characters, seconds
    (PLAIN, None, 0, 10.0),
    (PLAIN, 0.1, 0, 2.0),
    (PLAIN, 1.0, 0, 3 * ONE),
    (PLAIN, 60.0, 0, 10.0),
    (THINKING, None, 0, 60.0),
    (THINKING, 0.1, 0, 10.0),
    (THINKING, 9.0, 0, 3 * NINE),
    (THINKING, 90.0, 0, 60.0),
    (WHOLE, None, 0, 60.0),
    (WHOLE, 0.1, 0, 10.0),
    # 5000 tokens of prompt, of four characters, are a second more.
    (PLAIN, 0.1, 20_000, 3.0),
    (PLAIN, None, 400_000, 30.0),
]


@pytest.mark.parametrize(("can", "p99", "size", "expected"), FIRST_TOKENS)
def test_the_wait_for_a_first_token(can: Capabilities, p99: float | None, size: int, expected: float) -> None:
    """Three times the target's own p99 within the limits of its kind, the longest while unknown, more for reading."""
    seen = () if p99 is None else taking(p99)
    assert expected == pytest.approx(first_token_limit(target("a", capabilities=can), LIMITS, seen, size))


@pytest.mark.parametrize(("answers", "expected"), [(2, 10.0), (3, 4.0), (19, 4.0), (20, 2.0)])
def test_few_answers_are_trusted_less(answers: int, expected: float) -> None:
    """Two answers say nothing, up to nineteen leave twice the shortest wait, twenty make a distribution known."""
    seen = taking(0.1, answers)
    assert (expected, expected) == (first_token_limit(target("a"), LIMITS, seen, 0), stall_limit(LIMITS, seen))
    assert (answers < 20) is (hedge_delay(seen) is None)


@given(st.floats(0.001, 1000) | st.none(), st.floats(0.1, 100), st.floats(0.1, 100))
def test_a_route_may_set_the_bounds_in_any_order(p99: float | None, least: float, most: float) -> None:
    """The wait is never above the route's longest, and a shortest above the longest does not lift it."""
    limits = replace(LIMITS, first_token_min=least, first_token=most, stall_min=least, stall=most)
    seen = () if p99 is None else taking(p99)
    for wait in (first_token_limit(target("a"), limits, seen, 0), stall_limit(limits, seen)):
        assert min(least, most) <= wait <= most


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0.0), ("a", 1.0), ("abcd", 1.0), ("abcdefgh", 2.0), ("漢字仮名交じり文", 2.0)]
)
def test_tokens_are_estimated_by_length(text: str, expected: float) -> None:
    """A piece with anything in it is at least one token, an empty one none."""
    assert expected == tokens(piece(text))


def test_thinking_and_calls_count_as_tokens() -> None:
    """A piece without text that shows life is one token."""
    assert (1.0, 1.0, 0.0) == (tokens(piece(reasoning_content="hm")), tokens(piece(tool_calls=[{}])), tokens(piece()))


def paced(least: float, *seen: tuple[float, float]) -> list[bool]:
    """What is said at each of these: seconds waited since the one before, tokens brought."""
    pace = Pace(least, 10.0)
    return [pace.too_slow(waited, brought) for waited, brought in seen]


def test_a_drip_is_too_slow_once_the_window_is_full() -> None:
    """One token every two seconds is half of the least pace; it is said when ten seconds are seen, not before."""
    assert [False] * 5 + [True] == paced(1.0, *[(2.0, 1.0)] * 6)


def test_a_pace_at_the_limit_is_not_too_slow() -> None:
    """A token each second is the least that is allowed."""
    assert [False] * 40 == paced(1.0, *[(1.0, 1.0)] * 40)


def test_any_pace_is_allowed_where_the_least_is_nothing() -> None:
    """A target may be declared to have no least pace."""
    assert [False] * 9 == paced(0.0, *[(100.0, 1.0)] * 9)


def test_a_burst_does_not_excuse_a_later_drip() -> None:
    """Only the last window counts: what came fast before it is forgotten."""
    assert [False, False, False, True, True] == paced(1.0, (0.1, 500.0), *[(5.0, 1.0)] * 4)


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=100))
def test_a_slow_caller_does_not_make_a_target_slow(waits: list[float]) -> None:
    """Time that the target was not waited for does not count: two tokens for each second of waiting are enough."""
    pace = Pace(1.0, 10.0)
    assert not any(pace.too_slow(wait, 1.0) for wait in waits)


WATCHES = [
    # limit, share, deadline, spoken at, until, what silence means
    (10.0, None, 120.0, None, 10.0, "silent: no first token within 10 s"),
    (10.0, 60.0, 120.0, None, 10.0, "silent: no first token within 10 s"),
    (
        10.0,
        1.5,
        3.0,
        None,
        1.5,
        "out_of_time: no first token within the 1.5 s that the request's deadline leaves it",
    ),
    (10.0, None, 3.0, None, 3.0, "out_of_time: the deadline of the whole request, 120 s, was reached"),
    (10.0, 1.5, 3.0, 1.0, 3.0, "out_of_time: the deadline of the whole request, 120 s, was reached"),
    (10.0, None, 120.0, 4.0, 14.0, "silent: silent for 10 s in the middle of its answer"),
    (10.0, None, 12.0, 4.0, 12.0, "out_of_time: the deadline of the whole request, 120 s, was reached"),
]


@pytest.mark.parametrize(("limit", "share", "deadline", "spoken", "until", "meaning"), WATCHES)
def test_how_long_silence_lasts_and_what_it_means(
    limit: float, share: float | None, deadline: float, spoken: float | None, until: float, meaning: str
) -> None:
    """A first token has its limit or its share of a short deadline, a stall its own; a deadline blames nobody."""
    watch = Watch(limit, LIMITS.stall, 0.0, deadline, LIMITS.request, share)
    if spoken is not None:
        watch.spoken(spoken)
    silence = watch.silence()
    assert (until, meaning) == (watch.until, f"{silence.kind}: {silence.message}")
    assert isinstance(silence, Silent) and silence.hurts_health is not isinstance(silence, OutOfTime)


@given(st.floats(0.01, 100), st.floats(0.01, 100) | st.none(), st.floats(0.01, 100), st.lists(st.floats(0, 100)))
def test_nothing_is_waited_for_beyond_the_deadline(
    limit: float, share: float | None, deadline: float, words: list[float]
) -> None:
    """Whatever is said and when, the watch never looks beyond the request's deadline."""
    watch = Watch(limit, LIMITS.stall, 0.0, deadline, LIMITS.request, share)
    assert watch.until <= deadline
    for at in words:
        watch.spoken(at)
        assert watch.until <= deadline


PRICE = Price(Decimal(2), Decimal(10))
COSTS = [
    # fields of the request, what the target declares, US dollars: "hello" is two tokens of prompt
    ({"max_tokens": 100}, PLAIN, Decimal("0.001004")),
    ({"max_completion_tokens": 100, "max_tokens": 7}, PLAIN, Decimal("0.001004")),
    ({"max_tokens": 100, "n": 3}, PLAIN, Decimal("0.003004")),
    ({}, Capabilities(max_output_tokens=1000), Decimal("0.010004")),
    ({}, PLAIN, (2 * 2 + 10 * ASSUMED_OUTPUT) / Decimal(1_000_000)),
]


@pytest.mark.parametrize(("fields", "can", "expected"), COSTS)
def test_the_most_that_a_call_may_cost(fields: dict[str, int], can: Capabilities, expected: Decimal) -> None:
    """The prompt and the longest answers that are allowed, at the target's price."""
    assert expected == dearest(request(**fields), target("a", capabilities=can, price=PRICE))


def test_an_unknown_price_is_unknown() -> None:
    """A target without a price may cost anything; that is not nothing."""
    assert None is dearest(request(), target("a"))


def test_tokens_of_a_call_that_was_broken_off_are_estimated() -> None:
    """The prompt by its length, rounded up, and what arrived of the answer."""
    assert Usage(2, 4) == estimated_usage(request(), 3.6)
