"""The detector of one stream: values in, now and then an alarm out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from understudy.detectors.sample import Alarm, Kind, Sample

IN_CONTROL_LENGTH = 100_000
"""Values between two false alarms of one stream, on average, where nothing else is said."""


class Detector(Protocol):
    """Watches one kind of value of one stream.

    It is told of values one by one, in order; the state it writes is plain data of at most 4 KB as JSON, from which it
    goes on as if it had never been interrupted.  After an alarm it arms itself again on what it has seen since.
    """

    def step(self, seen: Sample) -> Alarm | None:
        """Take one more value in; says what changed as soon as that is sure."""

    def plain(self) -> dict[str, Any]:
        """The state, JSON-able."""

    def accept(self) -> None:
        """What is seen from now on is the new normal: forget the baseline and learn it again."""


def detector(kind: Kind, *, in_control_length: float = IN_CONTROL_LENGTH) -> Detector:
    """A new detector of one kind of value."""
    raise NotImplementedError


def detector_from(plain: Mapping[str, Any], *, in_control_length: float = IN_CONTROL_LENGTH) -> Detector:
    """The detector that wrote `plain`."""
    raise NotImplementedError
