"""Every exception of the core, in one tree.  It knows no HTTP: status codes come from one table at the edge.

UnderstudyError
├── RequestError                 the caller's request cannot be served as it is
│   ├── InvalidRequest           malformed, wrong type, or nobody on the route can carry a field
│   ├── RequestTooLarge          body above the limit
│   ├── UnsupportedEncoding      a body compressed in an unknown way
│   ├── Unauthenticated          key missing or unknown
│   ├── RateExceeded             the client key's requests, tokens or places are taken for now
│   ├── QuotaExceeded            the client key's money is spent
│   ├── UnknownModel             no such route
│   ├── PiiFound                 it holds personal data, and the route lets none out
│   ├── PiiUnread                it holds what cannot be looked through for personal data
│   ├── OverBudget               the request's money budget allows no call
│   ├── UnknownPath              no such endpoint
│   ├── UnknownAnswer            feedback on an answer that this client did not get, or that is forgotten
│   ├── FeedbackGiven            the answer was judged before, and differently
│   └── WrongMethod              the endpoint exists, the method does not
├── NoCompliantTarget            every candidate was denied by a constraint
├── NoTargetAnswered             every candidate was tried or left out; carries why
├── StreamBroken                 a failure after the first byte was given to the caller, and nobody could go on
├── Diverged                     another target's answer does not repeat what the caller has; no fault of it
├── GuardUnavailable             the route wants personal data guarded, and it cannot be; nothing went out
├── RouterNotReady               no control document could be read yet
├── DocumentError                a control document is wrong; names every place
├── StoreError                   the table could not be read or written
│   └── Conflict                 somebody else wrote first
├── QueueError                   messages were refused by their queue
├── SecretError                  a secret reference could not be resolved
├── ObservationRefused           an observation of a replay is wrong; names the field
└── AttemptFailed                one upstream call failed; the classes of the failure table
    ├── Transient                500, 502, connection reset            retry once, then fail over
    │   └── Garbage              200 that is no answer                 as transient
    ├── Overloaded               503, 529, 429 without a hint          retry once with backoff, then fail over
    ├── RateLimited              429 with a hint                       wait if short, else fail over; bench
    ├── Silent                   no first token, stall                 fail over at once
    │   └── OutOfTime            the request's deadline was reached    no fault of the target
    ├── Credential               401, 403, out of credit, model gone   fail over; open the breaker at once; incident
    ├── NotOffered               the provider has no such operation    fail over; no fault of the target
    ├── CallerFault              the provider refuses this request     return the provider's error
    │   └── ContextTooLong       prompt above the window               only to a larger window
    └── Refusal                  content policy                        propagate
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class UnderstudyError(Exception):
    """Base of everything the core raises on purpose."""


class RequestError(UnderstudyError):
    """The caller's request cannot be served.

    `param` names the field in the caller's own body; `code` is a stable word for programs; `causes` say which target
    could not carry it, and why.
    """

    code: str | None = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, causes: Sequence[Cause] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.causes = tuple(causes)
        if code is not None:
            self.code = code


class InvalidRequest(RequestError):
    code = "invalid_request"


class RequestTooLarge(RequestError):
    code = "request_too_large"


class UnsupportedEncoding(RequestError):
    code = "unsupported_content_encoding"


class Unauthenticated(RequestError):
    code = "invalid_api_key"


class RateExceeded(RequestError):
    """`wait` is in seconds, `headers` what else the caller is told."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, wait: float, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        self.headers = dict(headers or {})


class QuotaExceeded(RequestError):
    code = "insufficient_quota"


class UnknownModel(RequestError):
    code = "model_not_found"


class PiiFound(RequestError):
    """`kinds`: how often each kind was found; never a value.  `route` is the one that lets none out."""

    code = "pii_blocked"

    def __init__(self, message: str, *, route: str, kinds: Mapping[str, int], param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.route = route
        self.kinds = dict(kinds)


class PiiUnread(RequestError):
    code = "pii_unreadable"


class OverBudget(RequestError):
    code = "max_cost_too_low"


class UnknownPath(RequestError):
    code = "unknown_url"


class UnknownAnswer(RequestError):
    code = "answer_not_found"


class FeedbackGiven(RequestError):
    code = "feedback_given"


class WrongMethod(RequestError):
    """`allowed` is the method that the endpoint takes."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str = "") -> None:
        super().__init__(message)
        self.allowed = allowed


class GuardUnavailable(UnderstudyError):
    """Personal data cannot be looked for: the library is missing or failed, or it took too long."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one candidate did not answer: the target and a reason in words.

    `kept` is the reason as it may be logged, where it is another one than the caller is told.
    """

    target: str
    reason: str
    kept: str = ""


class NoCompliantTarget(UnderstudyError):
    """Every candidate was denied by a constraint; the rules are named.  `constraints` are those that were in force, in
    the form of `understudy.facts.plain_constraints`."""

    def __init__(self, route: str, causes: Sequence[Cause]) -> None:
        self.route = route
        self.causes = tuple(causes)
        self.constraints: Mapping[str, object] = {}
        listed = "; ".join(f"{c.target}: {c.reason}" for c in self.causes)
        super().__init__(f"no target of route {route!r} may serve this request ({listed})")


class NoTargetAnswered(UnderstudyError):
    """Every candidate was tried or left out.  `last` is the failure of the last attempt, if there was one."""

    def __init__(self, route: str, causes: Sequence[Cause], last: AttemptFailed | None = None) -> None:
        self.route = route
        self.causes = tuple(causes)
        self.last = last
        listed = "; ".join(f"{c.target}: {c.reason}" for c in self.causes)
        super().__init__(f"no target of route {route!r} answered ({listed})")


class StreamBroken(UnderstudyError):
    """The answer was cut after its first byte was delivered and could not be completed soundly.

    `causes` say why none of the others could go on with it.
    """

    def __init__(self, target: str, failure: AttemptFailed, causes: Sequence[Cause] = ()) -> None:
        self.target = target
        self.failure = failure
        self.causes = tuple(causes)
        listed = "; ".join(f"{c.target}: {c.reason}" for c in self.causes)
        super().__init__(
            f"target {target!r} broke off in the middle of its answer: {failure}"
            + (f" (nobody could go on with it: {listed})" if listed else "")
        )


class Diverged(UnderstudyError):
    """A new answer differs from what was delivered of the old one, so the two cannot be joined."""


class RouterNotReady(UnderstudyError):
    """No control document has been published, or none could be read since the start."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a control document: where, what is there, what to write instead."""

    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" Fix: {self.fix}" if self.fix else "")


class DocumentError(UnderstudyError):
    """A control document was refused; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class StoreError(UnderstudyError):
    """The table could not be read or written."""


class Conflict(StoreError):
    """A conditional write lost: somebody else wrote first.  Read again and decide again."""


class QueueError(UnderstudyError):
    """Messages were refused by their queue."""


class ObservationRefused(UnderstudyError):
    """An observation cannot be read; `field` is the one that is wrong, "" where it is the whole."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class SecretError(UnderstudyError):
    """A secret reference could not be resolved.  Never carries the secret."""


class AttemptFailed(UnderstudyError):
    """One upstream call failed.

    The class attributes are the columns of the failure table: `kind` is the word used in logs and health,
    `retries` how often the same target may be asked again, `fails_over` whether the next target may be asked,
    `hurts_health` whether the breaker counts it, `benches` whether the target is left alone for `retry_after`,
    `opens` whether one such failure opens the breaker.  `status`, `code`, `param` and `provider_message` are what the
    provider said, kept for the caller when the failure is the caller's own; `retry_after` is in seconds.  `quoted`:
    the message is the provider's own, which may repeat what it was asked.
    """

    kind: ClassVar[str] = "failed"
    retries: ClassVar[int] = 0
    fails_over: ClassVar[bool] = True
    hurts_health: ClassVar[bool] = True
    benches: ClassVar[bool] = False
    opens: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        quoted: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.quoted = quoted

    @property
    def kept(self) -> str:
        """What logs and health may keep of the message: our own words, and of a provider's no more than its code."""
        if not self.quoted:
            return self.message
        code = self.code if self.code is not None and _WORD.fullmatch(self.code) else None
        said = [f"status {self.status}" if self.status else "an error in its answer", code and f"code {code}"]
        return ", ".join(filter(None, said))

    def hide(self, secret: str) -> None:
        """Mask a secret in everything that the provider said."""
        for name in ("message", "code", "param"):
            said = getattr(self, name)
            if secret and said:
                setattr(self, name, said.replace(secret, "[masked]"))
        self.args = (self.message,)


class Transient(AttemptFailed):
    kind = "transient"
    retries = 1


class Garbage(Transient):
    kind = "garbage"


class Overloaded(AttemptFailed):
    kind = "overloaded"
    retries = 1


class RateLimited(AttemptFailed):
    kind = "rate_limited"
    retries = 1
    hurts_health = False
    benches = True


class Silent(AttemptFailed):
    kind = "silent"


class OutOfTime(Silent):
    """The request's own deadline left the target less time than its limits would: no fault of the target."""

    kind = "out_of_time"
    hurts_health = False


class Credential(AttemptFailed):
    kind = "credential"
    opens = True


class NotOffered(AttemptFailed):
    kind = "not_offered"
    hurts_health = False


class CallerFault(AttemptFailed):
    kind = "caller"
    fails_over = False
    hurts_health = False


class ContextTooLong(CallerFault):
    kind = "context_length"


class Refusal(AttemptFailed):
    kind = "refusal"
    fails_over = False
    hurts_health = False
