"""The national ids that are looked for: how each is written, and who checks it.

A shape only says where to look; whether it is one is said by the check digits, dates and districts that python-stdnum
knows.  Where those let through more than about one plain number of that length in a hundred, the shape is the written
one with its separators, or the row counts only for a route that names the country.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NationalId:
    """`country` is its ISO code, `module` the one below `stdnum` that checks it; `asked`: only where the country is
    named."""

    country: str
    module: str
    shape: re.Pattern[str]
    asked: bool = False


# country, module, shape: looked for everywhere.
_DISTINCT = [
    ("be", "be.nn", r"\d\d\.?\d\d\.?\d\d-?\d{3}\.?\d\d"),
    ("br", "br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d\d"),
    ("ch", "ch.ssn", r"756\.?\d{4}\.?\d{4}\.?\d\d"),
    ("cl", "cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dK]"),
    ("cn", "cn.ric", r"\d{17}[\dX]"),
    ("cz", "cz.rc", r"\d{6}/\d{3,4}"),
    ("de", "de.idnr", r"\d\d ?\d{3} ?\d{3} ?\d{3}"),
    ("dk", "dk.cpr", r"\d{6}-\d{4}"),
    ("ee", "ee.ik", r"[1-6]\d{10}"),
    ("es", "es.dni", r"\d{8}-?[A-Z]"),
    ("es", "es.nie", r"[XYZ]-?\d{7}-?[A-Z]"),
    ("fi", "fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Z]"),
    ("fr", "fr.nir", r"[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d"),
    ("ie", "ie.pps", r"\d{7}[A-W][A-IW]?"),
    ("in", "in_.pan", r"[A-Z]{5}\d{4}[A-Z]"),
    ("is", "is_.kennitala", r"\d{6}-?\d{4}"),
    ("it", "it.codicefiscale", r"[A-Z]{6}[\dL-NP-V]{2}[A-EHLMPRST][\dL-NP-V]{2}[A-Z][\dL-NP-V]{3}[A-Z]"),
    ("kr", "kr.rrn", r"\d{6}-\d{7}"),
    ("mx", "mx.curp", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d"),
    ("my", "my.nric", r"\d{6}-\d\d-\d{4}"),
    ("no", "no.fodselsnummer", r"\d{6} ?\d{5}"),
    ("ro", "ro.cnp", r"[1-8]\d{12}"),
    ("se", "se.personnummer", r"(?:\d\d)?\d{6}[-+]\d{4}"),
    ("th", "th.pin", r"\d-\d{4}-\d{5}-\d\d-\d"),
    ("us", "us.itin", r"9\d\d-\d\d-\d{4}"),
    ("us", "us.ssn", r"\d{3}-\d\d-\d{4}"),
    ("za", "za.idnr", r"\d{13}"),
]
# Looked for where the country is named.
_COMMON = [
    ("at", "at.vnr", r"\d{4} ?\d{6}"),
    ("au", "au.tfn", r"\d{3} ?\d{3} ?\d{3}"),
    ("bg", "bg.egn", r"\d{10}"),
    ("br", "br.cpf", r"\d{11}"),
    ("ca", "ca.sin", r"\d{3}[- ]?\d{3}[- ]?\d{3}"),
    ("gb", "gb.nhs", r"\d{3}[- ]?\d{3}[- ]?\d{4}"),
    ("gr", "gr.amka", r"\d{11}"),
    ("hr", "hr.oib", r"\d{11}"),
    ("id", "id.nik", r"\d{16}"),
    ("il", "il.idnr", r"\d{8}-?\d"),
    ("in", "in_.aadhaar", r"\d{4} ?\d{4} ?\d{4}"),
    ("lt", "lt.asmens", r"[1-6]\d{10}"),
    ("nl", "nl.bsn", r"\d{9}|\d{3}\.\d{3}\.\d{3}|\d{4}\.\d\d\.\d{3}"),
    ("pl", "pl.pesel", r"\d{11}"),
    ("pt", "pt.nif", r"\d{3} ?\d{3} ?\d{3}"),
    ("si", "si.emso", r"\d{13}"),
    ("sk", "sk.rc", r"\d{6}/?\d{3,4}"),
    ("tr", "tr.tckimlik", r"\d{11}"),
]


_BEGINS, _ENDS = r"(?<![A-Za-z0-9_])(?<!\d[./+-])", r"(?![A-Za-z0-9_]|[./+-]\d)"
"""Where a number is no part of a longer word or number."""


def _bounded(shape: str) -> re.Pattern[str]:
    return re.compile(f"(?:{shape}){_ENDS}", re.IGNORECASE)


IDS = (
    *(NationalId(country, module, _bounded(shape)) for country, module, shape in _DISTINCT),
    *(NationalId(country, module, _bounded(shape), asked=True) for country, module, shape in _COMMON),
)
ANYWHERE = re.compile(
    f"{_BEGINS}(?=(?:{'|'.join(sorted({shape for _, _, shape in _DISTINCT + _COMMON}))}){_ENDS})", re.IGNORECASE
)
"""Where one of them may begin: one look at a text instead of one for each of them."""
