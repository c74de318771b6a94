"""Binary frames of an AWS event stream, and the check of a signature: both written anew from their specifications.

Source: Smithy, "Amazon Event Stream Specification"; the AWS Identity and Access Management user guide, "Create a signed
AWS API request".
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from infra.local.simulators.wire import Arrived

EVENT_STREAM = "application/vnd.amazon.eventstream"
_STRING = 7
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<names>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_LATE = timedelta(minutes=15)


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with headers that are strings."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = (16 + len(packed) + len(payload)).to_bytes(4, "big") + len(packed).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + packed + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def event(kind: str, payload: bytes) -> bytes:
    return frame({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    return frame({":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, payload)


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes([len(key)]) + key + bytes([_STRING]) + len(text).to_bytes(2, "big") + text


def key_id(arrived: Arrived) -> str | None:
    """The id of the access key that signed; None where there is no readable signature."""
    match = _AUTHORIZATION.fullmatch(arrived.headers.get("authorization", ""))
    return match["id"] if match else None


def fault_of_signature(arrived: Arrived, secret: str) -> str | None:
    """What is wrong with the signature, in the service's own words, or None."""
    match = _AUTHORIZATION.fullmatch(arrived.headers.get("authorization", ""))
    stamp = arrived.headers.get("x-amz-date", "")
    names = match["names"].split(";") if match else []
    if match is None or not {"host", "x-amz-date"} <= {*names} or not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        return "Authorization header requires existence of a signed 'Host' and 'X-Amz-Date' header."
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - signed_at) > _LATE:
        return f"Signature expired: {stamp} is now earlier than {datetime.now(UTC) - _LATE:%Y%m%dT%H%M%SZ}"
    if match["service"] != "bedrock":
        return f"Credential should be scoped to correct service: 'bedrock'. Found: '{match['service']}'."
    scope = f"{match['date']}/{match['region']}/{match['service']}/aws4_request"
    hashed = hashlib.sha256(_canonical(arrived, names).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"):
        key = hmac.digest(key, part.encode(), "sha256")
    if hmac.compare_digest(key.hex(), match["signature"]):
        return None
    return (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )


def _canonical(arrived: Arrived, names: list[str]) -> str:
    path, _, query = arrived.path.partition("?")
    headers = [f"{name}:{' '.join(arrived.headers.get(name, '').split())}" for name in names]
    # Every service but S3 quotes the path as it was sent once more.
    parts = [arrived.method, quote(path, safe="/~"), "&".join(sorted(filter(None, query.split("&"))))]
    return "\n".join([*parts, *headers, "", ";".join(names), hashlib.sha256(arrived.raw).hexdigest()])
