"""First output tokens of short fixed prompts, and versions: any lasting change counts.

Each prompt is its own baseline: the tokens it has been answered with and how often.  How often a steady model gives a
token that it has not given before is learned over all prompts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from understudy.detectors.alarms import of_shares
from understudy.detectors.excursions import Excursions, Row
from understudy.detectors.sample import Alarm, Sample

SWAPS = (0.15, 0.35, 0.7)
"""The alternatives: this part of the answers comes from another model."""
SPENT = 1.5
LEARN = 3
MEMORY = 60.0
DELAY = 4
"""Answers to a prompt that wait before they count as normal, the newest included."""
CAUTION = 0.7
MOST_LATELY = 2.0
"""What one answer can say by being like the latest ones: a prompt that changes alone is no other model."""
MOST = 60
"""Prompts of one stream; more are left out, or the state would not fit."""
MOST_TOKENS = 3
"""Tokens that are kept of a prompt, the most frequent ones."""
OTHERS = 6.0
"""Among how many tokens another model is taken to choose."""
FIRM = (0.05, 10.0)
UNUSUAL = 0.2
"""A token is unusual that is given less than this part as often as the prompt's most frequent one."""
FEWEST = 4
"""Answers that are off without which there is no alarm."""
DIGEST = 4
"""Characters that are kept of a token's digest: what callers or models say is not stored."""
MOST_VERSIONS = 64
"""Versions that are known at once, those seen last."""
WORDS = 200
"""Characters of the last version that are kept for people: the name of a model and what tells its builds apart."""


Prompt = tuple[dict[str, float], list[str]]
"""How often each token was given, and the last ones, which wait."""


class Fingerprints:
    """State: of each prompt its tokens' digests with their counts and the last one, which waits; the chances and news
    from which novelty is learned; the excursions."""

    __slots__ = ("_chances", "_items", "_news", "_run", "_tests", "_threshold")

    def __init__(self, length: float, plain: Mapping[str, Any] | None = None) -> None:
        self._threshold = math.log(length) + SPENT
        known = plain or {}
        self._items = _unpacked(known.get("items", ""))
        self._chances: float = known.get("chances", 0.0)
        self._news: float = known.get("news", 0.0)
        # Its number, when it began, and what was argued for until then.
        self._run: list[float] = list(known.get("run", (-1, 0.0)))
        self._run += [0.0] * (3 + len(SWAPS) - len(self._run))
        self._tests = Excursions(len(SWAPS) + 1, known.get("tests"))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "kind": "fingerprint",
            "items": _packed(self._items),
            "chances": self._chances,
            "news": self._news,
            "run": list(self._run),
            "tests": self._tests.plain(),
        }

    def accept(self) -> None:
        """Forget what was normal of every prompt, not how steady they are."""
        self._items.clear()
        self._tests.clear()

    def scores(self, seen: Sample) -> list[float] | None:
        """The log-likelihood ratio of a value under each alternative, None where its baseline is not known yet.

        Nothing is learned from it.
        """
        counts = self._items.get(seen.item, ({}, []))[0]
        return _scores(self._normal(counts, digest(str(seen.value)))[0]) if sum(counts.values()) >= LEARN else None

    def step(self, seen: Sample) -> Alarm | None:
        if not seen.value:
            # An empty answer is absent: a matter of availability.
            return None
        if seen.run != self._run[0]:
            self._next_run(seen)
        token = digest(str(seen.value))
        known = self._items.get(seen.item)
        if known is None:
            if len(self._items) < MOST:
                self._items[seen.item] = ({}, [token])
            return None
        counts, last = known
        latest = last.count(token) if (among := len(last)) else 0
        waits = DELAY if sum(counts.values()) >= LEARN and not seen.calib else 1
        while len(last) >= waits:
            self._learn(counts, last.pop(0))
        last.append(token)
        if seen.calib or sum(counts.values()) < LEARN:
            return None
        normal, novelty = self._normal(counts, token)
        unusual = counts.get(token, 0.0) < UNUSUAL * max(counts.values())
        self._tests.add(
            [*_scores(normal), _lately(normal, sum(counts.values()), latest, among)], float(unusual), novelty, seen.at
        )
        row = self._tests.highest()
        enough = row[2] >= FEWEST or row is self._tests.rows[-1]
        enough = enough and (seen.item < 0 or row[5] < self._run[1])
        return self._found(row, seen) if row[0] >= self._threshold and enough else None

    def _next_run(self, seen: Sample) -> None:
        """One batch alone may be a bad batch, so it argues for half an alarm; small ones add up."""
        for row, before in zip(self._tests.rows, self._run[2:], strict=True):
            row[0] = min(row[0], before + self._threshold / 2)
        self._run = [seen.run, seen.at, *(row[0] for row in self._tests.rows)]

    def _normal(self, counts: Mapping[str, float], token: str) -> tuple[float, float]:
        """How often a token is given, and how often one that was not given before."""
        total, here = sum(counts.values()), counts.get(token, 0.0)
        novelty = self._novelty(total, len(counts))
        return (here / total * (1 - novelty) if here else novelty / OTHERS), novelty

    def _novelty(self, total: float, different: int) -> float:
        steadiness = (self._news + FIRM[0] * FIRM[1]) / (self._chances + FIRM[1])
        return max(0.0005, min(0.5, steadiness * different / (total + 1)))

    def _learn(self, counts: dict[str, float], token: str) -> None:
        total = sum(counts.values())
        if total >= 2:
            self._chances += len(counts) / (total + 1)
            self._news += token not in counts
        if total >= MEMORY:
            for other in counts:
                counts[other] = round(counts[other] * (1 - 1 / MEMORY), 2)
        counts[token] = counts.get(token, 0.0) + 1
        if len(counts) > MOST_TOKENS:
            del counts[min(counts, key=counts.__getitem__)]

    def _found(self, row: Row, seen: Sample) -> Alarm:
        alarm = of_shares(
            row, seen, self._threshold, "changed", "share of unusual first tokens", {"prompts": len(self._items)}
        )
        for item, (_, last) in self._items.items():
            # Armed again on what they have become.
            self._items[item] = ({}, last)
        self._tests.clear()
        self._run[2:] = [0.0] * (1 + len(SWAPS))
        return alarm


class Versions:
    """The version that the provider reports.  State: digests of those it has reported, the one seen last at the end;
    how many of them were seen since the newest one was told; the last one in words; the news that waits for a second
    time.

    What has been reported once before is no news: a provider may serve two builds side by side.
    """

    __slots__ = ("_count", "_known", "_last", "_news", "_since")

    def __init__(self, plain: Mapping[str, Any] | None = None) -> None:
        known = plain or {}
        self._known: list[str] = known.get("digests", "").split()
        self._since: int = known.get("since", 0)
        self._last: str = known.get("last", "")
        self._count: int = known.get("count", 0)
        self._news: list[Any] = list(known.get("news", ()))

    def plain(self) -> dict[str, Any]:
        """JSON-able form."""
        digests = " ".join(self._known)
        kept = {"digests": digests, "since": self._since, "last": self._last}
        return {"kind": "version", **kept, "count": self._count, "news": list(self._news)}

    def scores(self, seen: Sample) -> list[float] | None:
        """As sure as can be: it is known or it is not."""
        return [-5.0 if _name(str(seen.value)) in self._known else 5.0] if self._known else None

    def accept(self) -> None:
        """Those seen since the newest one was told are normal; the others are gone, and news if they return."""
        self._known, self._news = self._known[len(self._known) - self._since :], []

    def step(self, seen: Sample) -> Alarm | None:
        version = str(seen.value)
        name = _name(version)
        self._count += 1
        if name in self._known or seen.calib or not self._known:
            self._saw(name, version)
            return None
        if not self._news or self._news[0] != name:
            self._news = [name, seen.at, self._count]
            return None
        before, (_, since, place) = self._last, self._news
        self._saw(name, version)
        self._since, self._news = 1, []
        return Alarm(
            kind="version",
            verdict="changed",
            at=seen.at,
            changed_at=since,
            samples_since=self._count - place + 1,
            unit="version",
            statistic=2.0,
            threshold=2.0,
            evidence={"before": before, "after": self._last},
        )

    def _saw(self, name: str, version: str) -> None:
        if self._since and name not in self._known[-self._since :]:
            self._since = min(MOST_VERSIONS, self._since + 1)
        self._known = [*(other for other in self._known if other != name), name][-MOST_VERSIONS:]
        self._last = version[:WORDS]


def _name(version: str) -> str:
    """What is kept of a version that is known."""
    return hashlib.blake2b(version.encode(errors="surrogatepass"), digest_size=4).hexdigest()


def _packed(items: Mapping[int, Prompt]) -> str:
    """`item token:times token:times|token token;...`."""
    return ";".join(
        f"{item} " + " ".join(f"{token}:{times:g}" for token, times in counts.items()) + "|" + " ".join(last)
        for item, (counts, last) in items.items()
    )


def _unpacked(text: str) -> dict[int, Prompt]:
    """What `_packed` wrote."""
    found: dict[int, Prompt] = {}
    for entry in text.split(";") if text else ():
        known, _, last = entry.partition("|")
        item, *counts = known.split()
        pairs = (each.split(":") for each in counts)
        found[int(item)] = ({token: float(times) for token, times in pairs}, last.split())
    return found


def _scores(normal: float) -> list[float]:
    """Log-likelihood ratios of a token that is given so often."""
    return [math.log(1 - swap + swap / OTHERS / normal) for swap in SWAPS]


def _lately(normal: float, total: float, latest: int, among: int) -> float:
    """The same where the other model gives the tokens that were given lately: `latest` of the last `among` times.

    A prompt whose answer was a toss-up shows another model by not being one any more.
    """
    # Taken as often as it may be, since it is known from `total` answers only.
    normal = min(1.0, normal + CAUTION * math.sqrt(normal * (1 - normal) / total))
    return min(MOST_LATELY, math.log((latest / normal + 1) / (among + 1)))


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=3).hexdigest()[:DIGEST]
