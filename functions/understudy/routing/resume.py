"""Going on with an answer that broke off: what the caller has, and what of a new stream may follow it.

Pure: the delivered text and a new stream in, the chunks to deliver out.  Text is never joined by guess.  A new stream
either repeats the delivered text exactly, and then what follows it is delivered, or it was asked to continue it; what
differs raises Diverged before anything of it is given out.

Thinking is no part of the answer: a new stream's own is not delivered, because the caller has another's.  Tool calls
never are delivered in part (see `Gate`), so there is nothing of them to join.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from understudy.chat.stream import Chunk, chunk_from, index_of
from understudy.errors import Diverged

How = Literal["fresh", "continuation", "repetition", "user turn"]
Channel = tuple[int, str]
"""Choice index, and `content` or `refusal`."""

_TEXTS = ("content", "refusal")
_ANSWERS = (*_TEXTS, "tool_calls", "function_call")
_THINKING = ("reasoning_content", "reasoning", "reasoning_details")


class Delivered:
    """What the caller was given of an answer so far.

    `reasons`: the stop reason of each choice that was ended; `calls`: the chunks that brought tool calls; `refused`:
    a choice says in words of its own that it refuses; `opaque`: it has something that no other answer can be told to
    repeat.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[Channel, str]] = []
        self.begun = False
        self.reasons: dict[int, str] = {}
        self.calls: list[Chunk] = []
        self.refused = False
        self.opaque = False

    def add(self, chunk: Chunk) -> None:
        """Note a chunk that is given to the caller."""
        self.begun = True
        self.opaque = self.opaque or chunk.opaque
        self.reasons.update(chunk.finish_reasons)
        if chunk.has_tool_calls:
            self.calls.append(chunk)
        for choice in chunk.payload.get("choices") or ():
            delta = choice.get("delta") or {}
            for name in _TEXTS:
                if piece := delta.get(name):
                    self._pieces.append(((index_of(choice), name), piece))
                    self.refused = self.refused or name == "refusal"

    @property
    def finished(self) -> Set[int]:
        """The choices whose stop reason was given."""
        return self.reasons.keys()

    @property
    def texts(self) -> dict[Channel, str]:
        """The text of every channel that has any."""
        joined: dict[Channel, list[str]] = {}
        for channel, piece in self._pieces:
            joined.setdefault(channel, []).append(piece)
        return {channel: "".join(pieces) for channel, pieces in joined.items()}

    @property
    def characters(self) -> int:
        """Characters of the answer that were delivered, all channels together."""
        return sum(len(piece) for _, piece in self._pieces)


class Gate:
    """Which chunks of a stream may be given out now.

    Nothing before the answer speaks; `whole`: nothing before it is complete.  From the first tool call on everything
    waits for the end, so that nobody sees half of a JSON argument and then another model's.
    """

    def __init__(self, *, whole: bool) -> None:
        self._closed = whole
        self._held: list[Chunk] = []

    def feed(self, chunk: Chunk, *, spoken: bool) -> Sequence[Chunk]:
        """The chunks that this one sets free; `spoken`: the answer has shown content."""
        self._closed = self._closed or chunk.has_tool_calls
        if not self._closed and spoken and not self._held:
            return (chunk,)
        self._held.append(chunk)
        return self.rest() if spoken and not self._closed else ()

    def rest(self) -> Sequence[Chunk]:
        """What is still held, once the answer is complete."""
        held, self._held = self._held, []
        return held


def continued(delivered: Delivered) -> tuple[str, str] | None:
    """The text to be continued and the white space that was cut from its end; None where it cannot be continued.

    Providers refuse or misread a beginning that ends in white space (Anthropic API reference, "Prefill"), so it is cut
    off, and the continuation must bring it again.
    """
    texts = delivered.texts
    if list(texts) != [(0, "content")]:
        return None
    text = texts[0, "content"]
    kept = text.rstrip()
    return (kept, text[len(kept) :]) if kept else None


class Seam:
    """Lets through what follows the delivered text in a new stream.

    `expected` is what the new stream has to repeat first: everything delivered for a repetition, nothing or white
    space for a continuation.  Choices that are `finished` are left as they are: of several answers to one request,
    those that the caller has whole have nothing to do with the one that broke off.
    """

    def __init__(self, expected: Mapping[Channel, str], finished: Collection[int] = ()) -> None:
        self._finished = frozenset(finished)
        self._expected = {channel: text for channel, text in expected.items() if text and channel[0] not in finished}
        self._at = 0

    def feed(self, chunk: Chunk) -> Chunk | None:
        """The part of the chunk that the caller does not have yet, or None.  Raises Diverged."""
        if chunk.opaque and chunk.native:
            # Only its own protocol has a place for it, and this answer began in another's events.
            raise Diverged(f"it brings what cannot be joined to the answer at character {self._at}")
        choices = [kept for choice in chunk.payload.get("choices") or () if (kept := self._choice(choice))]
        if not choices and not chunk.payload.get("usage"):
            return None
        return chunk_from({**chunk.payload, "choices": choices})

    def end(self) -> None:
        """Call at the end of the new stream.  Raises Diverged where it never said all that was delivered."""
        if self._expected:
            raise Diverged(f"it is shorter than what was delivered: it ends at character {self._at}")

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any] | None:
        index = index_of(choice)
        if index in self._finished:
            return None
        delta = dict(choice.get("delta") or {})
        delta.pop("role", None)
        for name in _THINKING:
            delta.pop(name, None)
        repeated = 0
        for name in _TEXTS:
            if piece := delta.get(name):
                fresh = self._repeat((index, name), piece)
                repeated += len(piece) - len(fresh)
                delta[name] = fresh
        delta = {name: value for name, value in delta.items() if value not in (None, "", [])}
        reason = choice.get("finish_reason")
        if any(channel[0] == index for channel in self._expected):
            if reason or any(delta.get(name) for name in _ANSWERS):
                raise Diverged(f"it goes another way than what was delivered at character {self._at}")
            return None
        if not delta and not reason:
            return None
        kept = {**choice, "delta": delta}
        if repeated and isinstance(choice.get("logprobs"), Mapping):
            kept["logprobs"] = _trimmed(choice["logprobs"], repeated)
        return kept

    def _repeat(self, channel: Channel, piece: str) -> str:
        """The part of the piece that goes beyond the text it must repeat."""
        wanted = self._expected.get(channel, "")
        common = min(len(wanted), len(piece))
        if wanted[:common] != piece[:common]:
            same = next(i for i in range(common) if wanted[i] != piece[i])
            raise Diverged(f"it differs from what was delivered at character {self._at + same}")
        self._at += common
        if wanted:
            self._expected[channel] = wanted[common:]
            if not self._expected[channel]:
                del self._expected[channel]
        return piece[common:]


def _trimmed(logprobs: Mapping[str, Any], characters: int) -> dict[str, Any]:
    """Log probabilities without the tokens that lie wholly within the first `characters`."""
    return {
        name: list(_after(entries, characters)) if isinstance(entries, list) else entries
        for name, entries in logprobs.items()
    }


def _after(entries: Sequence[Any], characters: int) -> Iterator[Any]:
    at = 0
    for entry in entries:
        token = entry.get("token") if isinstance(entry, Mapping) else None
        at += len(token) if isinstance(token, str) else 0
        if at > characters:
            yield entry


@dataclass(frozen=True, slots=True)
class Resumption:
    """One change of target in the middle of an answer; `at` counts the characters delivered before it."""

    source: str
    target: str
    at: int
    how: How

    def fields(self) -> dict[str, Any]:
        """As the last chunk and the decision log say it."""
        return {"from": self.source, "to": self.target, "at": self.at, "how": self.how}


def labelled(chunk: Chunk, resumptions: Sequence[Resumption]) -> Chunk:
    """The chunk, saying that the answer was resumed where it carries the stop reason."""
    if not resumptions or not chunk.finish_reasons:
        return chunk
    note = {"resumed": [one.fields() for one in resumptions]}
    return chunk_from({**chunk.payload, "understudy": note})
