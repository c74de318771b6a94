"""Going on with an answer that broke off: for any text, any cut and any pieces, nothing repeated, nothing missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from understudy.chat.stream import Chunk, chunk_from
from understudy.errors import Diverged
from understudy.routing.resume import Channel, Delivered, Gate, Resumption, Seam, continued, labelled

# Few characters, so that repetitions and near-repetitions are common; of one to four bytes, joined ones too.
TEXT = st.text(alphabet="ab \n\té漢🙂👩‍\u0301", max_size=24)
SAID = st.text(alphabet="ab \né漢🙂", min_size=1, max_size=24)


def chunk(index: int = 0, finish: str | None = None, logprobs: Any = None, **delta: Any) -> Chunk:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return chunk_from({"id": "c", "choices": [choice | ({"logprobs": logprobs} if logprobs else {})]})


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces, some of them perhaps empty."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=6))
    return [text[a:b] for a, b in pairwise([0, *sorted(places), len(text)])]


@st.composite
def answer(draw: st.DrawFn, texts: Mapping[Channel, str], *, thinks: bool = True) -> list[Chunk]:
    """A whole stream that says these texts: roles first, the channels' pieces interleaved, then the stop reasons."""
    left = {channel: draw(cut(text)) for channel, text in texts.items()}
    indexes = sorted({index for index, _ in texts})
    chunks = [chunk(index, role="assistant", content="") for index in indexes]
    if thinks and draw(st.booleans()):
        chunks.append(chunk(indexes[0], reasoning_content="hm"))
    while waiting := [channel for channel, pieces in left.items() if pieces]:
        index, name = draw(st.sampled_from(waiting))
        chunks.append(chunk(index, **{name: left[index, name].pop(0)}))
    return [*chunks, *(chunk(index, finish="stop") for index in indexes)]


CHANNELS = st.sampled_from(
    [
        [(0, "content")],
        [(0, "refusal")],
        [(0, "content"), (1, "content")],
        [(0, "content"), (1, "refusal"), (2, "content")],
    ]
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[dict[Channel, str], Delivered]:
    """What an answer would have said, and what of it was delivered when it broke off."""
    texts = {channel: draw(TEXT) for channel in draw(CHANNELS)}
    chunks = draw(answer(texts))
    delivered = Delivered()
    for one in chunks[: draw(st.integers(1, len(chunks) - 1))]:
        delivered.add(one)
    return texts, delivered


def through(seam: Seam, chunks: Sequence[Chunk]) -> list[Chunk]:
    """What the seam lets through of a whole stream."""
    passed = [kept for one in chunks if (kept := seam.feed(one)) is not None]
    seam.end()
    return passed


def joined(delivered: Mapping[Channel, str], passed: Sequence[Chunk]) -> dict[Channel, str]:
    """What the caller has of each channel after these chunks."""
    after = Delivered()
    for one in passed:
        after.add(one)
    fresh = after.texts
    whole = {channel: delivered.get(channel, "") + fresh.get(channel, "") for channel in {**delivered, **fresh}}
    return {channel: text for channel, text in whole.items() if text}


def reasons(chunks: Sequence[Chunk]) -> list[int]:
    return sorted(index for one in chunks for index in one.finish_reasons)


@given(st.data())
def test_a_repetition_is_joined_without_a_seam(data: st.DataObject) -> None:
    """However the answer was cut, broken off and repeated: delivered plus let through is the text, of each choice."""
    texts, delivered = data.draw(broken())
    repetition = data.draw(answer(texts))
    passed = through(Seam(delivered.texts, delivered.finished), repetition)
    assert {channel: text for channel, text in texts.items() if text} == joined(delivered.texts, passed)
    assert sorted({index for index, _ in texts} - delivered.finished) == reasons(passed)


@given(st.data())
def test_a_repetition_brings_neither_role_nor_thinking_again(data: st.DataObject) -> None:
    """The caller has a role and another's thinking; of the new stream's neither is let through."""
    texts, delivered = data.draw(broken())
    passed = through(Seam(delivered.texts, delivered.finished), data.draw(answer(texts)))
    names = {name for one in passed for choice in one.payload["choices"] for name in choice["delta"]}
    assert set() == names - {"content", "refusal"}
    assert all(choice["delta"] or choice["finish_reason"] for one in passed for choice in one.payload["choices"])


@given(st.data())
def test_another_text_is_refused_before_anything_wrong_is_given(data: st.DataObject) -> None:
    """A stream that differs from what was delivered of a choice raises, and nothing of that choice was let through."""
    texts, delivered = data.draw(broken())
    open_channels = [channel for channel in delivered.texts if channel[0] not in delivered.finished]
    assume(open_channels)
    channel = data.draw(st.sampled_from(open_channels))
    at = data.draw(st.integers(0, len(delivered.texts[channel]) - 1))
    other = texts | {channel: texts[channel][:at] + "#" + texts[channel][at + 1 :]}
    seam, passed = Seam(delivered.texts, delivered.finished), []
    with pytest.raises(Diverged, match="at character"):
        passed.extend(kept for one in data.draw(answer(other)) if (kept := seam.feed(one)) is not None)
    assert channel not in joined({}, passed)


@given(st.data())
def test_a_shorter_text_is_refused(data: st.DataObject) -> None:
    """A stream that stops before it has said all that was delivered raises at its stop reason, or at its end."""
    text = data.draw(SAID)
    shorter = data.draw(cut(text[: data.draw(st.integers(0, len(text) - 1))]))
    stops = data.draw(st.booleans())
    seam = Seam({(0, "content"): text})
    assert [] == [one for piece in shorter if (one := seam.feed(chunk(content=piece))) is not None]
    with pytest.raises(Diverged, match="another way" if stops else "it is shorter than what was delivered"):
        seam.feed(chunk(finish="stop")) if stops else seam.end()


@pytest.mark.parametrize(
    "delta", [{"tool_calls": [{"index": 0, "id": "t"}]}, {"refusal": "no"}, {"function_call": {"name": "f"}}]
)
def test_another_kind_of_answer_is_another_answer(delta: dict[str, Any]) -> None:
    """Where text was delivered, a stream that calls a tool or refuses before it has repeated the text has diverged."""
    seam = Seam({(0, "content"): "text"})
    with pytest.raises(Diverged, match="it goes another way than what was delivered at character 0"):
        seam.feed(chunk(**delta))


def test_choices_go_on_independently() -> None:
    """A choice whose text was repeated goes on while another is still repeating, and no choice waits for another."""
    seam = Seam({(0, "content"): "long text", (1, "content"): "a"})
    assert seam.feed(chunk(0, content="long ")) is None
    first = seam.feed(chunk(1, content="ab"))
    assert first is not None and "b" == first.text
    second = seam.feed(chunk(0, content="text!"))
    assert second is not None and "!" == second.text


def test_a_choice_that_is_complete_is_left_alone() -> None:
    """A choice whose stop reason was delivered gets nothing more, whatever the new stream says of it."""
    delivered = Delivered()
    for one in (chunk(0, content="done"), chunk(0, finish="stop"), chunk(1, content="ha")):
        delivered.add(one)
    new = [chunk(0, content="done?"), chunk(1, content="half"), chunk(0, finish="length"), chunk(1, finish="stop")]
    passed = through(Seam(delivered.texts, delivered.finished), new)
    assert ("lf", [{1: "stop"}]) == ("".join(c.text for c in passed), [c.finish_reasons for c in passed[1:]])


@given(st.data())
def test_a_continuation_is_joined_with_the_white_space_that_was_cut(data: st.DataObject) -> None:
    """The text to continue does not end in white space; what was cut must come again, and is not given twice."""
    text = data.draw(SAID)
    assume(text.strip())
    delivered = Delivered()
    for piece in data.draw(cut(text[: data.draw(st.integers(1, len(text)))])):
        delivered.add(chunk(content=piece))
    begun = continued(delivered)
    assume(begun is not None)
    kept, space = begun or ("", "")
    assert (kept + space, kept) == (delivered.texts[0, "content"], kept.rstrip())
    pieces = [chunk(content=piece) for piece in data.draw(cut(text[len(kept) :]))]
    passed = through(Seam({(0, "content"): space}), [*pieces, chunk(finish="stop")])
    assert {(0, "content"): text} == joined(delivered.texts, passed)


def test_a_continuation_without_its_white_space_is_refused() -> None:
    """Words are never glued together: a continuation that leaves the cut white space out has diverged."""
    seam = Seam({(0, "content"): " "})
    with pytest.raises(Diverged, match="it differs from what was delivered at character 0"):
        seam.feed(chunk(content="word"))


NOT_CONTINUED = [
    [],
    [chunk(content=" \n")],
    [chunk(refusal="no")],
    [chunk(content="yes"), chunk(refusal="no")],
    [chunk(0, content="a"), chunk(1, content="b")],
    [chunk(1, content="b")],
    [chunk(reasoning_content="hm")],
]


@pytest.mark.parametrize("chunks", NOT_CONTINUED)
def test_what_cannot_be_continued(chunks: list[Chunk]) -> None:
    """Blank text, a refusal and more than one choice have no single text that could be continued."""
    delivered = Delivered()
    for one in chunks:
        delivered.add(one)
    assert continued(delivered) is None


TOKENS = st.lists(st.text(alphabet="ab 🙂", min_size=1, max_size=4), min_size=1, max_size=8)


@given(TOKENS, st.data())
def test_log_probabilities_are_trimmed_to_the_tokens_that_are_new(tokens: list[str], data: st.DataObject) -> None:
    """Tokens wholly within the delivered text are left out; one that straddles the seam is kept whole."""
    text = "".join(tokens)
    at = data.draw(st.integers(0, len(text) - 1))
    entries = [{"token": token, "logprob": -0.1} for token in tokens]
    kept = Seam({(0, "content"): text[:at]}).feed(chunk(content=text, logprobs={"content": entries, "refusal": None}))
    assert kept is not None
    told = kept.payload["choices"][0]["logprobs"]
    ends = [len("".join(tokens[: n + 1])) for n in range(len(tokens))]
    assert [entry for entry, end in zip(entries, ends, strict=True) if end > at] == told["content"]
    assert None is told["refusal"]


def test_counts_pass_the_seam() -> None:
    """The counts at the end of a stream are let through, and only they."""
    counted = chunk_from({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    kept = Seam({(0, "content"): "text"}).feed(counted)
    assert kept is not None and counted.usage == kept.usage
    assert None is Seam({}).feed(chunk_from({"choices": []}))


@given(st.data())
def test_delivered_counts_characters(data: st.DataObject) -> None:
    """The place of a resumption counts the characters of all texts that the caller has."""
    texts, delivered = data.draw(broken())
    assert sum(len(text) for text in delivered.texts.values()) == delivered.characters
    assert all(texts[channel].startswith(text) for channel, text in delivered.texts.items())


# the gate

CALL = chunk(tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}])
ROLE, HI, STOP = chunk(role="assistant", content=""), chunk(content="hi"), chunk(finish="stop")
GATES: list[tuple[bool, list[Chunk], list[list[Chunk]]]] = [
    # whole, what comes, what is given at each chunk
    (False, [ROLE, HI, HI, STOP], [[], [ROLE, HI], [HI], [STOP]]),
    (False, [ROLE, ROLE], [[], []]),
    (False, [ROLE, CALL, STOP], [[], [], []]),
    (False, [HI, CALL, HI, STOP], [[HI], [], [], []]),
    (True, [ROLE, HI, STOP], [[], [], []]),
]


@pytest.mark.parametrize(("whole", "chunks", "expected"), GATES)
def test_the_gate(whole: bool, chunks: list[Chunk], expected: list[list[Chunk]]) -> None:
    """Nothing before content, nothing from a tool call on, nothing of a whole answer; what is held comes at the end."""
    gate, spoken, given_out = Gate(whole=whole), False, []
    for one in chunks:
        spoken = spoken or one.has_content
        given_out.append(list(gate.feed(one, spoken=spoken)))
    assert expected == given_out
    assert chunks == [one for some in given_out for one in some] + list(gate.rest())
    assert [] == list(gate.rest())


# the label

RESUMED = Resumption("a", "b", 4, "repetition")


def test_only_the_chunk_with_the_stop_reason_is_labelled() -> None:
    """The label stands beside the stop reason; other chunks and answers in one piece are left as they are."""
    assert (HI, STOP) == (labelled(HI, [RESUMED]), labelled(STOP, []))
    told = {"resumed": [{"from": "a", "to": "b", "at": 4, "how": "repetition"}]}
    assert told == labelled(STOP, [RESUMED]).payload["understudy"]
