"""The failure table: which class of failure a provider's error is.

One table for all wires, read from the top; the first row that fits decides.  Sources: the providers' public error
pages (platform.openai.com/docs/guides/error-codes, platform.claude.com/docs/en/api/errors,
ai.google.dev/gemini-api/docs/troubleshooting, docs.aws.amazon.com/bedrock Converse "Errors",
learn.microsoft.com/azure/ai-foundry content filtering) and the messages that compatible servers publish.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from understudy.errors import (
    AttemptFailed,
    CallerFault,
    ContextTooLong,
    Credential,
    Overloaded,
    RateLimited,
    Refusal,
    Transient,
)
from understudy.wire.hints import asked_wait, reset_wait
from understudy.wire.reports import Report, read_report, report_from


@dataclass(frozen=True, slots=True)
class Row:
    """One row: it fits by a status, by a code, or by words in the message.

    `codes` are believed with any status; `bare_codes` only inside a stream, where there is no status (compatible
    servers use them loosely elsewhere); `words` only for 4xx and inside a stream, so that a 5xx stays a 5xx.
    """

    failure: type[AttemptFailed]
    statuses: Collection[int] = ()
    codes: Collection[str] = ()
    bare_codes: Collection[str] = ()
    words: re.Pattern[str] | None = None

    def fits(self, report: Report) -> bool:
        return (
            report.status in self.statuses
            or not report.words.isdisjoint(self.codes)
            or (report.status is None and not report.words.isdisjoint(self.bare_codes))
            or (self.words is not None and _may_speak(report.status) and bool(self.words.search(report.message)))
        )


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)

TABLE: tuple[Row, ...] = (
    # Money, keys and models come first: "out of credit" arrives as 400, 402, 403 or 429.
    Row(
        Credential,
        statuses={401, 402},
        codes={
            "account_deactivated",
            "authentication_error",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "credit_balance_exhausted",
            "deploymentnotfound",
            "exceeded_current_quota_error",
            "expiredtokenexception",
            "failed_precondition",
            "incompletesignature",
            "insufficient_balance",
            "insufficient_quota",
            "invalid_api_key",
            "model_not_found",
            "notauthorized",
            "requestexpired",
            "unauthenticated",
            "unrecognizedclientexception",
        },
        words=_words(
            r"credit balance is too low",
            r"reached your specified api usage limits",
            r"insufficient (?:balance|credits?|funds)",
            r"(?:incorrect|invalid)(?: |%20)api(?: |%20)key",
            r"api key (?:not valid|expired|not found)",
            r"is not a valid model",
            r"model identifier is invalid",
            r"\bmodel\b.{0,120}\bdoes not exist",
            r"\bmodel not exist",
            r"on-demand throughput isn.t supported",
            r"account is not authorized",
            # Of our account or resource, although some speak of a policy.
            r"resource has been temporarily blocked",
        ),
    ),
    # Before the context row: some servers call "more tokens than your minute allows" too large.
    Row(
        RateLimited,
        statuses={429},
        codes={
            "rate_limit_error",
            "rate_limit_exceeded",
            "rate_limited",
            "resource_exhausted",
            "servicequotaexceededexception",
            "throttlingexception",
            "too_many_requests",
            "toomanyrequestsexception",
        },
    ),
    Row(
        Overloaded,
        # 498 is one provider's own "no capacity left for this tier".
        statuses={498, 503, 529},
        codes={
            "capacity_exceeded",
            "engine_overloaded_error",
            "modelnotreadyexception",
            "overloaded",
            "overloaded_error",
            "server_is_overloaded",
            "serviceunavailableexception",
            "slow_down",
            "unavailable",
        },
        bare_codes={"service_unavailable", "service_unavailable_error"},
        words=_words(r"capacity exceeded"),
    ),
    Row(
        ContextTooLong,
        statuses={413},
        codes={"context_length_exceeded", "exceed_context_size_error", "request_too_large"},
        words=_words(
            r"prompt is too long",
            r"input is too long for requested model",
            r"(?:maximum|max) (?:context|prompt|model) length",
            r"exceeds? the (?:maximum )?(?:available )?context (?:window|length|size|limit)",
            r"exceeds? (?:the )?context (?:window|length|size|limit)",
            r"exceeds? the context window",
            r"input token count .{0,60}exceeds",
            r"number of input tokens exceeds",
            r"`inputs` tokens \+ `max_new_tokens` must be",
            r"must be less than the context length",
            # What is left of the window for an answer; a caller's own limit is checked before it is sent.
            r"max_tokens must be at least 1, got -",
        ),
    ),
    Row(
        Refusal,
        codes={
            "content_filter",
            "content_policy_violation",
            "data_inspection_failed",
            "invalid_prompt",
            "moderation_blocked",
            "responsibleaipolicyviolation",
        },
        words=_words(
            r"content management policy",
            r"content (?:filtering )?policy",
            r"input was flagged",
            r"prompt was flagged",
            r"violat\w+ (?:our |the )?usage (?:polic|guideline)",
            r"content exists risk",
        ),
    ),
    # What a request names and the provider does not keep is no fault of its, whatever the status says.
    Row(
        CallerFault,
        codes={"previous_response_not_found"},
        words=_words(r"\b(?:item|response) with id .{1,200} not found"),
    ),
    # A model or a path that is not there is our configuration, like a key that may not use it.
    Row(
        Credential,
        statuses={403, 404},
        bare_codes={
            "accessdeniedexception",
            "not_found",
            "not_found_error",
            "permission_denied",
            "permission_error",
            "resourcenotfoundexception",
        },
    ),
    # 408, 409, 424, 425 and 499 are the provider's own timeout, lock, failed part, "too early" and "cancelled": nothing
    # of the request's.
    Row(Transient, statuses={408, 409, 424, 425, 499, *_SERVER_ERRORS}),
    Row(
        CallerFault,
        statuses=_CLIENT_ERRORS,
        bare_codes={
            "badrequesterror",
            "bad_request",
            "invalid_argument",
            "invalid_request_error",
            "validationexception",
        },
    ),
)

_KEPT_HEADERS = ("request-id", "retry-after", "x-request-id")


def classify(status: int, headers: Mapping[str, str], body: bytes) -> AttemptFailed:
    """Classify an error answer (status >= 400).  Header names are lower case."""
    return failure_of(read_report(status, body, headers), headers)


def reported(payload: object) -> AttemptFailed:
    """Classify an error that came without an error status: in a stream, or as the body of a 200."""
    return failure_of(report_from(payload), {})


def failure_of(report: Report, headers: Mapping[str, str]) -> AttemptFailed:
    """Classify a report.  What no row knows is Transient: another try costs little, a lost answer much."""
    failure = next((row.failure for row in TABLE if row.fits(report)), Transient)
    wait = asked_wait(headers, report.retry_delay)
    if failure is RateLimited:
        wait = wait if wait is not None else reset_wait(headers)
        # Without a hint there is nothing to wait for: the target is simply too busy for us.
        failure = RateLimited if wait is not None else Overloaded
    return failure(
        report.message or _without_message(report.status),
        status=report.status,
        code=_code(failure, report.code),
        param=report.param,
        retry_after=wait,
        headers={name: headers[name] for name in _KEPT_HEADERS if name in headers},
        quoted=bool(report.message),
    )


def _code(failure: type[AttemptFailed], code: str | None) -> str | None:
    # Callers' programs know one word for a prompt that is too long; providers have many.
    if failure is ContextTooLong:
        return "context_length_exceeded"
    return code or ("content_filter" if failure is Refusal else None)


def _without_message(status: int | None) -> str:
    where = "in its answer" if status is None else f"with status {status}"
    return f"the provider failed {where} and did not say why"


def _may_speak(status: int | None) -> bool:
    return status is None or status in _CLIENT_ERRORS
