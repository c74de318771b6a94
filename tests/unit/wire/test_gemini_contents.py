"""What the Gemini wire makes of a conversation: turns, parts, calls with their results, and signatures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.bound import marked
from understudy.chat.request import chat_request
from understudy.errors import InvalidRequest
from understudy.wire.base import Quirks
from understudy.wire.gemini import GeminiWire
from understudy.wire.gemini_contents import UNSIGNED

WIRE = GeminiWire()
OWNER = "0badcafe"
QUIRKS = Quirks(OWNER)
USER = {"role": "user", "content": "hi"}
PNG = "data:image/PNG;charset=x;base64,iVBORw0KGgo="


def sent(*messages: dict[str, Any], quirks: Quirks = QUIRKS) -> dict[str, Any]:
    request = chat_request({"model": "r", "messages": list(messages)})
    made = WIRE.call(request, model="m", stream=False, drop=frozenset(), max_output_tokens=None, quirks=quirks)
    body: dict[str, Any] = json.loads(made.body)
    return body


def turns(*messages: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(content["role"], content["parts"]) for content in sent(*messages)["contents"]]


def lost(*messages: dict[str, Any], quirks: Quirks = QUIRKS) -> set[str]:
    return set(WIRE.cannot_carry(chat_request({"model": "r", "messages": list(messages)}), quirks))


def asked(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def call(id: str = "c1", name: str = "f", arguments: Any = "{}", signature: str = "") -> dict[str, Any]:
    made = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return made | ({"extra_content": {"google": {"thought_signature": signature}}} if signature else {})


def calls(*made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(made), **fields}


def result(id: str = "c1", content: Any = "ok", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content, **fields}


def answered(id: str, name: str, **response: Any) -> dict[str, Any]:
    return {"functionResponse": {"id": id, "name": name, "response": response}}


def test_instructions_stand_apart_and_later_ones_stay_in_their_place() -> None:
    """Leading system messages are the instruction; one in the middle is said by the user, and nothing is lost."""
    body = sent(
        {"role": "system", "content": "S1"},
        {"role": "developer", "content": [{"type": "text", "text": "S2"}]},
        USER,
        {"role": "assistant", "content": "yes"},
        {"role": "system", "content": "MID"},
        USER,
    )
    assert {"parts": [{"text": "S1"}, {"text": "S2"}]} == body["systemInstruction"]
    assert ["user", "model", "user"] == [content["role"] for content in body["contents"]]
    assert [{"text": "MID"}, {"text": "hi"}] == body["contents"][2]["parts"]


def test_instructions_alone_are_asked() -> None:
    """The API wants a content, so the last instruction is one."""
    body = sent({"role": "system", "content": "S1"}, {"role": "system", "content": "S2"})
    assert ({"parts": [{"text": "S1"}]}, [{"text": "S2"}]) == (
        body["systemInstruction"],
        body["contents"][0]["parts"],
    )


def test_blank_texts_are_left_out_and_roles_alternate() -> None:
    """A text without a visible character says nothing and would be refused."""
    said = {"role": "assistant", "content": "a"}
    blank = [
        {"role": "system", "content": " "},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "\n"},
    ]
    assert [("user", [{"text": "hi"}, {"text": "hi"}]), ("model", [{"text": "a"}, {"text": "a"}])] == turns(
        blank[0], USER, blank[2], USER, said, blank[1], said
    )
    with pytest.raises(InvalidRequest) as caught:
        sent(*blank)
    assert "messages" == caught.value.param


def test_results_have_their_functions_names_and_their_calls_order() -> None:
    """Several results of one turn are one content, before its text, in the order of their calls."""
    made = turns(
        USER,
        calls(call("c1", "f", '{"a": 1}'), call("c2", "g", "")),
        result("c2", '{"x": [1]}'),
        {"role": "system", "content": "MID"},
        result("c1", ""),
        USER,
    )
    assert ["user", "model", "user"] == [role for role, _ in made]
    assert [{"id": "c1", "name": "f", "args": {"a": 1}}, {"id": "c2", "name": "g", "args": {}}] == [
        part["functionCall"] for part in made[1][1]
    ]
    expected = [answered("c1", "f", output=""), answered("c2", "g", x=[1]), {"text": "MID"}, {"text": "hi"}]
    assert expected == made[2][1]


def test_an_id_that_comes_again_means_the_latest_call() -> None:
    """Some servers number their calls anew in every answer."""
    made = turns(USER, calls(call("0", "f")), result("0"), calls(call("0", "g")), result("0"))
    assert ["f", "g"] == [
        part["functionResponse"]["name"] for _, parts in made for part in parts if "functionResponse" in part
    ]


def test_a_result_of_an_unknown_call_needs_a_name() -> None:
    """The API knows results by the function's name, which only the call has, or the result itself."""
    with pytest.raises(InvalidRequest) as caught:
        sent(USER, result("c9"))
    assert "messages[1].tool_call_id" == caught.value.param
    assert [answered("c9", "f", output="ok")] == turns(USER, result("c9", name="f"))[0][1][:1]


RESULTS: list[tuple[Any, dict[str, Any]]] = [
    ("plain", {"output": "plain"}),
    ("  ", {"output": "  "}),
    ('{"a": {"b": 1}}', {"a": {"b": 1}}),
    ("[1, 2]", {"output": "[1, 2]"}),
    ("12", {"output": "12"}),
    ('{"a": NaN}', {"output": '{"a": NaN}'}),
    ('{"a": 1e999}', {"output": '{"a": 1e999}'}),
    ('{"a": 1, "a": 2}', {"output": '{"a": 1, "a": 2}'}),
    ('{"a":' * 9000, {"output": '{"a":' * 9000}),
    ([{"type": "text", "text": "a"}, {"type": "text", "text": " "}, {"type": "text", "text": "b"}], {"output": "a b"}),
]


@pytest.mark.parametrize(("content", "response"), RESULTS)
def test_a_result_is_an_object(content: Any, response: dict[str, Any]) -> None:
    """An object that is spelled is sent as such; anything else is put into one, as it is."""
    made = turns(USER, calls(call()), result("c1", content))
    assert [answered("c1", "f", **response)] == made[2][1]


def test_a_picture_in_a_result_goes_with_it() -> None:
    """Multimodal results have their pictures beside the object."""
    image = {"type": "image_url", "image_url": {"url": PNG}}
    part = turns(USER, calls(call()), result("c1", [{"type": "text", "text": "see"}, image]))[2][1][0]
    assert [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}] == part["functionResponse"]["parts"]
    assert {"output": "see"} == part["functionResponse"]["response"]


@pytest.mark.parametrize("arguments", ["{bad", "[1]", '"s"', 7, '{"a":' * 9000])
def test_arguments_that_are_no_object_are_refused_by_name(arguments: Any) -> None:
    """The API takes an object, and nothing else is one."""
    with pytest.raises(InvalidRequest) as caught:
        sent(USER, calls(call(), call("c2", "f", arguments)), result())
    assert "messages[1].tool_calls[1].function.arguments" == caught.value.param


PARTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://h/a/b.JPG?x=1.png"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://h/a/b.JPG?x=1.png"}},
    ),
    ({"type": "image_url", "image_url": {"url": "http://h/pic"}}, {"fileData": {"fileUri": "http://h/pic"}}),
    (
        {"type": "input_audio", "input_audio": {"data": "AAA=", "format": "mp3"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "AAA="}},
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
    ),
]


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_pictures_sound_and_documents(part: dict[str, Any], expected: dict[str, Any]) -> None:
    """What is given in base64 is sent inline, what has an address by its address."""
    assert [("user", [{"text": "see"}, expected])] == turns(asked({"type": "text", "text": "see"}, part))


BAD_PARTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "image_url", "image_url": {}}, "image_url.url"),
    ({"type": "image_url"}, "image_url.url"),
    ({"type": "image_url", "image_url": {"url": "ftp://h/a.png"}}, "image_url.url"),
    ({"type": "image_url", "image_url": {"url": "data:image/png,raw"}}, "image_url.url"),
    ({"type": "input_audio", "input_audio": {"data": "AAA="}}, "input_audio.format"),
    ({"type": "input_audio", "input_audio": {"data": "AAA=", "format": "a/b"}}, "input_audio.format"),
    ({"type": "file", "file": {"filename": "a"}}, "file.file_data"),
    ({"type": "file", "file": {"file_data": "JVBE"}}, "file.file_data"),
]


@pytest.mark.parametrize(("part", "field"), BAD_PARTS)
def test_a_part_of_another_shape_is_refused_by_name(part: dict[str, Any], field: str) -> None:
    """The mistake is named by its path, and asking what can be carried never fails."""
    lost(asked(part))
    with pytest.raises(InvalidRequest) as caught:
        sent(asked(part))
    assert f"messages[0].content[0].{field}" == caught.value.param


MISFITS: list[tuple[dict[str, Any], set[str]]] = [
    (asked({"type": "video_url", "video_url": {}}), {"messages[0].content[0]"}),
    (
        asked({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}),
        {"messages[0].content[0].image_url.detail"},
    ),
    (asked({"type": "file", "file": {"file_id": "f-1"}}), {"messages[0].content[0].file.file_id"}),
    (asked({"type": "text", "text": "a", "cache_control": {"type": "x"}}), {"messages[0].content[0].cache_control"}),
    ({"role": "user", "content": "a", "name": "bob"}, {"messages[0].name"}),
    ({"role": "function", "name": "f", "content": "x"}, {"messages[0]"}),
    ({"role": "assistant", "content": "a", "prefix": True}, {"messages[0].prefix"}),
    (calls({"id": "c", "type": "custom", "function": {"name": "f"}}), {"messages[0].tool_calls[0]"}),
    (calls({**call(), "note": "n"}), {"messages[0].tool_calls[0].note"}),
    (calls({**call(), "type": None, "index": 0, "note": None}), set()),
]


@pytest.mark.parametrize(("message", "names"), MISFITS)
def test_what_has_no_place_is_named_by_its_path(message: dict[str, Any], names: set[str]) -> None:
    """Nothing of a message is dropped in silence."""
    assert names == lost(message)


def test_addresses_of_pictures_may_be_more_than_a_target_can_take() -> None:
    """A provider that does not fetch pictures is not sent their addresses; those in base64 it takes."""
    parts = asked(*(part for part, _ in PARTS[:2]))
    assert {"messages[0].content[1]"} == lost(parts, quirks=Quirks(image_urls=False))
    assert set() == lost(parts)


def test_an_echoed_answer_is_valid_history() -> None:
    """What an SDK dumps of a message, nulls and all, is taken back; its thinking is not repeated."""
    echoed = {
        "role": "assistant",
        "content": "yes",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
        "parsed": {"a": 1},
        "reasoning_content": "hm",
    }
    assert set() == lost(USER, echoed, USER)
    assert [("user", [{"text": "hi"}]), ("model", [{"text": "yes"}])] == turns(USER, echoed)


def test_the_beginning_of_an_answer_is_the_last_turn() -> None:
    """An answer to be gone on with stands last, as the model's."""
    assert ("model", [{"text": "one, two"}]) == turns(USER, {"role": "assistant", "content": "one, two"})[-1]


def signatures(*messages: dict[str, Any], owner: str = OWNER) -> list[str | None]:
    """The signatures of all calls that are sent, in order."""
    contents = sent(*messages, quirks=Quirks(owner))["contents"]
    return [part.get("thoughtSignature") for one in contents for part in one["parts"] if "functionCall" in part]


def test_a_signature_goes_back_bare_to_its_owner_only() -> None:
    """The target that signed gets its signature, on the call and on the text; for another it is left out."""
    history = [
        USER,
        calls(
            call("c1", signature=marked("s1", OWNER)),
            call("c2"),
            content="see",
            extra_content={"google": {"thought_signature": marked("st", OWNER)}},
        ),
        result("c1"),
        result("c2"),
    ]
    assert ["s1", None] == signatures(*history)
    assert {"text": "see", "thoughtSignature": "st"} == turns(*history)[1][1][0]
    assert [UNSIGNED, None] == signatures(*history, owner="11111111")
    assert {"text": "see"} == sent(*history, quirks=Quirks("11111111"))["contents"][1]["parts"][0]


def test_a_signature_without_a_mark_is_sent_as_it_is() -> None:
    """A caller who had it from the provider itself may go on here."""
    assert ["s1"] == signatures(USER, calls(call(signature="s1")), result())


def test_only_the_current_turn_needs_stand_ins() -> None:
    """The first call of each step since the user last spoke; earlier turns and further calls of a step do not."""
    first = [calls(call("c1"), call("c2")), result("c1"), result("c2")]
    then = [calls(call("c3")), result("c3")]
    said = {"role": "assistant", "content": "done"}
    assert [UNSIGNED, None, UNSIGNED] == signatures(USER, *first, *then)
    assert [None, None, UNSIGNED] == signatures(USER, *first, said, USER, *then)
    assert [None, None, None] == signatures(USER, *first, *then, said, USER)
    # A system message among the results does not make a turn of its own.
    assert [UNSIGNED, None] == signatures(USER, *first, {"role": "system", "content": "MID"})


@pytest.mark.parametrize("extra", [{}, {"google": {}}, {"google": "x"}, {"google": {"thought_signature": 7}}, "x", []])
def test_what_is_no_signature_is_none(extra: Any) -> None:
    """Some clients send back an empty or broken remainder of it."""
    assert [UNSIGNED] == signatures(USER, calls({**call(), "extra_content": extra}), result())


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=2))
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=3)


@st.composite
def conversations(draw: Any) -> list[dict[str, Any]]:
    """Any conversation in which every call is answered before somebody speaks again."""
    messages: list[dict[str, Any]] = draw(st.lists(st.just({"role": "system", "content": "S"}), max_size=2))
    for number in range(draw(st.integers(1, 4))):
        messages.append({"role": draw(st.sampled_from(["user", "system"])), "content": draw(TEXT)})
        made = [
            call(f"{number}.{place}", draw(st.sampled_from(["f", "g"])), json.dumps(draw(OBJECTS)))
            for place in range(draw(st.integers(0, 3)))
        ]
        messages.append({"role": "assistant", "content": draw(TEXT)} | ({"tool_calls": made} if made else {}))
        messages += [result(one["id"], draw(TEXT)) for one in draw(st.permutations(made))]
    return messages


def read_back(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a Gemini body says, by a reader that knows nothing of ours: the SDK's types."""
    for content in [types.Content.model_validate(one) for one in body["contents"]]:
        for part in content.parts or []:
            if part.function_call is not None:
                yield "call", (part.function_call.id, part.function_call.name, part.function_call.args)
            elif part.function_response is not None:
                given = part.function_response
                yield "result", (given.id, given.name, given.response)
            elif part.text is not None:
                yield str(content.role), part.text


@given(conversations())
def test_a_conversation_keeps_its_meaning(messages: list[dict[str, Any]]) -> None:
    """Who said what, which calls were made with what, and what they brought: all of it arrives, and in order."""
    try:
        body = sent(*messages)
    except InvalidRequest as refused:
        assert "messages" == refused.param
        return
    told = list(read_back(body))
    instructions = [part["text"] for part in body.get("systemInstruction", {}).get("parts", [])]
    roles = {"system": "user", "user": "user", "assistant": "model"}
    said = [(roles[m["role"]], m["content"]) for m in messages if m["role"] in roles and m["content"].strip()]
    texts = [("user", text) for text in instructions] + [one for one in told if one[0] in ("user", "model")]
    assert sorted(said) == sorted(texts)
    assert [one for one in said if one[0] == "model"] == [one for one in texts if one[0] == "model"]
    made = [one for message in messages for one in message.get("tool_calls", ())]
    expected = [(one["id"], one["function"]["name"], json.loads(one["function"]["arguments"])) for one in made]
    assert expected == [given for kind, given in told if kind == "call"]
    names = {one["id"]: one["function"]["name"] for one in made}
    brought = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    results = [given for kind, given in told if kind == "result"]
    assert [(one["id"], names[one["id"]]) for one in made] == [given[:2] for given in results]
    assert all(response in ({"output": brought[id]}, _spelled(brought[id])) for id, _, response in results)
    assert "user" == body["contents"][0]["role"] or not body["contents"][0]["parts"][0].get("functionResponse")
    pairs = zip(body["contents"], body["contents"][1:], strict=False)
    assert all(one["role"] != other["role"] for one, other in pairs)


def _spelled(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
