"""The embeddings of the OpenAI wire: vectors that are the same for the same text.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import random
import struct
from typing import Any

from infra.local.simulators import openai_rules as rules
from infra.local.simulators.answers import split_words
from infra.local.simulators.replies import Reply, json_reply

PARAMETERS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
DIMENSIONS = 8
MOST = 2048
PATH = "/v1/embeddings"


def embed(body: Any) -> Reply:
    """A vector for each input.  Raises RejectedError as the API refuses."""
    if not isinstance(body, dict):
        rules.reject("We could not parse the JSON body of your request.")
    if unknown := [name for name in body if name not in PARAMETERS]:
        rules.reject(f"Unrecognized request argument supplied: {', '.join(unknown)}")
    if not isinstance(body.get("model"), str) or not body["model"]:
        rules.reject("you must provide a model parameter")
    coding, count = body.get("encoding_format") or "float", body.get("dimensions")
    count = DIMENSIONS if count is None else count
    if coding not in ("float", "base64"):
        rules.reject(f"Invalid value for 'encoding_format': {coding!r}.", "encoding_format")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        rules.reject("Invalid value for 'dimensions': expected a positive integer.", "dimensions")
    inputs = _inputs(body.get("input"))
    data = [
        {"object": "embedding", "index": index, "embedding": _coded(_vector(given, count), coding)}
        for index, given in enumerate(inputs)
    ]
    tokens = sum(len(split_words(one)) if isinstance(one, str) else len(one) for one in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_reply(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})


def _inputs(given: Any) -> list[str | list[int]]:
    """One text, several, one list of tokens, or several."""
    several = isinstance(given, list) and not all(isinstance(one, int) for one in given)
    inputs = given if several else [given]
    if not inputs or len(inputs) > MOST or not all(_embeddable(one) for one in inputs):
        rules.reject("'$.input' is invalid. Please check the API reference.", "input")
    return list(inputs)


def _embeddable(one: Any) -> bool:
    tokens = isinstance(one, list) and all(isinstance(token, int) for token in one)
    return bool(one) and (isinstance(one, str) or tokens)


def _vector(given: str | list[int], count: int) -> list[float]:
    numbers = random.Random(str(given))  # noqa: S311  # nosec B311
    return [round(numbers.uniform(-1, 1), 6) for _ in range(count)]


def _coded(vector: list[float], coding: str) -> list[float] | str:
    """As numbers, or as the bytes of 32-bit floats, little end first."""
    if coding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
