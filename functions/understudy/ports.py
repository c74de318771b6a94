"""Every port the services need, on one page.  Adapters satisfy them structurally; only bootstrap knows which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from understudy.control.versions import Pointer, Version
from understudy.health.item import Health
from understudy.health.observation import Observation
from understudy.health.status_page import StatusPage
from understudy.incidents.incident import Incident, Notice
from understudy.keys import ClientKey
from understudy.metrics import Measured
from understudy.pricing.ledger import Charge as Charge
from understudy.pricing.ledger import LedgerLine as LedgerLine
from understudy.pricing.ledger import Spent as Spent
from understudy.pricing.ledger import Token as Token
from understudy.wire.base import Event


class Clock(Protocol):
    def __call__(self) -> float:
        """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the data plane reads in one go: the pointer, the health of some targets, some client keys."""

    pointer: Pointer | None
    health: Mapping[str, Health]
    keys: Mapping[str, ClientKey]


class ControlStore(Protocol):
    """Immutable versions of the control document plus one pointer."""

    def pointer(self) -> Pointer | None: ...

    def version(self, number: int) -> Version:
        """Raises StoreError where there is no such version."""

    def versions(self, limit: int) -> Sequence[Version]:
        """Newest first."""

    def add_version(self, version: Version) -> None:
        """Raises Conflict where the number is taken: a version is never overwritten."""

    def move_pointer(self, pointer: Pointer, expected: Pointer | None) -> None:
        """Raises Conflict where the pointer is no longer `expected`."""


class HealthStore(Protocol):
    """One item per target; every write says which revision it has seen."""

    def health(self, targets: Sequence[str]) -> Mapping[str, Health]:
        """Strongly consistent; targets without an item are left out."""

    def put_health(self, health: Health) -> Health:
        """Write revision `health.rev + 1` where `health.rev` is still current, and return it.  Raises Conflict."""


Stream = tuple[str, str]
"""The name of a stream and the kind of its values."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Plain data and its revision; revision 0 is that of what is not there."""

    plain: Mapping[str, Any]
    rev: int = 0


class DetectorStore(Protocol):
    """What is kept of each stream of a target; every write says which revision it has seen."""

    def detectors(self, target: str, streams: Sequence[Stream]) -> Mapping[Stream, Kept]:
        """One batch read, eventually consistent; those that are not there are left out."""

    def detector(self, target: str, stream: Stream) -> Kept | None:
        """Strongly consistent."""

    def streams(self, target: str) -> Sequence[Stream]:
        """Those of which something is kept."""

    def put_detector(self, target: str, stream: Stream, kept: Kept, now: float) -> None:
        """Write revision `kept.rev + 1` where `kept.rev` is still current.  Raises Conflict.  It expires when nothing
        is written for a quarter of a year."""


@dataclass(frozen=True, slots=True)
class Rota:
    """How far the runs of one stream of a target's probes have come: the last one's number and when it was due, the
    item that is next, and the number and time of the last confirmation."""

    run: int = 0
    at: float = 0.0
    next: int = 0
    confirmations: int = 0
    confirmed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Probing:
    """What a probe must know of a target: its health, how far its runs have come by stream, and the US dollars that its
    probes of this day (UTC) have cost by kind."""

    health: Health | None = None
    rotas: Mapping[str, Rota] = field(default_factory=dict)
    spent: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        return sum(self.spent.values(), Decimal(0))


class ProbingStore(Protocol):
    def probing(self, targets: Sequence[str], now: float) -> Mapping[str, Probing]:
        """In one batch read, eventually consistent, of the day that `now` is of; every target is in it."""

    def take_run(self, target: str, stream: str, before: Rota, after: Rota) -> bool:
        """Write what `after` moves of how far a stream has come; False where that is no longer as in `before`, for
        somebody else has taken the run.  Raises Conflict where too many write at once."""

    def spend(self, target: str, amounts: Mapping[str, Decimal], now: float) -> None:
        """Add US dollars, by kind of probe, to what the day has cost; atomic."""


class ObservationStore(Protocol):
    def add_observation(self, observation: Observation) -> None: ...


class KeyStore(Protocol):
    def key(self, key_hash: str) -> ClientKey | None: ...

    def put_key(self, key: ClientKey) -> ClientKey:
        """Write revision `key.rev + 1` where `key.rev` is still current, and return it.  Raises Conflict."""

    def client_keys(self) -> Sequence[ClientKey]: ...


@dataclass(frozen=True, slots=True)
class Use:
    """What an account takes of its limits: requests and tokens of one minute (UTC), requests under way."""

    requests: int = 0
    tokens: int = 0
    concurrent: int = 0


class UseStore(Protocol):
    """What accounts take, for the whole fleet; an account is the hash of a client key."""

    def take(
        self,
        account: str,
        now: float,
        *,
        requests: int = 0,
        tokens: int = 0,
        lease: float | None = None,
        returned: float | None = None,
    ) -> Use:
        """Add to the minute of `now`, atomic; returns what all have taken, this included.

        `lease` counts one request as under way, until that time at the latest; `returned` ends such a lease.
        """

    def use(self, account: str, now: float) -> Use:
        """Strongly consistent."""


class IncidentStore(Protocol):
    """The current incident of each (subject, kind); a resolved one is kept as history too."""

    def incident(self, subject: str, kind: str) -> Incident | None: ...

    def incidents(self) -> Sequence[Incident]: ...

    def put_incident(self, incident: Incident) -> Incident:
        """Write revision `incident.rev + 1` where `incident.rev` is still current.  Raises Conflict."""


class NoticeStore(Protocol):
    """Who has told what: a claim before telling, a mark after it, so that nothing is told twice or lost."""

    def claim(self, notice_id: str, now: float, lease: float) -> bool:
        """True where the caller may tell now; False where it is told already.  Raises Conflict while another tells."""

    def settle(self, notice_id: str, now: float) -> None: ...

    def release(self, notice_id: str) -> None: ...


class StatusPageStore(Protocol):
    """What providers' status pages said last; kept for a day."""

    def status_page(self, provider: str) -> StatusPage | None:
        """Strongly consistent."""

    def put_status_page(self, page: StatusPage) -> StatusPage:
        """Write revision `page.rev + 1` where `page.rev` is still current, and return it.  Raises Conflict."""


class KeepsakeStore(Protocol):
    """Signatures of tool calls by the call's id, apart for each client key; kept for a day."""

    def keep(self, key_hash: str, signatures: Mapping[str, str], now: float) -> None: ...

    def kept(self, key_hash: str, names: Sequence[str]) -> Mapping[str, str]:
        """Eventually consistent; those that are not there are left out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose answer a request got: `key_hash` of the client, `at` epoch seconds, `score` what the client said of it."""

    request_id: str
    key_hash: str
    target: str
    route: str
    at: float
    score: float | None = None


class AnswerStore(Protocol):
    """Answers that may be judged, apart for each client key; kept for a day."""

    def answer(self, key_hash: str, request_id: str) -> Answer | None:
        """Strongly consistent."""

    def put_answer(self, answer: Answer) -> None:
        """Write it, or the first score of it.  Raises Conflict where there is one already."""


class LedgerStore(Protocol):
    """What calls cost, by account: the hash of a client key, or "" for the router's own calls."""

    def charge(self, account: str, charges: Sequence[Charge], token: Token, now: float) -> None:
        """Add to the lines of the day that `now` is of.  Counted once for each token, however often it is written;
        what a write that failed has left out, its repetition adds."""

    def spent(self, account: str, now: float) -> Spent:
        """Of the day and the month that `now` is of; strongly consistent."""

    def daily(self, account: str, months: Sequence[str]) -> Mapping[str, Decimal]:
        """US dollars of each day (YYYY-MM-DD) with charges in these months (YYYY-MM); strongly consistent."""

    def ledger(self, accounts: Sequence[str], first_day: str, last_day: str) -> Sequence[LedgerLine]:
        """The lines of the days from the first to the last (YYYY-MM-DD), by account, day, purpose, route and target."""


class SnapshotStore(Protocol):
    def snapshot(self, targets: Sequence[str], key_hashes: Sequence[str]) -> Snapshot:
        """One batch read, eventually consistent.  Raises StoreError."""


class ProbeQueue(Protocol):
    def send(self, target: str, delay: float) -> None:
        """Ask for a recovery probe of `target` in `delay` seconds."""


CONFIRM_GAP = 30.0
"""Seconds between the beginnings of two runs that confirm an alarm of one stream, at least."""


class ConfirmQueue(Protocol):
    def send(self, target: str, stream: str) -> None:
        """Ask for a run of a golden set's questions in CONFIRM_GAP seconds, to confirm what a detector found there.

        It comes as one observation whose samples of that stream have a negative `run`.  One that is asked for twice
        within that time is bought once.
        """


AskKind = Literal["liveness", "quality", "drift", "confirm"]
"""What a message of the due queue asks for."""


@dataclass(frozen=True, slots=True)
class Due:
    """One target to be probed at `at` (epoch seconds), which is in `delay` whole seconds; `stream` is the golden set
    that is asked, where `ask` says that one is."""

    target: str
    at: float
    delay: int
    ask: AskKind = "liveness"
    stream: str = ""

    def plain(self) -> dict[str, Any]:
        """The body of its message."""
        plain: dict[str, Any] = {"target": self.target, "due": self.at}
        return plain if self.ask == "liveness" else plain | {"ask": self.ask, "set": self.stream}


class DueQueue(Protocol):
    def send(self, messages: Sequence[Due]) -> None:
        """Ask for these probes.  Raises QueueError where some could not be asked for; the others are."""


class AlertSink(Protocol):
    def send(self, notice: Notice) -> None: ...


@dataclass(frozen=True, slots=True)
class PiiFinding:
    """Where in a text something personal stands, and of which kind (`understudy.catalog.PII_KINDS`)."""

    kind: str
    start: int
    end: int


class PiiGuard(Protocol):
    """Looks for personal data; pure, and safe in several threads."""

    def find(self, text: str, kinds: Set[str], countries: Set[str]) -> Sequence[PiiFinding]:
        """In their order, none of them overlapping; see `understudy.catalog.PiiRules`."""


class Secrets(Protocol):
    async def value(self, reference: str) -> str:
        """The secret behind a reference.  Raises SecretError."""

    async def renewed(self, reference: str, refused: str) -> bool:
        """Whether there is another value now than the one a provider refused: then `value` gives it."""


class Signer(Protocol):
    """Signs calls with the router's own AWS credentials."""

    async def sign(
        self, service: str, region: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        """The headers to add to a POST; `headers` are those that the signature shall cover beside the host.

        Raises SecretError where there are no credentials.
        """

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """Whether there are other credentials now than those of a signature that was refused."""


class Framing(Protocol):
    """Cuts the bytes of one stream into its events; see `understudy.wire.sse.SseDecoder`."""

    def feed(self, read: bytes) -> list[Event]:
        """Events completed by these bytes.  Raises ValueError where they cannot be read."""

    def flush(self) -> list[Event]:
        """What was still open at the end of the body."""


class Reply(Protocol):
    """An open upstream answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]

    def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives.  Raises AttemptFailed on a broken connection."""


class Transport(Protocol):
    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, *, connect: float
    ) -> AbstractAsyncContextManager[Reply]:
        """POST and wait for the answer's head.  Raises AttemptFailed; leaving the context closes the connection."""


class PageReader(Protocol):
    def get(self, url: str, headers: Mapping[str, str], *, connect: float) -> AbstractAsyncContextManager[Reply]:
        """GET and wait for the answer's head, without following redirects; otherwise as `Transport.send`."""


class Logger(Protocol):
    """One line a call.  `metrics` are counted by the same line: at most one `Measured` of each dimension."""

    def info(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None: ...

    def warning(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None: ...

    def exception(self, message: str, /, *, metrics: Sequence[Measured] = (), **fields: Any) -> None:
        """With the exception that is being handled."""
