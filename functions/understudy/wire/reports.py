"""What a provider says when it fails, read out of whatever body it says it in.

Bodies seen in public documentation and issues: an `error` object (OpenAI, Anthropic, Gemini, most compatible
servers), the same in a list (Gemini's compatible endpoint), `error` as a string, a bare `message` or `detail`
(Bedrock, FastAPI servers), HTML from a proxy, nothing at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

LONGEST_MESSAGE = 500
_LONGEST_NAME = 100

# What looks like a key never leaves: a provider that refuses a key may repeat it in its message.  Any long run of
# letters and digits is taken for a key too; a masked request id is the smaller loss.
_SECRETS = re.compile(
    r"(?i:(?<=bearer )\S+)"
    r"|(?i:(?<=key provided: )\S+)"
    r"|\b(?:sk|rk|pk|gsk|csk|xai|tgp|nvapi|hf|r8|pplx|sess|fw|or|key|Key)[-_][\w*.-]{4,}"
    r"|\bAIza[\w-]{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w.-]*"
    r"|(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{32,}"
)
MASK = "[masked]"


@dataclass(frozen=True, slots=True)
class Report:
    """A provider's error, cleaned for logs and callers.

    `status` is the HTTP status, or None inside a stream; `code` and `param` are the provider's own words;
    `words` holds every code, type and status word it gave, in lower case, for the failure table; `message` has at
    most 500 characters and no keys (empty where the body has none); `retry_delay` is a wait named in the body.
    """

    status: int | None
    code: str | None
    param: str | None
    message: str
    words: frozenset[str]
    retry_delay: str | None = None


def read_report(status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Report:
    """Read the body of an error answer, and what its headers say of it.  Never fails: what cannot be read leaves its
    place empty."""
    text = body.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        # Plain text may say why; a proxy's page of HTML says nothing that a caller could use.
        payload = {"message": "" if text.lstrip().startswith("<") else text}
    report = report_from(payload, status)
    # "Restful JSON protocol" of AWS: the error's name stands here, and in the body only where a service adds it.
    if named := _shape(headers.get("x-amzn-errortype")):
        return replace(report, code=report.code or _name(named), words=report.words | {named.lower()})
    return report


def report_from(payload: object, status: int | None = None) -> Report:
    """Read a decoded error body, or the payload of an error event (then `status` is None)."""
    whole = _object(payload)
    error = whole.get("error")
    inner: Mapping[str, object] = _object(error) or ({"message": error} if error else whole)
    code = inner.get("code")
    if status is None and _is_status(code):
        # Inside a stream compatible servers put the status that they can no longer send into `code`.
        status = int(str(code))
    return Report(
        status=status,
        code=_code(code, status) or _name(_shape(inner.get("__type"))),
        param=_name(inner.get("param")),
        message=clean(_message(inner) or _message(whole)),
        words=_words(inner) | _words(whole),
        retry_delay=_retry_delay(inner.get("details")),
    )


def clean(text: str) -> str:
    """One line, no keys, at most 500 characters."""
    # Cut before the masking as well, so that a huge body costs little; a key cut in two still starts like one.
    line = " ".join(text[: 4 * LONGEST_MESSAGE].split())
    line = _SECRETS.sub(MASK, line)
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 3] + "..."


def _object(value: object) -> Mapping[str, object]:
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, Mapping) else {}


def _message(error: Mapping[str, object]) -> str:
    for name in ("message", "detail", "Message", "error_description"):
        value = error.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list | Mapping) and value:
            return json.dumps(value, ensure_ascii=False)
    return ""


def _words(error: Mapping[str, object]) -> frozenset[str]:
    said = [error.get(name) for name in ("code", "type", "status")]
    said.append(_shape(error.get("__type")))
    said.append(_object(error.get("innererror")).get("code"))
    return frozenset(word.lower() for word in said if isinstance(word, str))


def _shape(value: object) -> str | None:
    """The bare name of an AWS error, `name:address` or `namespace#name` (Smithy, "AWS restJson1 protocol")."""
    return value.partition(":")[0].rpartition("#")[2].strip() if isinstance(value, str) else None


def _code(value: object, status: int | None) -> str | None:
    # OpenAI's code is a word or null; servers that put a number there mostly repeat the HTTP status.
    if isinstance(value, bool) or str(value) == str(status):
        return None
    return _name(str(value) if isinstance(value, int) else value)


def _name(value: object) -> str | None:
    return clean(value)[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _is_status(value: object) -> bool:
    return isinstance(value, int | str) and re.fullmatch(r"[45]\d\d", str(value)) is not None


def _retry_delay(details: object) -> str | None:
    # google.rpc.RetryInfo, https://cloud.google.com/apis/design/errors#error_details
    for detail in details if isinstance(details, list) else ():
        delay = _object(detail).get("retryDelay")
        if isinstance(delay, str):
            return delay
    return None
