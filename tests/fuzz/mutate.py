"""Damage, from small to absurd, to JSON values and to bytes; everything is drawn from one seeded source."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**18, -(10**30), 1e308, "", " ", "\n", "\u0000", "😀👩‍👩‍👧‍👦", "ñ" * 300),
    *("\\ud800", "﻿", "null", "{}", "[", "data:image/png;base64,AAAA", "http://x/y.png", "../../etc/passwd", "a" * 5000),
    *([], {}, [[]], [None], {"": None}, {"type": "text"}, {"type": None}, {"type": 7}, [{}], {"a": {"b": {"c": []}}}),
)
WORDS = (
    *(
        "role",
        "content",
        "type",
        "text",
        "name",
        "id",
        "index",
        "tool_calls",
        "function",
        "arguments",
        "delta",
        "usage",
    ),
    *("input", "parts", "stop_reason", "finish_reason", "status", "error", "choices", "model", "system", "stream"),
)


def damaged(value: Any, rng: random.Random) -> Any:
    """A deep copy with one to four places changed."""
    whole = {"": copy.deepcopy(value)}
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(whole))
        holder, key = rng.choice(places)
        _change(holder, key, rng, places)
    return whole.get("")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list) and holder[key]:
                waiting.append(holder[key])


def _change(holder: Any, key: Any, rng: random.Random, places: list[tuple[Any, Any]]) -> None:
    what = rng.randrange(8)
    if what == 0 and (key != "" or not isinstance(holder, dict)):
        del holder[key]
    elif what == 1:
        other, place = rng.choice(places)
        # A place that an earlier change took away leaves this one alone.
        if place in other if isinstance(other, dict) else place < len(other):
            holder[key] = copy.deepcopy(other[place])
    elif what == 2 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif what == 3 and isinstance(holder, dict):
        holder[rng.choice(WORDS)] = copy.deepcopy(rng.choice(STRANGE))
    elif what == 4:
        holder[key] = [holder[key]] if rng.random() < 0.5 else {rng.choice(WORDS): holder[key]}
    elif what == 5 and isinstance(holder[key], str):
        text = holder[key]
        cut = rng.randrange(len(text) + 1)
        holder[key] = (
            text[:cut] + str(rng.choice(("", "\u0000", "😀", '"', "\\", "{"))) + text[cut:][: rng.choice((0, 3, 999))]
        )
    else:
        holder[key] = copy.deepcopy(rng.choice(STRANGE))


def corrupted(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some flipped, lost or repeated."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 2, 5))):
        if not found:
            break
        at = rng.randrange(len(found))
        what = rng.randrange(4)
        if what == 0:
            found[at] = rng.randrange(256)
        elif what == 1:
            del found[at : at + rng.choice((1, 8, 200))]
        elif what == 2:
            found[at:at] = found[max(0, at - 40) : at]
        else:
            found[at:at] = rng.choice((b"\x00", b"\xff\xfe", b"\r\n", b"\n\n", b'"', b"{", b"\xf0\x9f"))
    return bytes(found)


def cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The same bytes in reads of any size."""
    while data:
        size = rng.choice((1, 2, 3, 7, 50, 1000, len(data)))
        yield data[:size]
        data = data[size:]
