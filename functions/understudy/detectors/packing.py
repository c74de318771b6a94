"""Numbers of many questions as one short text: a state is kept by the thousand and read at every value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def packed(items: Mapping[int, Iterable[float]]) -> str:
    """`item,number,number;item,number;...`; numbers of at most fifteen digits come back as they were."""
    return ";".join(f"{item}," + ",".join(f"{number:.15g}" for number in numbers) for item, numbers in items.items())


def unpacked(text: str) -> dict[int, list[float]]:
    """What `packed` wrote."""
    items = (entry.split(",") for entry in text.split(";") if entry)
    return {int(item): [float(number) for number in numbers] for item, *numbers in items}
