"""Answers with something that no other target can be told to repeat: what a provider's own tool did, spoken words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import piece, text_of
from tests.unit.routing.worlds import World, answer
from understudy.errors import Diverged, StreamBroken, Transient
from understudy.routing.resume import Seam

OPAQUE = replace(piece(), opaque=True, native=({"type": "response.output_item.added"},))


def test_nobody_goes_on_from_what_cannot_be_repeated() -> None:
    """Once the caller has it, a cut is told: another answer would be glued to it by guess."""
    world = World({"a": [[OPAQUE, piece("fi"), Transient("cut")]], "b": [answer("fine")]})
    result = world.run()
    assert isinstance(result, StreamBroken)
    assert ("fi", ["a"]) == (text_of(world.seen), world.ask.calls)


def test_before_the_caller_has_it_others_may_answer() -> None:
    """A failure before anything was given is hidden as ever."""
    world = World({"a": [[piece(), Transient("cut")]], "b": [[OPAQUE, piece("fine"), piece(finish="stop")]]})
    assert "fine" == world.run()
    assert OPAQUE in world.seen


def test_what_only_its_own_protocol_has_is_not_joined_to_another_answer() -> None:
    """A repetition that brings such a thing is another answer; left out, it would look whole and not be."""
    seam = Seam({(0, "content"): "fi"})
    with pytest.raises(Diverged):
        seam.feed(OPAQUE)
