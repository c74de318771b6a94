"""Which targets may be sent a request that one of them alone can serve, or that has no place in chat."""

from __future__ import annotations

import pytest

from tests.builders import request, target
from understudy.catalog import Candidate, Capabilities, Route, Target
from understudy.chat.bound import owner_of_target
from understudy.chat.request import ChatRequest, Native
from understudy.services.fitness import lost, offence, unfit, wire_for
from understudy.wire import WIRES

NAME = "previous_response_id"
BESIDE = target("beside", capabilities=Capabilities(responses=True))
OWNING = target("owning", capabilities=Capabilities(responses=True))
CHATTY = target("chatty")


def asked(owner: str = "owning") -> ChatRequest:
    """A Responses request that goes on with a response of the owner's."""
    plain = request()
    return ChatRequest(
        plain.model,
        plain.body,
        native=Native("responses", {"model": "chat", NAME: "x"}),
        needs=frozenset({NAME}),
        owned={NAME: owner_of_target(owner)} if owner else {},
    )


def on(*targets: Target, may_drop: frozenset[str] = frozenset()) -> Route:
    return Route("chat", tuple(Candidate(one, 1) for one in targets), may_drop=may_drop)


def test_only_the_owner_may_have_it() -> None:
    """The others are unfit, and the error names the field."""
    route = on(BESIDE, OWNING, CHATTY)
    assert [True, None, True] == [
        (reason := unfit(asked(), route, one)) and NAME in reason for one in (BESIDE, OWNING, CHATTY)
    ]
    assert [{NAME}, set(), {NAME}] == [lost(asked(), one) for one in (BESIDE, OWNING, CHATTY)]
    assert NAME == getattr(offence(asked(), route), "field", None)


def test_what_nobody_owns_may_go_to_whoever_speaks_the_protocol() -> None:
    """An id that was made elsewhere is sent on as it is, to targets that know what it is."""
    assert [None, None, {NAME}] == [lost(asked(""), one) or None for one in (BESIDE, OWNING, CHATTY)]


def test_a_route_may_agree_to_lose_it() -> None:
    """Then another target is asked, without it."""
    assert None is unfit(asked(), on(BESIDE, may_drop=frozenset({NAME})), BESIDE)


@pytest.mark.parametrize(("one", "protocol"), [(BESIDE, "responses"), (CHATTY, "openai")])
def test_a_target_is_asked_in_the_callers_protocol_where_it_can(one: Target, protocol: str) -> None:
    """What the router adds to is asked in the target's usual one."""
    assert WIRES[protocol] is wire_for(asked(), one)
    assert WIRES["openai"] is wire_for(asked().asking_to_go_on("x", 0), one)
