"""What the simulator needs to know of a provider's wire format; one value of this for each wire."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.simulators.answers import Answer, Ask
from infra.local.simulators.replies import Piece, Reply

# fault: the value of the header `retry-after` that comes with it, in seconds.
HINTS = {"http_429": "30", "retry_after": "2"}


@dataclass(frozen=True)
class Place:
    """What a path stands for: the `operation` ("answer", "embeddings", "models", or "also" for any other) and the HTTP
    method it wants.

    On a wire that says them in the path also the model, and whether to stream.
    """

    operation: str
    method: str
    model: str | None = None
    stream: bool = False


@dataclass(frozen=True)
class Arrived:
    """A request as it came, which is what a signature covers; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes


@dataclass(frozen=True)
class Wire:
    """The functions of one wire format.

    `authorise` (headers with lower-case names, expected key) and `read` (parsed body) raise RejectedError
    with the provider's own answer. `trouble` (fault name, model) is an error reply for one of the names in
    `troubles`; `refuse` (status, message) any other error. `first_error` is the reply, streamed or not, in
    which an error stands where the answer should begin.
    A wire whose paths name the model has `locate` (path with its query), and `read` is given (place, body) there;
    `embed` (place, body) answers a request for embeddings. A wire whose calls are signed has `verify` (the request, the
    expected key, the secrets of AWS keys by their ids) in place of `authorise`. `also` are other paths to which a
    body is posted, each with what answers it.
    """

    name: str
    base_path: str
    answer_path: str
    models_path: str
    authorise: Callable[[Mapping[str, str], str], None]
    read: Callable[[Any], Ask]
    render: Callable[[Ask, Answer], Reply]
    list_models: Callable[[Sequence[str]], Reply]
    refuse: Callable[[int, str], Reply]
    troubles: frozenset[str]
    trouble: Callable[[str, str], Reply]
    first_error: Callable[[bool], Reply]
    refusal: Callable[[Ask], Reply]
    unreadable: Piece
    locate: Callable[[str], Place | None] | None = None
    embed: Callable[[Place, Any], Reply] | None = None
    verify: Callable[[Arrived, str, Mapping[str, str]], None] | None = None
    also: Mapping[str, Callable[[Any], Reply]] = field(default_factory=dict)

    def place(self, path: str) -> Place | None:
        """What the path stands for, or None where there is no such path."""
        if self.locate is not None:
            return self.locate(path)
        bare = path.partition("?")[0]
        known = {self.answer_path: Place("answer", "POST"), self.models_path: Place("models", "GET")}
        known |= dict.fromkeys(self.also, Place("also", "POST"))
        return known.get(bare)

    def ask(self, path: str, body: Any) -> Ask:
        """What a request for an answer comes to; `path` is below the base URL.  Raises RejectedError as `read` does."""
        place = self.place(self.base_path + path)
        return self.read(body if place is None or place.model is None else (place, body))
