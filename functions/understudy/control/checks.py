"""What one value of a control document must look like.

Each check returns the value to keep or raises WrongError.  Checks of secrets and header values never repeat
what they were given: somebody who pastes a key by mistake must not find it in a log.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from urllib.parse import urlsplit

# The beginnings of well-known API keys, tokens and cloud credentials.
PASTED_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|sk_|pk-|gsk_|xai-|pplx-|hf_|r8_|ghp_|github_pat_|glpat-|xox[bp]-|AIza|AKIA|ASIA|eyJ)"
    r"[A-Za-z0-9_-]{16,}"
)
HIDDEN = "(hidden)"
RESERVED_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
TRANSPORT_HEADERS = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding"})

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_JURISDICTION = re.compile(r"[a-z][a-z0-9-]{0,31}")
_CERTIFICATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SERVICE_TIER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_AWS_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_AWS_REGION = re.compile(r"[a-z]{2,5}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_PLACEHOLDER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_REGION = re.compile(r"[A-Za-z0-9._-]{0,64}")
_MONEY = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?")
_SECRET = re.compile(
    r"env:[A-Za-z_][A-Za-z0-9_]{0,127}"
    r"|ssm:/[A-Za-z0-9_./-]{1,1000}"
    r"|secretsmanager:[A-Za-z0-9_/+=.@:-]{1,512}(#[A-Za-z0-9_.-]{1,128})?"
)
_RANDOM = re.compile(r"[A-Za-z0-9_+=-]{32,}")
REFERENCES = "write a reference: `env:NAME`, `ssm:/path` or `secretsmanager:id#field`"
NO_REFERENCE = "this is not a reference to a secret."
LITERAL_KEY = "this looks like a key itself (not shown here), and a control document never holds one."
STORE_THE_KEY = f"store the key elsewhere (a new one if this file was shared) and {REFERENCES}"


class WrongError(ValueError):
    """One value is wrong: what is wrong with it, and what to write instead."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def tidy(text: str, most: int) -> str:
    """`text` as it may be repeated: on one line, at most `most` characters, without what looks like a key."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in PASTED_KEY.sub(HIDDEN, text))
    return visible if len(visible) <= most else visible[: most - 3] + "..."


def guess(word: str, known: Iterable[str]) -> str:
    """A fix for a name that is not there: the nearest known one, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if not names:
        return ""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return "choose one of " + ", ".join(f"`{name}`" for name in names[:12]) + more


def name(value: str) -> str:
    """The name of a provider or target."""
    if _NAME.fullmatch(value):
        return value
    fix = "use 1 to 64 lower-case letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
    raise WrongError(f"`{_short(value)}` is not a valid name.", fix)


def route_name(value: str) -> str:
    """The public model name of a route."""
    if _ROUTE_NAME.fullmatch(value):
        return value
    fix = "use 1 to 128 letters, digits, `.`, `_`, `-`, `:` or `/`, beginning with a letter or digit"
    raise WrongError(f"`{_short(value)}` is not a valid route name.", fix)


def base_url(value: str) -> str:
    """`https://host[:port][/path]`, or `http` to a loopback host; without a slash at the end."""
    plain = "write it as `https://host/path`"
    if "@" in value or "?" in value or "#" in value:
        # Not repeated: what stands there may be a password or a key.
        raise WrongError("the URL holds a user, a query or a fragment.", f"{plain}; credentials go under `auth`")
    if any(not "!" <= character <= "~" for character in value):
        raise WrongError("the URL holds a space or a character that is not ASCII.", plain)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise WrongError(f"`{_short(value)}` is not a URL.", plain)
    if parts.scheme == "http" and not is_loopback(host):
        raise WrongError(
            f"`{_short(value)}` is not encrypted.", "use `https://`; plain http is for loopback hosts only"
        )
    return value.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def link(value: str) -> str:
    """Empty, or the address of a page for a person."""
    if value and not re.fullmatch(r"https?://[!-~]+", value):
        raise WrongError(f"`{_short(value)}` is not a URL.", "write it as `https://host/path`, or leave it empty")
    return value


def status_page(value: str) -> str:
    """Empty, or the address of a status page."""
    return base_url(value) if value else value


def country(value: str) -> str:
    """An ISO 3166 code of two letters."""
    if not re.fullmatch(r"[a-z]{2}", value):
        raise WrongError(f"`{_short(value)}` is not a country.", "write its two-letter code, such as de")
    if value == "uk":
        raise WrongError("`uk` is no code of a country.", "write `gb`")
    return value


def off(value: object) -> object:
    """The word `off`, which YAML reads as a boolean where it is not quoted."""
    return "off" if value is False else value


def task(value: str) -> str:
    """Empty, or the name of a task."""
    return name(value) if value else value


def secret(value: str) -> str:
    """A reference to a secret, never the secret."""
    scheme, _, rest = value.partition(":")
    if PASTED_KEY.search(value) or looks_random(value if scheme not in ("env", "ssm", "secretsmanager") else rest):
        raise WrongError(LITERAL_KEY, STORE_THE_KEY)
    if not _SECRET.fullmatch(value):
        raise WrongError(NO_REFERENCE, REFERENCES)
    return value


def looks_random(value: str) -> bool:
    """Whether a text is long and mixed as keys are: digits among letters of both cases, or hexadecimal."""
    if not _RANDOM.fullmatch(value):
        return False
    digits = sum(character.isdigit() for character in value)
    mixed = value != value.lower() and value != value.upper()
    return digits >= 3 and (mixed or re.fullmatch(r"[0-9a-f-]+|[0-9A-F-]+", value) is not None)


def auth_header(value: str) -> str:
    """The header that carries the credential."""
    if not _TOKEN.fullmatch(value) or len(value) > 64 or PASTED_KEY.search(value) or looks_random(value):
        raise WrongError("this is not a header name.", "write for example `Authorization`")
    if value.lower() in TRANSPORT_HEADERS:
        raise WrongError(f"the header `{value}` is set by the connection itself.", "write for example `Authorization`")
    return value


def scheme(value: str) -> str:
    """The word before the secret in the header, such as `Bearer`; empty for the bare secret."""
    if value and (not _TOKEN.fullmatch(value) or len(value) > 32 or looks_random(value) or PASTED_KEY.search(value)):
        raise WrongError(
            "this is not the name of an authorization scheme.", 'write for example `Bearer`, or `""` for none'
        )
    return value


def headers(value: dict[str, str]) -> dict[str, str]:
    """Fixed header names; their values are checked one by one."""
    seen: dict[str, str] = {}
    for header in value:
        low = header.lower()
        if low in seen:
            raise WrongError(f"`{header}` and `{seen[low]}` are the same header.", "keep one of them")
        seen[low] = header
    return value


def header_name(value: str) -> str:
    if not _TOKEN.fullmatch(value) or len(value) > 128:
        raise WrongError(f"`{_short(value)}` is not a header name.", "use letters, digits and `-` only")
    if value.lower() in RESERVED_HEADERS:
        raise WrongError(f"the header `{value}` carries a credential.", "write it under `auth` of this provider")
    if value.lower() in TRANSPORT_HEADERS:
        raise WrongError(f"the header `{value}` is set by the connection itself.", "remove it")
    return value


def header_value(value: str) -> str:
    if looks_random(value.removeprefix("Bearer ")) or PASTED_KEY.search(value):
        raise WrongError(
            "this looks like a key (not shown here).", "write a reference to it under `auth` of this provider"
        )
    if not _HEADER_VALUE.fullmatch(value) or len(value) > 1024:
        fix = "use 1 to 1024 visible ASCII characters, without line breaks and without spaces at the ends"
        raise WrongError("this is not a header value.", fix)
    return value


def model(value: str) -> str:
    """The provider's own name of the model."""
    if not value or len(value) > 256 or any(c.isspace() or not c.isprintable() for c in value):
        raise WrongError(
            f"`{_short(value)}` is not a model name.",
            "write the provider's name of the model, without spaces",
        )
    return value


def region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise WrongError(
            f"`{_short(value)}` is not a region.", "write it as the provider does, for example `eu-west-1`"
        )
    return value


def aws_service(value: str) -> str:
    """The name of an AWS service as its signature has it."""
    if not _AWS_SERVICE.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is not the name of an AWS service.", "write for example `bedrock`")
    return value


def aws_region(value: str) -> str:
    """A region of AWS by its code, which is part of the signature."""
    if not _AWS_REGION.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is not a region of AWS.", "write its code, for example `eu-central-1`")
    return value


def placeholder(value: str) -> str:
    """What stands in the place of a preset's placeholder: a part of a host name or of a path."""
    if not _PLACEHOLDER.fullmatch(value) or looks_random(value):
        fix = "use 1 to 128 letters, digits, `-`, `_` or `.`, beginning and ending with a letter or digit"
        raise WrongError(f"`{_short(value)}` cannot stand in an address.", fix)
    return value


def schema(value: int) -> int:
    """The version of the schema itself."""
    if value != 1:
        raise WrongError(f"this software does not know schema {value}.", "write `schema: 1`")
    return value


def jurisdiction(value: str) -> str:
    """A short lower-case code."""
    if _JURISDICTION.fullmatch(value):
        return value
    better = value.lower().replace("_", "-")
    fix = f"write `{better}`" if _JURISDICTION.fullmatch(better) else "write a short code such as `eu` or `us`"
    raise WrongError(f"`{_short(value)}` is not a jurisdiction.", fix)


def some(values: Sequence[str]) -> list[str]:
    """A list of the only ones that are allowed."""
    if not values:
        raise WrongError("an empty list would allow nobody.", "name what is allowed, or remove the field for no demand")
    return list(values)


def certification(value: str) -> str:
    """The short name of a certification or of an agreement about data: one spelling for all."""
    if not _CERTIFICATION.fullmatch(value):
        fix = "write a short name such as `SOC2` or `HIPAA-BAA`"
        raise WrongError(f"`{_short(value)}` is not the name of a certification.", fix)
    return value.upper()


def day(value: str) -> str:
    """A day of the calendar."""
    try:
        if not _DAY.fullmatch(value) or date.fromisoformat(value).year < 2000:
            raise ValueError(value)
    except ValueError:
        fix = "write a date as year-month-day, such as 2027-12-31"
        raise WrongError(f"`{_short(value)}` is not a day.", fix) from None
    return value


def droppable(value: str) -> str:
    """The name of a request field that a route may lose."""
    if not _FIELD.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is not a field of a request.", "write a name such as `seed`")
    if value in ("model", "messages", "stream"):
        raise WrongError(f"`{value}` can never be dropped.", "remove it")
    return value


def request_field(value: str) -> str:
    """The name of a request field that a server knows by another name, or does not take."""
    if not _FIELD.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is not a field of a request.", "write a name such as `seed`")
    if value in ("model", "messages", "stream"):
        raise WrongError(f"every request has `{value}`, under this name.", "remove it")
    return value


def once_each(values: Sequence[str]) -> list[str]:
    """A list that stands for a set: sorted, so that equal sets are equal documents."""
    return sorted(set(values))


def money(value: str) -> str:
    """US dollars as decimal text, kept without needless zeros: `2.50` -> `2.5`."""
    if not _MONEY.fullmatch(value):
        raise WrongError(
            f"`{_short(value)}` is not a price.", 'write US dollars for one million tokens, such as "2.50"'
        )
    return format(Decimal(value).normalize(), "f")


def budget(value: str) -> str:
    """US dollars for one request, more than nothing."""
    if not _MONEY.fullmatch(value) or not Decimal(value):
        raise WrongError(f"`{_short(value)}` is not a budget.", 'write US dollars for one request, such as "0.05"')
    return format(Decimal(value).normalize(), "f")


def allowance(value: str) -> str:
    """US dollars for one day; 0 for none."""
    if not _MONEY.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is not a budget.", 'write US dollars for one day, such as "0.50"')
    return format(Decimal(value).normalize(), "f")


def service_tier(value: str) -> str:
    if not _SERVICE_TIER.fullmatch(value):
        raise WrongError(f"`{_short(value)}` is no service tier.", "write it as the provider reports it, such as flex")
    return value


def other_kind(value: str) -> str:
    if value in ("input", "output"):
        raise WrongError(f"`{value}` is said above.", f"write it as `{value}_per_million`")
    return value


def line(value: str) -> str:
    """One line of text for people."""
    if len(value) > 300 or any(not character.isprintable() for character in value):
        raise WrongError("this is not one line of text.", "use up to 300 printable characters")
    return value


def prompt(value: str) -> str:
    if not value.strip() or len(value) > 2000:
        raise WrongError("the prompt is empty or too long.", "write 1 to 2000 characters")
    return value


def ramp(values: Sequence[float]) -> list[float]:
    """Shares of traffic after a recovery, rising, each above 0 and below 1."""
    if any(not 0 < value < 1 for value in values):
        raise WrongError(
            "every step must be above 0 and below 1.", "write shares such as [0.1, 0.5]; 1 follows by itself"
        )
    if any(b <= a for a, b in zip(values, list(values)[1:], strict=False)):
        raise WrongError("the steps must rise.", f"write [{', '.join(f'{v:g}' for v in sorted(set(values)))}]")
    if len(values) > 20:
        raise WrongError("there are more than 20 steps.", "write shares such as [0.1, 0.5]")
    return list(values)


def _short(value: str) -> str:
    return tidy(value, 60)
