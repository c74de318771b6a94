"""The detector of one stream: values in, now and then an alarm out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from understudy.detectors.amounts import Amounts
from understudy.detectors.canaries import Canaries
from understudy.detectors.fingerprints import Fingerprints, Versions
from understudy.detectors.latency import Latency
from understudy.detectors.logprobs import Logprobs
from understudy.detectors.sample import Alarm, Kind, Sample
from understudy.detectors.shares import Shares

IN_CONTROL_LENGTH = 100_000
"""Values between two false alarms of one stream, on average, where nothing else is said."""


class Detector(Protocol):
    """Watches one kind of value of one stream.

    It is told of values one by one, in order; the state it writes is plain data of at most 4 KB as JSON, from which it
    goes on as if it had never been interrupted.  After an alarm it arms itself again on what it has seen since.
    """

    def step(self, seen: Sample) -> Alarm | None:
        """Take one more value in; says what changed as soon as that is sure."""

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """

    def plain(self) -> dict[str, Any]:
        """The state, JSON-able."""

    def accept(self) -> None:
        """What is seen from now on is the new normal: forget the baseline and learn it again."""


class _Either:
    """Repeated questions and one-shot calls of the same stream, each with a test of its own."""

    __slots__ = ("_kind", "_length", "_once", "_repeated")

    def __init__(self, kind: Kind, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._kind, self._length = kind, length
        known = plain or {}
        self._once = self._new(True, known["once"]) if known.get("once") else None
        self._repeated = self._new(False, known["repeated"]) if known.get("repeated") else None

    def step(self, seen: Sample) -> Alarm | None:
        if seen.item < 0:
            if self._once is None:
                self._once = self._new(True)
            return self._once.step(seen)
        if self._repeated is None:
            self._repeated = self._new(False)
        return self._repeated.step(seen)

    def scores(self, seen: Sample) -> list[float] | None:
        part = self._once if seen.item < 0 else self._repeated
        return part.scores(seen) if part else None

    def plain(self) -> dict[str, Any]:
        parts = {"once": self._once, "repeated": self._repeated}
        return {"kind": self._kind} | {name: part.plain() for name, part in parts.items() if part is not None}

    def accept(self) -> None:
        for part in (self._once, self._repeated):
            if part is not None:
                part.accept()

    def _new(self, once: bool, plain: Mapping[str, Any] | None = None) -> Detector:
        if self._kind == "quality":
            return Shares("quality", self._length, plain) if once else Canaries(self._length, plain)
        return Amounts(self._kind, self._length, once=once, plain=plain)


def detector(kind: Kind, *, in_control_length: float = IN_CONTROL_LENGTH) -> Detector:
    """A new detector of one kind of value."""
    return _built(kind, in_control_length, None)


def detector_from(plain: Mapping[str, Any], *, in_control_length: float = IN_CONTROL_LENGTH) -> Detector:
    """The detector that wrote `plain`."""
    return _built(plain["kind"], in_control_length, plain)


def _built(kind: Kind, length: float, plain: Mapping[str, Any] | None) -> Detector:
    if kind in ("quality", "tokens", "cost"):
        return _Either(kind, length, plain)
    if kind in ("latency", "speed"):
        return Latency(kind, length, plain)
    if kind == "errors":
        return Shares("errors", length, plain)
    if kind == "logprob":
        return Logprobs(length, plain)
    return Fingerprints(length, plain) if kind == "fingerprint" else Versions(plain)
