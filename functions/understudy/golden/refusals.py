"""Whether a text declines to answer."""

from __future__ import annotations

import re
import unicodedata

_HEAD = 300
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'"})
_UNABLE = r"(?:can(?:'t|not| not)|won't|will not|(?:am|'m) (?:not able|unable)(?: to)?|(?:am|'m) not comfortable)"
_DECLINES = re.compile(
    rf"\bi(?: really| simply)? ?{_UNABLE} (?:\w+ ){{0,2}}?"
    r"(?:help|assist|provide|comply|answer|do that|support|share|give|discuss|fulfil|engage|explain|tell|offer"
    r"|continue)"
    rf"|\bi {_UNABLE} (?:with )?(?:that|this)\b"
    r"|\bi(?: must| have to| need to)? (?:respectfully )?(?:decline|refuse)\b"
    r"|\b(?:goes |is )?against (?:my|the) (?:\w+ )?(?:guidelines|policy|policies|principles)\b"
    r"|\bunable to (?:help|assist|comply|provide|answer)\b"
    r"|\bas an ai(?: language)? model,? i (?:can|am not|do not|don't)"
    r"|\A(?:i'm |i am )?(?:very |so )?sorry,? (?:but )?i (?:can|won|will not)"
)


def refuses(text: str) -> bool:
    """Whether the beginning of an English text declines to answer, in the words in which models do."""
    head = unicodedata.normalize("NFKC", text[:_HEAD]).translate(_QUOTES).casefold()
    return _DECLINES.search(" ".join(head.split())) is not None
