"""Ids that say whose they are and still say of what kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.bound import NOBODY, kept_by, marked_id, owners, read

OWNER = "1f2e3d4c"


@pytest.mark.parametrize("identifier", ["resp_68af", "rs_1", "msg_a_b", "compaction_x"])
def test_an_id_keeps_its_kind_in_front(identifier: str) -> None:
    """Clients tell by the beginning of an id what it is of."""
    kind, _, rest = identifier.partition("_")
    assert f"{kind}_us1.{OWNER}.{rest}" == marked_id(identifier, OWNER)
    assert (OWNER, identifier) == read(marked_id(identifier, OWNER))


@given(st.text())
def test_any_id_comes_back_to_its_owner_only(identifier: str) -> None:
    """Whatever a provider calls a thing, it is sent exactly that again, and nobody else is."""
    given_out = marked_id(identifier, OWNER)
    expected = (identifier, None) if identifier else ("", "")
    assert expected == (kept_by(given_out, OWNER), kept_by(given_out, "0" * 7 + "1"))


def test_what_the_router_made_is_owned_by_no_target() -> None:
    """An id of the router's own draws a request to nobody."""
    assert [OWNER] == list(owners(["msg_us1." + NOBODY + ".x", "rs_us1." + OWNER + ".x", "a text with rs_us1.1"]))


def test_an_id_without_an_owner_is_not_marked() -> None:
    """Where nobody owns anything, ids are what the provider gave."""
    assert "resp_1" == marked_id("resp_1", "")
