"""A stream of bytes cut at every single byte: the caller never has half an answer that looks like a whole one.

The whole data plane in virtual time over a transport of bytes in memory: no offset is left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import Log, RecordingOutcomes
from tests.one_router import KEY, Told, document, read
from tests.spoken import CROSSED, SPEAKERS, SSE, beginning
from tests.virtual import run
from understudy.catalog import Target
from understudy.errors import Transient
from understudy.keys import ClientKey, hash_key
from understudy.runtime.gateway import ApiRequest
from understudy.services.feedback import Feedback
from understudy.services.keepsakes import Keepsakes
from understudy.services.publish_control import publish
from understudy.services.read_model import ReadModel
from understudy.services.route_request import RouteRequest
from understudy.services.upstream import Upstream
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.transport.secrets import ReferencedSecrets

PIECES = ["Ä 👩‍🚀 ", "漢", "字 é\u0301🙂\n", " ok"]
TEXT = "".join(PIECES)
OTHER = "Ä 👩‍🚀 文字, and much longer too"
"""As long as the caller has no more than the beginning that both share, it is as good."""
READ = 48
"""Bytes of one read, so that reads end inside characters too."""

Script = Callable[[dict[str, Any]], tuple[bytes, bool]]
"""What a provider says to a request's body, and whether its connection then breaks."""


def said(wire: str, *texts: str) -> bytes:
    """A whole answer."""
    return b"".join(SPEAKERS[wire].pieces(texts))


@dataclass(slots=True)
class Bytes:
    """Satisfies `understudy.ports.Reply`."""

    data: bytes
    breaks: bool
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: SSE)

    async def body(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), READ):
            yield self.data[start : start + READ]
        if self.breaks:
            raise Transient("the connection broke")


class Wires:
    """Satisfies `understudy.ports.Transport`: `scripts` by the provider's name, which is the host of its address."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}

    @asynccontextmanager
    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AsyncGenerator[Bytes, None]:
        yield Bytes(*self.scripts[url.split("/")[2].partition(".")[0]](json.loads(body)))


class Unmoved(RecordingOutcomes):
    """Outcomes that no failure puts out of the rotation: every cut is met by a fresh lead."""

    in_doubt = False

    def adopt(self, *_: object, **__: object) -> None:
        """Nothing is taken over."""

    async def lease(self, target: Target) -> bool:
        return True

    def measured(self, name: str, samples: object) -> None:
        """Nothing is kept."""

    async def settle(self, patience: float) -> None:
        """Nothing is written."""


class Plane:
    """A router of a lead and an understudy over `wires`."""

    def __init__(self, lead: str, spare: str, **fields: Any) -> None:
        addresses = [(lead, "https://lead.example"), (spare, "https://spare.example")]
        store, log, self.wires = Store(MemoryTable()), Log(), Wires()
        publish(store, document(addresses, **fields), now=0.0, by="test")
        store.put_key(ClientKey(hash_key(KEY), "app", 0.0))
        secrets = ReferencedSecrets({"KEY": "not-a-real-key"}, lambda service: None, lambda: 0.0)
        outcomes = Unmoved()
        self._service = RouteRequest(
            ReadModel(store, lambda: 0.0, log),
            outcomes,  # type: ignore[arg-type]
            Upstream(self.wires, secrets, "understudy/test", lambda: 0.0),
            Keepsakes(store, lambda: 0.0, log),
            Feedback(store, outcomes, lambda: 0.0, log),
            clock=lambda: 0.0,
            logger=log,
            rng=random.Random(1),
        )

    async def ask(self, lead: Script, spare: Script, *, stream: bool = True) -> Told:
        self.wires.scripts = {"lead": lead, "spare": spare}
        body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
        headers = {"authorization": f"Bearer {KEY}"}
        request = ApiRequest("POST", "/chat/completions", headers, json.dumps(body).encode(), "")
        return await read(await self._service.answer(request))


@cache
def plane(lead: str, spare: str, *, prefills: bool = False) -> Plane:
    """A router of these wires; `prefills`: the understudy is declared to continue an assistant's message."""
    return Plane(lead, spare, spare_has={"capabilities": {"prefill": "message"}} if prefills else {})


def cut(raw: bytes, at: int, *, breaks: bool) -> Script:
    return lambda body: (raw[:at], breaks)


def places(raw: bytes, breaks: bool) -> range:
    """Where an answer is cut: at every byte, the even ones by a break and the odd ones by a clean end."""
    return range(0 if breaks else 1, len(raw) + 1, 2)


def repeats(wire: str) -> Script:
    """Says the same text in other pieces."""
    whole = said(wire, TEXT[:3], TEXT[3:5], TEXT[5:])
    return lambda body: (whole, False)


def differs(wire: str) -> Script:
    whole = said(wire, OTHER)
    return lambda body: (whole, False)


def continues(wire: str) -> Script:
    """Goes on from the assistant's message that ends the conversation, if there is one."""

    def reply(body: dict[str, Any]) -> tuple[bytes, bool]:
        rest = TEXT.removeprefix(beginning(body) or "")
        return said(wire, rest[:1], rest[1:]), False

    return reply


pairs = pytest.mark.parametrize(("lead", "spare"), [(lead.wire, spare.wire) for lead, spare in CROSSED])
endings = pytest.mark.parametrize("breaks", [True, False], ids=["break", "clean end"])


@pairs
@endings
@pytest.mark.parametrize("understudy", [repeats, continues])
def test_cut_anywhere_the_answer_is_whole(
    understudy: Callable[[str], Script], breaks: bool, lead: str, spare: str
) -> None:
    """At whichever byte the lead is cut, the caller has the text exactly once, a stop reason and the end marker."""
    raw, script = said(lead, *PIECES), understudy(spare)

    async def everywhere() -> list[int]:
        router = plane(lead, spare, prefills=understudy is continues)
        told = [await router.ask(cut(raw, at, breaks=breaks), script) for at in places(raw, breaks)]
        return [at for at, one in zip(places(raw, breaks), told, strict=True) if not one.whole(TEXT)]

    assert [] == run(everywhere())


@pairs
@endings
def test_cut_anywhere_another_text_is_never_spliced_in(breaks: bool, lead: str, spare: str) -> None:
    """At whichever byte: all of one text and an end, or a beginning of the lead's and an error; nothing between."""
    raw, script = said(lead, *PIECES), differs(spare)

    async def everywhere() -> list[str]:
        router = plane(lead, spare)
        told = [await router.ask(cut(raw, at, breaks=breaks), script) for at in places(raw, breaks)]
        return [_kind(one) for one in told]

    kinds = run(everywhere())
    # The other text until the first of the lead is given, the error while the lead's stop reason has not come.
    assert ["other", "broken", "whole"] == [
        kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before
    ]


def _kind(told: Told) -> str:
    if told.whole(TEXT) or told.whole(OTHER):
        return "whole" if told.whole(TEXT) else "other"
    beginning = bool(told.text) and TEXT.startswith(told.text)
    return "broken" if told.broken and beginning else f"wrong: {told.raw.decode()}"


@pairs
@endings
def test_cut_anywhere_a_caller_that_does_not_stream_has_one_text(breaks: bool, lead: str, spare: str) -> None:
    """At whichever byte: the lead's whole answer or the understudy's, never an error and never a mixture."""
    raw, script = said(lead, *PIECES), differs(spare)

    async def everywhere() -> list[str]:
        router = plane(lead, spare)
        told = [await router.ask(cut(raw, at, breaks=breaks), script, stream=False) for at in places(raw, breaks)]
        return [_kind(one) for one in told]

    kinds = run(everywhere())
    assert ["other", "whole"] == [kind for kind, _ in groupby(kinds)]


ANY = st.text(alphabet='ab \n"\\é漢🙂👩‍\u0301\u2028', min_size=1, max_size=20)


@settings(max_examples=60)
@given(st.data(), ANY, st.sampled_from(list(SPEAKERS)), st.sampled_from(list(SPEAKERS)), st.booleans(), st.booleans())
def test_any_text_cut_anywhere_is_whole(
    data: st.DataObject, text: str, lead: str, spare: str, breaks: bool, prefills: bool
) -> None:
    """Any text, in any pieces, on any wires, cut at any byte by either end: the rest fits without a seam."""
    first, second = (data.draw(st.lists(st.integers(0, len(text)), max_size=5)) for _ in range(2))
    raw = said(lead, *_pieces(text, first))
    at = data.draw(st.integers(0, len(raw)))

    def reply(body: dict[str, Any]) -> tuple[bytes, bool]:
        return said(spare, *_pieces(text.removeprefix(beginning(body) or ""), second)), False

    told = run(plane(lead, spare, prefills=prefills).ask(cut(raw, at, breaks=breaks), reply))
    assert told.whole(text)


@settings(max_examples=100)
@given(st.data(), ANY, ANY, st.sampled_from(list(SPEAKERS)), st.sampled_from(list(SPEAKERS)), st.booleans())
def test_any_other_text_is_whole_or_not_there(
    data: st.DataObject, text: str, other: str, lead: str, spare: str, breaks: bool
) -> None:
    """Whatever the two say: the caller has all of one text, or a beginning of the lead's and an error."""
    first, second = (data.draw(st.lists(st.integers(0, 20), max_size=5)) for _ in range(2))
    raw, script = said(lead, *_pieces(text, first)), said(spare, *_pieces(other, second))
    at = data.draw(st.integers(0, len(raw)))
    told = run(plane(lead, spare).ask(cut(raw, at, breaks=breaks), lambda body: (script, False)))
    assert told.whole(text) or told.whole(other) or (told.broken and text.startswith(told.text))


def _pieces(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place for place in places if place < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]
