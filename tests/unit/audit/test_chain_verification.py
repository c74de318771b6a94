"""What can be done to records, and what is said of it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audited import DAY, Writer, changed, moved, sorts, verified
from understudy.audit.chain import canonical, day_of, hash_of, head_from, line_of, linked, moment, opened


def test_records_that_are_all_there_are_as_written() -> None:
    """Whole segments that reach the heads which the table knows have no flaw, in whatever order they come."""
    one, other = Writer("aa").written(5), Writer("bb").written(3)
    lines = [*one.lines, *other.lines]
    random.Random(1).shuffle(lines)
    report = verified(lines, [one.head, other.head])
    assert ((), 8, 2) == (report.flaws, report.records, report.segments)


def test_a_changed_record_is_named() -> None:
    """One letter of one record is enough, and it is named with its request and where it stands."""
    writer = Writer().written(4)
    lines = [*writer.lines]
    lines[2] = changed(lines[2], target="another")
    (flaw,) = verified(lines, [writer.head]).flaws
    words = "its content is not what was written: the hash differs, request r3 (file:3)"
    assert f"tampered: {DAY}/aa record 3: {words}" == str(flaw)


def test_a_changed_record_with_a_new_hash_does_not_fit() -> None:
    """Whoever works out the hash anew breaks the next record's."""
    writer = Writer().written(4)
    before = json.loads(writer.lines[2])
    record = before["record"] | {"target": "another"}
    link = before["audit"]
    own = hash_of(link["segment"], link["seq"], link["prev"], canonical(record))
    forged = moved(changed(writer.lines[2], target="another"), hash=own)
    assert [("tampered", 4)] == sorts(verified([*writer.lines[:2], forged, writer.lines[3]], [writer.head]))


def test_a_chain_that_was_written_anew_misses_its_head() -> None:
    """Whoever works out the whole rest of a segment anew is told by the head that the table has."""
    writer = Writer().written(4)
    forger = Writer().written(2)
    forger.write(target="another")
    forger.write()
    assert [] == sorts(verified(forger.lines, [forger.head]))
    assert [("tampered", 4)] == sorts(verified(forger.lines, [writer.head]))


def test_a_missing_record_is_missing_and_no_more() -> None:
    """Logs may lose a line: what is there is still as written, and the gap has its numbers."""
    writer = Writer().written(6)
    report = verified([*writer.lines[:2], *writer.lines[4:]], [writer.head])
    assert [f"missing: {DAY}/aa record 3: records 3 to 4 are missing"] == [str(flaw) for flaw in report.flaws]


def test_what_comes_twice_is_counted_once() -> None:
    """Logs are delivered at least once, and that is no tampering."""
    writer = Writer().written(3)
    report = verified([*writer.lines, *writer.lines[1:]], [writer.head])
    assert ((), 3, 2) == (report.flaws, report.records, report.repeated)


def test_an_inserted_record_is_named() -> None:
    """A second record of a number that another has, and one at the end that the head does not know."""
    writer = Writer().written(3)
    other = Writer().written(1)
    other.write(target="put in")
    assert [("tampered", 2)] == sorts(verified([*writer.lines, other.lines[1]], [writer.head]))
    head = writer.head
    writer.write(target="put in")
    assert [("open", 4)] == sorts(verified(writer.lines, [head]))


def test_records_that_change_places_are_named() -> None:
    """A number is part of the hash."""
    writer = Writer().written(3)
    swapped = [writer.lines[0], moved(writer.lines[2], seq=2), moved(writer.lines[1], seq=3)]
    assert [("tampered", 2)] == sorts(verified(swapped, [writer.head]))


def test_a_cut_tail_is_missed() -> None:
    """What the table knows must be there; without it nobody can tell, and that is said."""
    writer = Writer().written(5)
    assert [("missing", 4)] == sorts(verified(writer.lines[:3], [writer.head]))
    assert [("open", 4)] == sorts(verified(writer.lines[:3]))


def test_a_whole_segment_that_is_gone_is_missed() -> None:
    """The day knows its environments; one that it does not know is not vouched for."""
    one, other = Writer("aa").written(2), Writer("bb").written(2)
    missing = f"missing: {DAY}/bb record 1: the whole segment of 2 records is missing"
    assert [missing] == [str(flaw) for flaw in verified(one.lines, [one.head, other.head]).flaws]
    assert [("open", 1)] == sorts(verified([*one.lines, *other.lines], [one.head]))


def test_records_do_not_fit_into_another_segment() -> None:
    """Two segments cannot be made one."""
    one, other = Writer("aa").written(2), Writer("bb").written(2)
    merged = [moved(line, segment=f"{DAY}/aa", seq=n) for n, line in enumerate(other.lines, start=3)]
    assert [("tampered", 3)] == sorts(verified([*one.lines, *merged], [one.head]))[:1]


def test_the_next_day_holds_the_end_of_the_day_before() -> None:
    """An environment that lives on names what it wrote last, so that neither more nor less can be there."""
    first = Writer("aa").written(3)
    second = Writer("bb", "2026-12-11", first.head).written(1)
    assert {"open"} == {sort for sort, _ in sorts(verified([*first.lines, *second.lines]))}
    cut = verified([*first.lines[:2], *second.lines])
    assert ("missing", 3) == sorts(cut)[0]
    first.write(target="put in")
    assert ("tampered", 4) == sorts(verified([*first.lines, *second.lines]))[0]


def test_a_field_that_stands_twice_is_not_what_was_written() -> None:
    """A reader that takes the first and one that takes the last would read different records."""
    writer = Writer()
    writer.write(target="lead")
    doubled = writer.lines[0].replace('"record":{', '"record":{"target":"another",')
    assert [("tampered", 1)] == sorts(verified([doubled], [writer.head]))


WRITERS = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(WRITERS, st.data())
def test_whatever_is_done_to_records_is_seen(counts: list[int], data: st.DataObject) -> None:
    """Every change, removal, copy under another place and insertion of a record has a flaw that is not `open`; what
    delivery does has none."""
    writers = [Writer(f"{n:02x}").written(count) for n, count in enumerate(counts)]
    heads = [writer.head for writer in writers]
    lines = [line for writer in writers for line in writer.lines]
    twice = [*lines, *data.draw(st.lists(st.sampled_from(lines), max_size=4))]
    assert () == verified(data.draw(st.permutations(twice)), heads).flaws
    at = data.draw(st.integers(0, len(lines) - 1))
    link = json.loads(lines[at])["audit"]
    done = data.draw(st.sampled_from(["change", "remove", "renumber", "segment", "hash", "prev"]))
    spoilt = {
        "change": [changed(lines[at], request_id="x")],
        "remove": [],
        "renumber": [moved(lines[at], seq=link["seq"] + 1)],
        "segment": [moved(lines[at], segment=f"{DAY}/ff")],
        "hash": [moved(lines[at], hash="0" * 64)],
        "prev": [moved(lines[at], prev="0" * 64)],
    }[done]
    flaws = sorts(verified([*lines[:at], *spoilt, *lines[at + 1 :]], heads))
    expected = "missing" if done == "remove" else "tampered"
    assert expected in {sort for sort, _ in flaws}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_a_record_survives_being_read_and_written_again(record: dict[str, object]) -> None:
    """Its line can be parsed, written with other spaces and another order, and still has its hash."""
    text = canonical(record)
    link = linked(opened(DAY, "aa"), text)
    line = line_of(link, text, 0.0, "room")
    value = json.loads(line)
    again = json.dumps(dict(reversed(value.items())), indent=1, ensure_ascii=False).replace("\n", " ")
    for written in (line, again):
        assert [("open", 2)] == sorts(verified([json.dumps(json.loads(written))]))


@pytest.mark.parametrize("at", [0.0, 1_796_900_000.9996, 1_796_947_199.9999])
def test_moments_are_text_in_order(at: float) -> None:
    """To the millisecond, in UTC, never rounded into the next day."""
    assert moment(at)[:10] == day_of(at)
    assert moment(at) < moment(at + 0.001)


@pytest.mark.parametrize("mark", ["", "x", "#1#h", "2026-12-10/aa#one#h", "2026-12-10/aa#1#"])
def test_a_mark_that_names_no_head_is_none(mark: str) -> None:
    """What stands in a record may be anything."""
    assert head_from(mark) is None
    writer = Writer().written(1)
    assert writer.head == head_from(writer.head.mark)
