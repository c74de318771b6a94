"""Control documents in S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from understudy.errors import DocumentError, Problem

LIMIT = 1024 * 1024
"""Bytes that are read; more is no control document."""


class S3Documents:
    """The text behind an `s3://BUCKET/KEY` address; `client` makes an AWS client by service name."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def read(self, address: str) -> str:
        """Raises DocumentError where there is nothing to read or it is no UTF-8 text."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            answer = self._client("s3").get_object(Bucket=bucket, Key=key)
            return str(answer["Body"].read(LIMIT).decode())
        except ClientError as error:
            code = error.response["Error"]["Code"]
            fix = "upload the document there, or correct the address and the rights of the bucket"
            raise DocumentError([Problem(address, f"it cannot be read ({code}).", fix)]) from error
        except BotoCoreError as error:
            raise DocumentError([Problem(address, f"it cannot be read ({type(error).__name__}).")]) from error
        except UnicodeDecodeError as error:
            raise DocumentError([Problem(address, "it is not UTF-8 text.", "save it as UTF-8")]) from error
