"""What the Gemini wire reads, streamed and whole, held against answers in the shapes of the API's documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.response import completion_from_chunks
from understudy.chat.stream import Chunk
from understudy.errors import AttemptFailed, Credential, Garbage, Overloaded, RateLimited
from understudy.wire.base import Event
from understudy.wire.gemini import GeminiWire
from understudy.wire.gemini_stream import BROKEN, DISABLED, FINISH, GeminiDecoder

WIRE = GeminiWire()
OWNER = "0badcafe"
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "gemini" / "answers.json"
ANSWERS: list[dict[str, Any]] = json.loads(FIXTURES.read_text())["answers"]
NAMES = [answer["name"] for answer in ANSWERS]


def named(name: str) -> dict[str, Any]:
    return next(answer for answer in ANSWERS if answer["name"] == name)


def event(**payload: Any) -> Event:
    return Event("", json.dumps(payload))


def candidate(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"content": {"parts": list(parts), "role": "model"}, "index": 0, **fields}


def fed(decoder: GeminiDecoder, *candidates: dict[str, Any], **fields: Any) -> list[Chunk]:
    return decoder.feed(event(candidates=list(candidates), responseId="r1", modelVersion="m", **fields))


def completion(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """What the caller reads; a minted id is cut at its last underscore."""
    whole = completion_from_chunks(chunks)
    for choice in whole["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            if call["id"].startswith("call_"):
                call["id"] = call["id"].rpartition("_")[0] + "_"
    return {name: whole.get(name) for name in ("choices", "usage", "model")}


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_each_recorded_answer_reads_as_recorded(answer: dict[str, Any]) -> None:
    """Text, thinking, calls, signatures, stop reasons and counts arrive in OpenAI's shape."""
    decoder = GeminiDecoder(len(answer["choices"]), OWNER)
    chunks = [chunk for one in answer["events"] for chunk in decoder.feed(Event("", json.dumps(one)))]
    assert {name: answer[name] for name in ("choices", "usage", "model")} == completion(chunks)
    assert (True, False) == (decoder.complete, decoder.ended)


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_a_whole_answer_reads_as_its_stream(answer: dict[str, Any]) -> None:
    """The same answer in one body is the same completion."""
    whole = dict(answer["events"][-1])
    if len(answer["events"]) > 1:
        merged: dict[int, dict[str, Any]] = {}
        for one in [one for body in answer["events"] for one in body["candidates"]]:
            kept = merged.setdefault(one["index"], {**one, "content": {"role": "model", "parts": []}})
            kept["content"]["parts"] += one["content"].get("parts", [])
            kept |= {name: value for name, value in one.items() if name != "content"}
        whole["candidates"] = list(merged.values())
    assert {name: answer[name] for name in ("choices", "usage", "model")} == completion(WIRE.chunks(whole, owner=OWNER))


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_the_providers_own_sdk_parses_what_is_recorded(answer: dict[str, Any]) -> None:
    """Every recorded body has only fields that the SDK's types know."""
    for one in answer["events"]:
        types.GenerateContentResponse.model_validate(one)


def test_every_stop_reason_of_the_sdk_has_its_meaning() -> None:
    """No stop reason that the API is known to give is unknown here, and none is both an answer and none."""
    known = {reason.value for reason in types.FinishReason} - {"FINISH_REASON_UNSPECIFIED"}
    assert known == {*FINISH, *BROKEN, DISABLED}
    assert set() == set(FINISH) & BROKEN


@pytest.mark.parametrize("reason", sorted(FINISH))
def test_stop_reasons(reason: str) -> None:
    """Each stop reason is OpenAI's word for it, streamed and whole."""
    said = candidate({"text": "a"}, finishReason=reason)
    for chunks in (fed(GeminiDecoder(), said), WIRE.chunks({"candidates": [said]})):
        assert [{0: FINISH[reason]}] == [chunk.finish_reasons for chunk in chunks if chunk.finish_reasons]


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_an_end_that_is_no_answer_fails_over(reason: str) -> None:
    """A call that cannot be read, or an end without a reason, is garbage, which another target may do better."""
    said = candidate({"text": "a"}, finishReason=reason)
    for read in (lambda: fed(GeminiDecoder(), said), lambda: WIRE.chunks({"candidates": [said]})):
        with pytest.raises(Garbage, match=reason):
            read()


def test_an_account_that_is_disabled_is_a_credential_failure() -> None:
    """The provider says in a stop reason that it no longer serves us."""
    with pytest.raises(Credential):
        fed(GeminiDecoder(), candidate(finishReason=DISABLED))


@pytest.mark.parametrize("reason", ["SOMETHING_NEW", "FINISH_REASON_UNSPECIFIED", 7, {}])
def test_an_unknown_stop_reason_cannot_be_read(reason: object) -> None:
    """Nothing is guessed of a stop reason that nobody knows."""
    with pytest.raises(ValueError, match=r"finish|finishReason"):
        fed(GeminiDecoder(), candidate(finishReason=reason))


def test_the_order_of_chunks() -> None:
    """Role in the first delta, one id, the stop reason in the last chunk with a choice, counts once and last."""
    answer = named("calls with ids, in events, one without arguments")
    decoder = GeminiDecoder()
    chunks = [chunk for one in answer["events"] for chunk in decoder.read(one)]
    deltas = [chunk.payload["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert [True, False, False, False] == ["role" in delta for delta in deltas]
    assert 1 == len({chunk.payload["id"] for chunk in chunks})
    assert [{}, {}, {}, {0: "tool_calls"}, {}] == [chunk.finish_reasons for chunk in chunks]
    assert [False] * 4 + [True] == ["usage" in chunk.payload for chunk in chunks]
    assert [0, 1] == [delta["tool_calls"][0]["index"] for delta in deltas if "tool_calls" in delta]


def test_counts_are_known_before_the_end() -> None:
    """Where an answer breaks off, what was counted so far is known to the router, and not told to the caller."""
    chunk = fed(GeminiDecoder(), candidate({"text": "a"}), usageMetadata={"promptTokenCount": 5})[0]
    assert (5, False) == (chunk.usage and chunk.usage.prompt_tokens, "usage" in chunk.payload)


def test_counts_that_come_late_are_told_once() -> None:
    """Counts in an event of their own, after the stop reason, are one chunk; repeated, they are none."""
    decoder = GeminiDecoder()
    fed(decoder, candidate({"text": "a"}, finishReason="STOP"))
    late = [decoder.feed(event(usageMetadata={"promptTokenCount": 5})) for _ in range(2)]
    assert [1, 0] == [len(chunks) for chunks in late]
    assert 5 == late[0][0].payload["usage"]["prompt_tokens"]


def test_an_answer_is_complete_when_every_choice_has_stopped() -> None:
    """A stream that ends earlier, however cleanly, is a cut."""
    decoder = GeminiDecoder(2)
    seen = [decoder.complete]
    for index, reason in ((0, None), (0, "STOP"), (1, None), (1, "STOP")):
        stop = {} if reason is None else {"finishReason": reason}
        fed(decoder, {**candidate({"text": "a"}, **stop), "index": index})
        seen.append(decoder.complete)
    assert [False, False, False, False, True] == seen


def test_a_blocked_prompt_ends_every_choice() -> None:
    """There are no candidates to say it, so each choice that was asked for is told."""
    decoder = GeminiDecoder(2)
    chunks = decoder.feed(event(promptFeedback={"blockReason": "SAFETY"}))
    assert ({0: "content_filter", 1: "content_filter"}, True) == (
        {index: reason for chunk in chunks for index, reason in chunk.finish_reasons.items()},
        decoder.complete,
    )


def test_minted_ids_fit_and_are_never_the_same_twice() -> None:
    """Ids that are made have at most 40 characters and differ between calls, choices and answers."""
    call = {"functionCall": {"name": "f", "args": {}}}
    ids = []
    for answer in ("r1", "r2"):
        for index in (0, 1):
            said = {**candidate(call, {**call, "thoughtSignature": "s"}), "index": index}
            chunks = GeminiDecoder(2).feed(event(candidates=[said], responseId=answer))
            ids += [chunk.payload["choices"][0]["delta"]["tool_calls"][0]["id"] for chunk in chunks]
    assert (8, True) == (len(set(ids)), all(len(one) <= 40 for one in ids))


def test_a_long_id_of_the_provider_is_replaced() -> None:
    """OpenAI's API would refuse it in a conversation that goes on there."""
    call = {"id": "x" * 41, "name": "f", "args": {}}
    chunk = fed(GeminiDecoder(), candidate({"functionCall": call}))[0]
    assert 40 >= len(chunk.payload["choices"][0]["delta"]["tool_calls"][0]["id"])


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "AA=="}}, "inlineData"),
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, "executableCode"),
        ({"somethingNew": {}}, "somethingNew"),
        ({"functionCall": {"name": "f", "willContinue": True}}, "pieces"),
    ],
)
def test_a_part_that_cannot_be_carried_is_never_left_out(part: dict[str, Any], word: str) -> None:
    """An answer that would look whole without it is none."""
    with pytest.raises(Garbage, match=word):
        fed(GeminiDecoder(), candidate(part))


def test_what_is_said_beside_a_text_does_not_make_it_unreadable() -> None:
    """A field that a text may have one day takes nothing from the text."""
    assert "a" == fed(GeminiDecoder(), candidate({"text": "a", "partMetadata": {"x": 1}}))[0].text


UNREADABLE: list[dict[str, Any]] = [
    {"candidates": {}},
    {"candidates": ["a"]},
    {"candidates": [{"content": [], "index": 0}, 7]},
    {"candidates": [{"content": "a"}]},
    {"candidates": [{"content": {"parts": {}}, "index": 0}]},
    {"candidates": [{"content": {"parts": ["a"]}}]},
    {"candidates": [{"content": {"parts": [{"text": 1}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": 1}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"args": {}}}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": []}}]}}]},
    {"candidates": [{"index": "0"}]},
    {"candidates": [{"logprobsResult": {"chosenCandidates": [{"token": 1}]}}]},
]


@pytest.mark.parametrize("payload", UNREADABLE)
def test_another_shape_cannot_be_read(payload: dict[str, Any]) -> None:
    """An event of another shape is a ValueError, and never half an answer."""
    with pytest.raises(ValueError):
        GeminiDecoder().feed(event(**payload))


HUGE = '{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1e999}}}]}}]}'


@pytest.mark.parametrize("data", ["{", "[1]", "null", '{"a":' * 5000, HUGE])
def test_what_is_no_object_cannot_be_read(data: str) -> None:
    """Broken JSON, other values, bottomless nesting and numbers that JSON has not are a ValueError."""
    with pytest.raises(ValueError):
        GeminiDecoder().feed(Event("", data))


def test_an_answer_that_goes_on_after_its_end_cannot_be_read() -> None:
    """The caller was told that it was over."""
    decoder = GeminiDecoder()
    fed(decoder, candidate({"text": "a"}, finishReason="STOP"))
    with pytest.raises(ValueError, match="after its stop reason"):
        fed(decoder, candidate({"text": "b"}))
    assert [] == fed(decoder, candidate(finishReason="STOP"))


def error(code: int, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", "status": status, "details": list(details)}}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}


@pytest.mark.parametrize(
    ("payload", "expected", "wait"),
    [
        (error(503, "UNAVAILABLE"), Overloaded, None),
        (error(429, "RESOURCE_EXHAUSTED", RETRY), RateLimited, 1.5),
    ],
)
def test_an_error_in_the_place_of_an_answer(
    payload: dict[str, Any], expected: type[AttemptFailed], wait: float | None
) -> None:
    """An error in a stream, or with status 200, is the failure that it names."""
    for read in (lambda: GeminiDecoder().feed(event(**payload)), lambda: WIRE.chunks(payload)):
        with pytest.raises(AttemptFailed) as caught:
            read()
        assert (expected, wait) == (type(caught.value), caught.value.retry_after)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"candidates": []},
        {"candidates": [candidate(finishReason="STOP")]},
        {"candidates": [candidate({"text": ""}, finishReason="STOP")]},
        {"candidates": [candidate({"text": "only thought", "thought": True}, finishReason="STOP")]},
        {"candidates": [candidate({"text": "a"})]},
    ],
)
def test_a_whole_answer_without_an_answer_is_garbage(body: dict[str, Any]) -> None:
    """No candidate, no end, or nothing said: a 200 that is none."""
    with pytest.raises(Garbage):
        WIRE.chunks(body)


@given(st.lists(st.lists(st.text(max_size=5), max_size=3), max_size=5))
def test_text_is_the_same_however_it_is_cut(pieces: list[list[str]]) -> None:
    """Parts and events concatenate to the text, whatever is in them."""
    decoder = GeminiDecoder()
    chunks = [c for texts in pieces for c in fed(decoder, candidate(*({"text": text} for text in texts)))]
    chunks += fed(decoder, candidate(finishReason="STOP"))
    assert "".join(text for texts in pieces for text in texts) == "".join(chunk.text for chunk in chunks)
    assert decoder.complete
