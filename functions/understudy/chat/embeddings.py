"""What an answer of vectors is made of.  Source: the OpenAI API reference, "Create embeddings"."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 4
"""Bytes of one number in base64."""


def inputs(body: Mapping[str, Any]) -> int:
    """How many vectors a request asks for: one for each text or list of token ids."""
    value = body["input"]
    return len(value) if isinstance(value, list) and isinstance(value[0], str | list) else 1


def packed(vector: str | Sequence[float]) -> str:
    """Base64 of little-endian 32-bit floats, which is what SDKs ask for.  Raises ValueError on anything but numbers."""
    if isinstance(vector, str):
        return vector
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError, TypeError):
        raise ValueError("an embedding holds something else than 32-bit floats") from None


def unpacked(vector: str | Sequence[float]) -> list[float]:
    """The numbers.  Raises ValueError where a text is no base64 of 32-bit floats."""
    if not isinstance(vector, str):
        return list(vector)
    try:
        data = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(data) // _WIDTH}f", data))
    except (binascii.Error, struct.error, ValueError):
        raise ValueError("an embedding is no base64 of 32-bit floats") from None
