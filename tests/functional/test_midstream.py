"""Every way in which an answer can break off after the caller has a part of it, and who can go on with it.

The caller gets the whole answer with no seam, or an error that SDKs raise; never half an answer that looks whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.one_router import Case, Scene, play, play_all, routed
from tests.raw_provider import RawProvider, Reply, Script
from tests.spoken import ANTHROPIC, CROSSED, OPENAI, PAIRS, SSE, Speaker, beginning, event, refused, streamed

TEXTS = ["Grüße ", "aus 東京 🙂 ", "und ", "von überall", ": 42."]
TEXT = "".join(TEXTS)
GIVEN = TEXTS[0] + TEXTS[1]
"""What the caller has when the lead breaks off."""
AT = 4
"""Pieces of a stream until then: two without content, two texts."""
OTHER = "Grüße aus Kyoto, und von überall: 41."

Break = Callable[[Speaker], Reply]


def lead_says(speaker: Speaker) -> Reply:
    return streamed(speaker.pieces(TEXTS))


BREAKS: dict[str, Break] = {
    "cut": lambda speaker: lead_says(speaker).broken("close", after=AT),
    "cut inside an event": lambda speaker: lead_says(speaker).broken(
        "close", after=AT, say=speaker.pieces(["x"])[2][:30]
    ),
    "clean end": lambda speaker: lead_says(speaker).broken("clean", after=AT),
    "clean end inside an event": lambda speaker: lead_says(speaker).broken(
        "clean", after=AT, say=speaker.pieces(["x"])[2][:30]
    ),
    "clean end with an end marker": lambda speaker: lead_says(speaker).broken(
        "clean", after=AT, say=speaker.pieces([])[-1]
    ),
    "stall": lambda speaker: lead_says(speaker).broken("hang", after=AT),
    "stall with keep-alives": lambda speaker: Reply(
        headers=SSE, pieces=[*lead_says(speaker).pieces[:AT], *([(0.05, b": still here\n\n")] * 40)]
    ),
    "reset": lambda speaker: lead_says(speaker).broken("reset", after=AT),
    "error event": lambda speaker: lead_says(speaker).broken("clean", after=AT, say=speaker.error("overloaded_error")),
    "error event, then silence": lambda speaker: lead_says(speaker).broken(
        "hang", after=AT, say=speaker.error("api_error")
    ),
    "unreadable": lambda speaker: lead_says(speaker).broken("hang", after=AT, say=b"data: {\n\ndata: {\n\n"),
}

pairs = pytest.mark.parametrize(("lead", "spare"), PAIRS, ids=[f"{a.wire}-{b.wire}" for a, b in PAIRS])
crossed = pytest.mark.parametrize(("lead", "spare"), CROSSED, ids=[lead.wire for lead, _ in CROSSED])


def through_every_break(lead: Speaker, spare: tuple[Speaker, Script], **fields: Any) -> dict[str, Scene]:
    """The same request once for each way to break off."""
    return play_all({how: Case((lead, [BREAKS[how](lead)]), (spare[0], spare[1:]), **fields) for how in BREAKS})


def continues(speaker: Speaker) -> Script:
    """An understudy that goes on with an assistant's message, in pieces of its own."""

    def reply(body: dict[str, Any]) -> Reply:
        rest = TEXT.removeprefix(beginning(body) or "")
        return streamed(speaker.pieces([rest[:1], rest[1:8], rest[8:]]))

    return reply


def repeats(speaker: Speaker) -> Script:
    """An understudy that refuses to go on with an assistant's message, but says the same when asked from the start."""

    def reply(body: dict[str, Any]) -> Reply:
        if beginning(body) is not None:
            return refused(400, speaker.problem("invalid_request_error", "the last message must be the user's"))
        return streamed(speaker.pieces([TEXT[:2], TEXT[2:17], TEXT[17:]]))

    return reply


def differs(speaker: Speaker) -> Script:
    def reply(body: dict[str, Any]) -> Reply:
        if beginning(body) is not None:
            return refused(400, speaker.problem("invalid_request_error", "the last message must be the user's"))
        return streamed(speaker.pieces([OTHER]))

    return reply


PREFILLS = {"capabilities": {"prefill": "message"}}


def seams(scene: Scene) -> list[tuple[str, str, int, str]]:
    """Who went on for whom, at which character and how, if the caller has one whole answer of one id and one role."""
    assert scene.told.whole(TEXT)
    events = [one for one in scene.told.events if one["choices"]]
    assert 1 == len({one["id"] for one in events})
    assert 1 == sum("role" in choice["delta"] for one in events for choice in one["choices"])
    assert [events[-1]] == [one for one in events if "understudy" in one]
    resumed = events[-1]["understudy"]["resumed"]
    assert resumed == scene.router.decision["resumed"]
    return [(one["from"], one["to"], one["at"], one["how"]) for one in resumed]


@pairs
def test_an_understudy_that_continues_a_beginning_goes_on(lead: Speaker, spare: Speaker) -> None:
    """Whatever ended the lead's answer: the understudy is given the text so far and its text follows, with no seam."""
    scenes = through_every_break(lead, (spare, continues(spare)), spare_has=PREFILLS)
    expected = [("lead", "spare", len(GIVEN), "continuation")]
    assert dict.fromkeys(BREAKS, expected) == {how: seams(scene) for how, scene in scenes.items()}
    assert {(1, 1)} == {scene.calls for scene in scenes.values()}
    assert {GIVEN.rstrip()} == {beginning(scene.spare.calls[0].body) for scene in scenes.values()}


@pairs
def test_an_understudy_that_refuses_a_beginning_but_repeats_the_text_goes_on(lead: Speaker, spare: Speaker) -> None:
    """Its refusal is not what the caller is told: asked from the start it says the same, and the rest is delivered."""
    scenes = through_every_break(lead, (spare, repeats(spare)), spare_has=PREFILLS)
    expected = [("lead", "spare", len(GIVEN), "repetition")]
    assert dict.fromkeys(BREAKS, expected) == {how: seams(scene) for how, scene in scenes.items()}
    assert {(1, 2)} == {scene.calls for scene in scenes.values()}
    assert [["caller", "ok"]] * len(BREAKS) == [scene.outcomes[1:] for scene in scenes.values()]


@pairs
def test_an_understudy_with_another_text_is_not_spliced_in(lead: Speaker, spare: Speaker) -> None:
    """The stream ends with an error that names the first failure: no stop reason, no end marker, nothing of the
    other text."""
    scenes = through_every_break(lead, (spare, differs(spare)), spare_has=PREFILLS)
    for told, attempts in ((scene.told, scene.router.decision["attempts"]) for scene in scenes.values()):
        error = told.error or {}
        assert (True, GIVEN, "stream_broken") == (told.broken, told.text, error["code"])
        assert error["message"].startswith("target 'lead' broke off in the middle of its answer: ")
        assert " (nobody could go on with it:" in error["message"]
        assert "spare: it differs from what was delivered at character 10" in error["message"]
        assert "diverged" in [one["outcome"] for one in attempts]


@crossed
def test_a_caller_that_does_not_stream_gets_the_understudys_whole_answer(lead: Speaker, spare: Speaker) -> None:
    """Nothing was given yet, so another text is as good: the caller sees one whole answer of one model."""
    scenes = through_every_break(lead, (spare, differs(spare)), stream=False)
    assert dict.fromkeys(BREAKS, True) == {how: scene.told.whole(OTHER) for how, scene in scenes.items()}
    assert {("spare", 1)} == {(scene.told.target, scene.calls[1]) for scene in scenes.values()}


@crossed
def test_an_assured_route_gives_nothing_before_it_is_whole(lead: Speaker, spare: Speaker) -> None:
    """A streaming caller of such a route never meets a seam."""
    scenes = through_every_break(lead, (spare, differs(spare)), assured=True)
    assert dict.fromkeys(BREAKS, True) == {how: scene.told.whole(OTHER) for how, scene in scenes.items()}


@crossed
def test_a_route_may_let_an_understudy_go_on_in_a_users_turn(lead: Speaker, spare: Speaker) -> None:
    """Where nothing sounder works and the route agreed, the understudy is asked in words for what follows."""

    def reply(body: dict[str, Any]) -> Reply:
        asked_to_go_on = len(body["messages"]) == 3
        return streamed(spare.pieces([TEXT[len(GIVEN) :] if asked_to_go_on else OTHER]))

    scene = play((lead, [BREAKS["cut"](lead)]), (spare, [reply]), continue_in_user_turn=True)
    assert [("lead", "spare", len(GIVEN), "user turn")] == seams(scene)


@pytest.mark.parametrize("lead", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
def test_the_lead_may_repeat_itself_when_nobody_else_can_go_on(lead: Speaker) -> None:
    """A cut that was a blip: after the understudy could not go on, the lead says its answer again."""
    scene = play((lead, [BREAKS["reset"](lead), lead_says(lead)]), (OPENAI, [differs(OPENAI)]))
    assert scene.told.whole(TEXT)
    assert ((2, 1), "lead") == (scene.calls, scene.router.decision["target"])


@crossed
def test_the_rest_may_break_off_too(lead: Speaker, spare: Speaker) -> None:
    """A second break is resumed like the first, here by a third target."""

    async def scene() -> None:
        second = streamed(spare.pieces([TEXT[:20], TEXT[20:30], TEXT[30:]])).broken("reset", after=4)
        parties = [RawProvider(BREAKS["cut"](lead)), RawProvider(second), RawProvider(lead_says(lead))]
        async with routed((lead, parties[0]), (spare, parties[1]), (lead, parties[2])) as router:
            told = await router.ask(stream=True)
        assert told.whole(TEXT)
        assert [("lead", "spare", len(GIVEN)), ("spare", "target-3", 30)] == [
            (one["from"], one["to"], one["at"]) for one in router.decision["resumed"]
        ]

    asyncio.run(scene())


# what is held back

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
ARGUMENTS = ['{"city": "Tō', 'kyō", "day"', ": 3}"]


def calls_of(scene: Scene, stream: bool) -> list[tuple[str, Any]]:
    """The tool calls that the caller puts together: (name, arguments)."""
    if not stream:
        made = scene.told.events[0]["choices"][0]["message"]["tool_calls"]
        return [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in made]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for payload in scene.told.events:
        for choice in payload["choices"]:
            for one in choice["delta"].get("tool_calls", ()):
                names[one["index"]] = names.get(one["index"], "") + one["function"].get("name", "")
                arguments[one["index"]] = arguments.get(one["index"], "") + one["function"].get("arguments", "")
    return [(names[index], json.loads(arguments[index])) for index in names]


ENDINGS: list[Any] = ["clean", "close", "reset", "hang"]


@crossed
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("text", ["", "Let me look. "], ids=["call", "text and call"])
def test_a_tool_call_cut_halfway_is_restarted_whole(text: str, lead: Speaker, spare: Speaker, stream: bool) -> None:
    """The caller never sees half of an argument: the understudy's call comes whole, with arguments of its own."""
    half = streamed(lead.call(ARGUMENTS, text)[:-4])
    again = streamed(spare.call(['{"city":', '"Kyōto"}'], text))
    body = {"tools": [TOOL]}
    scenes = play_all(
        {
            ending: Case((lead, [half.broken(ending, after=99)]), (spare, [again]), stream=stream, body=body)
            for ending in ENDINGS
        }
    )
    for scene in scenes.values():
        assert ([("look", {"city": "Kyōto"})], "tool_calls") == (calls_of(scene, stream), scene.told.finish)
        assert (text, False) == (scene.told.text, "Tō" in scene.told.raw.decode())


@crossed
def test_another_text_before_a_tool_call_is_not_spliced_in(lead: Speaker, spare: Speaker) -> None:
    """A call that follows another text than the delivered one is not given to the caller."""
    half = streamed(lead.call(ARGUMENTS, "Let me look. ")[:-4]).broken("close", after=99)
    scene = play((lead, [half]), (spare, [streamed(spare.call(["{}"], "Looking. "))]), body={"tools": [TOOL]})
    assert (True, "Let me look. ") == (scene.told.broken, scene.told.text)
    assert "tool_calls" not in scene.told.raw.decode()


SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@crossed
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_structured_output_cut_halfway_is_restarted_whole(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """Half a JSON text is worth nothing: the caller gets the understudy's whole one."""
    whole: Script = streamed(spare.pieces(['{"a":', " 1}"]))
    scenes = through_every_break(lead, (spare, whole), stream=stream, body={"response_format": SCHEMA})
    assert dict.fromkeys(BREAKS, True) == {how: scene.told.whole('{"a": 1}') for how, scene in scenes.items()}


# pace


@crossed
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_drip_counts_as_a_stall(lead: Speaker, spare: Speaker, stream: bool) -> None:
    """A token now and then, fewer than the target's least over the stall limit: the understudy goes on."""
    drip = streamed(lead.pieces(list(TEXT)), gap=0.08)
    scene = play((lead, [drip]), (spare, [repeats(spare)]), stream=stream, lead_has={"min_tokens_per_s": 20})
    assert scene.told.whole(TEXT)
    assert (["silent", "ok"], True) == (scene.outcomes, scene.lead.calls[0].aborted)
    assert "fewer than 20 tokens/s" in scene.router.decision["attempts"][0]["detail"]


@crossed
def test_any_pace_may_be_allowed(lead: Speaker, spare: Speaker) -> None:
    """A target that is declared to have no least pace may drip."""
    drip = streamed(lead.pieces(list(TEXT[:9])), gap=0.08)
    scene = play((lead, [drip]), (spare, [repeats(spare)]), lead_has={"min_tokens_per_s": 0})
    assert scene.told.whole(TEXT[:9])


# what SDKs make of it


async def through_the_sdk(raw: bytes) -> list[str]:
    """What a program reads that uses OpenAI's own library; raises what the library raises."""
    messages: Any = [{"role": "user", "content": "hello"}]
    async with (
        RawProvider(Reply(headers=SSE, pieces=[(0.0, raw)])) as router,
        openai.AsyncOpenAI(base_url=router.url, api_key="us-key", max_retries=0, timeout=5) as client,
    ):
        stream = await client.chat.completions.create(model="chat", messages=messages, stream=True)
        return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]


@crossed
@pytest.mark.parametrize("how", ["cut", "stall", "reset", "error event", "clean end"])
def test_an_answer_that_nobody_could_finish_is_raised_by_the_sdk(how: str, lead: Speaker, spare: Speaker) -> None:
    """The in-band error is an exception for whoever reads the stream with OpenAI's library."""
    scene = play((lead, [BREAKS[how](lead)]), (spare, [differs(spare)]))
    with pytest.raises(openai.APIError, match="broke off in the middle of its answer"):
        asyncio.run(through_the_sdk(scene.told.raw))


@crossed
def test_a_resumed_answer_is_read_by_the_sdk(lead: Speaker, spare: Speaker) -> None:
    """The note on the last chunk does not disturb OpenAI's library."""
    scene = play((lead, [BREAKS["cut"](lead)]), (spare, [repeats(spare)]))
    assert TEXT == "".join(asyncio.run(through_the_sdk(scene.told.raw)))


@crossed
def test_a_refusal_in_the_middle_is_told_and_not_routed_around(lead: Speaker, spare: Speaker) -> None:
    """A provider that takes its answer back for its content is believed: nobody else is asked."""
    payload = {"error": {"type": "content_filter", "code": "content_filter", "message": "flagged"}}
    said = event(payload | ({"type": "error"} if lead is ANTHROPIC else {}), "error" if lead is ANTHROPIC else "")
    scene = play((lead, [lead_says(lead).broken("clean", after=AT, say=said)]), (spare, [repeats(spare)]))
    assert (True, (1, 0)) == (scene.told.broken, scene.calls)
    assert "flagged" in (scene.told.error or {})["message"]
