"""What the simulator needs to know of a provider's wire format; one value of this for each wire."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.simulators.answers import Answer, Ask
from infra.local.simulators.replies import Piece, Reply

# fault: the value of the header `retry-after` that comes with it, in seconds.
HINTS = {"http_429": "30", "retry_after": "2"}


@dataclass(frozen=True)
class Wire:
    """The functions of one wire format.

    `authorise` (headers with lower-case names, expected key) and `read` (parsed body) raise RejectedError
    with the provider's own answer. `trouble` (fault name, model) is an error reply for one of the names in
    `troubles`; `refuse` (status, message) any other error. `first_error` is the reply, streamed or not, in
    which an error stands where the answer should begin. `also` are other paths to which a body is posted, each with
    what answers it.
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
    also: Mapping[str, Callable[[Any], Reply]] = field(default_factory=dict)
