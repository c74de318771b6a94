"""Every text of a body is looked through, and nothing else of it moves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guards import PlainGuard
from understudy.catalog import PII_KINDS
from understudy.ports import PiiFinding
from understudy.services import review as reviewing
from understudy.services.review import OutOfTimeError, Review, TooDeepError

MAIL, CARD = "ann@shop.example", "4111111111111111"


def review(find: Any = None) -> Review:
    guard = PlainGuard()
    return Review(find or (lambda text: guard.find(text, PII_KINDS, frozenset())), lambda characters: None)


def put(body: dict[str, Any]) -> dict[str, Any]:
    return review().body(body)


PLAIN = st.text(st.characters(exclude_characters="@<>", exclude_categories=("Cs", "Nd")), max_size=20)
LEAVES = st.none() | st.booleans() | st.integers(-999_999, 999_999) | st.floats(-1e5, 1e5) | PLAIN
CLEAN = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4))
SECRET = st.sampled_from([MAIL, CARD, int(CARD), f"write to {MAIL} now", json.dumps({"a": [MAIL, int(CARD)]})])
DIRTY = st.recursive(
    LEAVES | SECRET,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(PLAIN | st.sampled_from([MAIL, CARD, "id", "type", "name", "data"]), inner, max_size=4)
        | st.builds(lambda value: json.dumps(value, ensure_ascii=True), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(PLAIN, CLEAN, max_size=4))
def test_a_body_without_personal_data_stays_as_it_is(body: dict[str, Any]) -> None:
    """Whatever it holds and however it is nested."""
    looked = review()
    assert (body, {}) == (looked.body(body), dict(looked.found))


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["messages", "tools", "metadata", MAIL]), DIRTY, max_size=3))
def test_no_value_is_left_anywhere(body: dict[str, Any]) -> None:
    """In texts, names and numbers, at any depth, in JSON inside JSON, and escaped there."""
    said = json.dumps(put(body))
    assert (False, False, False) == (MAIL in said, CARD in said, r"ann\u0040shop" in said)


def test_placeholders_are_typed_and_equal_values_get_equal_numbers() -> None:
    """Within one request, whatever the case of an address and the grouping of a number."""
    spans = {"4111 1111": [PiiFinding("credit_card", 0, 9)], "4111-1111": [PiiFinding("credit_card", 0, 9)]}
    guard = PlainGuard()
    found = review(lambda text: spans.get(text) or guard.find(text, PII_KINDS, frozenset()))
    body = {"messages": [f"{MAIL} and bob@shop.example", MAIL.upper().replace("EXAMPLE", "example"), *spans]}
    expected = ["<EMAIL_1> and <EMAIL_2>", "<EMAIL_1>", "<CREDIT_CARD_1>", "<CREDIT_CARD_1>"]
    assert expected == found.body(body)["messages"]
    assert {"email": 3, "credit_card": 2} == dict(found.found)


def test_json_inside_a_text_stays_the_same_json() -> None:
    """Only the value moves: not the spaces, not the other numbers, not the escapes, not the order."""
    text = (
        '{ "to":"ann\\u0040shop.example",\n "n": 1.50, "card":4111111111111111, '
        '"twice": "{\\"to\\": \\"ann@shop.example\\"}" }'
    )
    made = put({"arguments": text})["arguments"]
    expected = '{ "to":"<EMAIL_1>",\n "n": 1.50, "card":"<CREDIT_CARD_1>", "twice": "{\\"to\\": \\"<EMAIL_1>\\"}" }'
    assert expected == made


def test_where_an_api_takes_names_only_a_placeholder_is_a_name() -> None:
    """Ids, names and the names of fields have no angle brackets; what belongs together stays together."""
    body = {"messages": [{"id": f"call_{CARD}", "name": MAIL}, {"tool_call_id": f"x-{CARD}"}], "tools": {MAIL: 1}}
    expected = [{"id": f"call_{CARD}", "name": "EMAIL_1"}, {"tool_call_id": "x-CREDIT_CARD_1"}]
    made = put(body)
    assert (expected, {"EMAIL_1": 1}) == (made["messages"], made["tools"])


def test_the_name_of_the_route_is_no_text() -> None:
    """It never leaves, and the request must still be found its route."""
    assert {"model": MAIL, "user": "<EMAIL_1>"} == put({"model": MAIL, "user": MAIL})


def test_names_of_fields_do_not_collide() -> None:
    """A field that has the name of a placeholder already is kept."""
    assert {"x": {"EMAIL_1_": 1, "EMAIL_1": 2}} == put({"x": {MAIL: 1, "EMAIL_1": 2}})


PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, "messages[0]"),
        ({"type": "image_url", "image_url": {"url": "https://a.example/ann.png"}}, "messages[0]"),
        ({"type": "input_image", "file_id": "file-1"}, "messages[0]"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "messages[0]"),
        ({"type": "file", "file": {"file_data": PNG, "filename": "x"}}, "messages[0]"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}, "messages[0]"),
        ({"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}}, "messages[0]"),
        ({"type": "tool_result", "content": [{"type": "text", "text": PNG}]}, "messages[0].content[0].text"),
    ],
)
def test_files_and_pictures_are_noted_as_unread(part: dict[str, Any], place: str) -> None:
    """By their place; what is written beside them is read all the same."""
    looked = review()
    made = looked.body({"messages": [{**part, "title": f"of {MAIL}"}]})
    assert ([place], {**part, "title": "of <EMAIL_1>"}) == (list(looked.unread), made["messages"][0])


def test_a_text_does_not_pass_for_a_picture() -> None:
    """Only what is nothing but base64 is left unread."""
    parts = [f"data:,{MAIL}", f"data:text/plain;base64,AAAA {MAIL}"]
    document = {"type": "document", "source": {"type": "text", "data": MAIL}}
    hidden = {"type": "image", "source": {"type": "base64", "data": f"AAAA {MAIL}"}}
    looked = review()
    said = json.dumps(looked.body({"messages": [*parts, document, hidden]}))
    assert (False, ["messages[3]"]) == (MAIL in said, list(looked.unread))


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_a_text_that_is_tokens_already_is_unread(tokens: list[Any]) -> None:
    """Embeddings take tokens, and nobody here can read them."""
    looked = review()
    looked.body({"input": tokens})
    assert ["input"] == list(looked.unread)


def test_a_long_text_is_read_in_windows_that_overlap() -> None:
    """Wherever the cuts are, everything is found once and whole."""
    step = reviewing.WINDOW - reviewing.OVERLAP
    text = "".join(f"{MAIL} ".rjust(97, ".") for _ in range(3 * step // 97))
    for shift in (0, 1, 7, 13):
        looked = review()
        made = looked.body({"m": "x" * shift + " " + text})["m"]
        assert (False, 3 * step // 97) == (MAIL in made, looked.found["email"])
        assert "x" * shift + " " + text == made.replace("<EMAIL_1>", MAIL)


def test_overlapping_findings_leave_nothing_between_them() -> None:
    """They become one, of the longest one's kind."""
    found = [PiiFinding("phone", 0, 6), PiiFinding("credit_card", 4, 14), PiiFinding("phone", 13, 15)]
    looked = review(lambda text: found if text[0] == "0" else [])
    assert {"m": "<CREDIT_CARD_1>5"} == looked.body({"m": "0123456789012345"})


def test_places_never_hold_a_value() -> None:
    """Names that may be the caller's own content are not told."""
    looked = review()
    looked.body({"metadata": {MAIL: {"a b": MAIL}}, "messages": [{"content": MAIL}]})
    assert ["metadata.*", "metadata.*.*", "messages[0].content"] == list(looked.places)


def test_too_deep_and_too_late_are_said() -> None:
    """Neither recursion nor the clock is run down."""
    deep: Any = MAIL
    for _ in range(reviewing.DEEPEST + 1):
        deep = [deep]
    with pytest.raises(TooDeepError):
        put({"m": deep})
    with pytest.raises(TooDeepError):
        put({"m": "[" * 100_000 + "]" * 100_000})

    def late(characters: int) -> None:
        raise OutOfTimeError

    with pytest.raises(OutOfTimeError):
        Review(lambda text: [], late).body({"m": "x"})
