"""What can be called and how: providers, targets, routes, and the limits of a request.

These are the compiled, frozen form of a published control document.  The data plane holds one `Catalog` per
document version and never sees YAML or the schema library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from understudy.facts import PII_MODES, Constraints, DataFacts
from understudy.prices import ASSUMED
from understudy.prices import Price as Price


@dataclass(frozen=True, slots=True)
class Auth:
    """How a provider wants its credential: `header: <scheme> <secret>`; `secret` is a reference, never the value."""

    header: str
    scheme: str
    secret: str


@dataclass(frozen=True, slots=True)
class SigV4:
    """Calls are signed with the AWS credentials that the router itself runs under, for this service and region."""

    service: str
    region: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Who is called: wire protocol, address, credential, fixed headers.

    `rename`: fields of a request that this server knows by another name, such as `max_completion_tokens`.
    `status_page`: the address of its public status page, which corroborates what was measured and decides nothing.
    """

    name: str
    wire: str
    base_url: str
    auth: Auth | None = None
    sigv4: SigV4 | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    status_page: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can carry.  Windows are in tokens; `None` means not declared.

    `reasoning`: it thinks before its first token, so it is given longer.  `prefill` says how it is asked to go on with
    an answer that somebody else began: "none" (it cannot), "message" (the conversation ends with an assistant
    message), "prefix" (that message is marked `prefix: true`), "continue_final_message" (two fields of the body).
    `reasoning_control` says how a request's `reasoning_effort` reaches a model whose protocol has another word for it:
    "none" (it cannot), "effort" (a level), "budget" (a number of tokens to think).
    `chat`, `embeddings` and `responses` name what it answers; `responses` is OpenAI's Responses API, spoken natively.
    `logprobs`: it tells the probabilities of its tokens where it is asked for them, so drift probes do.
    `vision` counts images, `image_urls` whether the provider fetches them itself; `refuses` names fields of a request
    that this model does not take although its protocol knows them.
    """

    chat: bool = True
    embeddings: bool = False
    responses: bool = False
    streaming: bool = True
    tools: bool = True
    vision: bool = True
    image_urls: bool = True
    audio: bool = True
    files: bool = True
    json_schema: bool = True
    logprobs: bool = False
    reasoning_control: str = "none"
    refuses: frozenset[str] = frozenset()
    context_window: int | None = None
    max_output_tokens: int | None = None
    reasoning: bool = False
    prefill: str = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time, attempt and money limits of one request; seconds unless said otherwise.

    `first_token` and `stall` are the longest waits for a first token and for the next one, and the waits while a
    target's own distribution is not known; `first_token_min` and `stall_min` the shortest; `first_token_reasoning` the
    longest for targets that think first or cannot stream.
    `max_cost` is in US dollars, all attempts together; None means no limit.
    """

    connect: float = 5.0
    first_token_min: float = 2.0
    first_token: float = 10.0
    first_token_reasoning: float = 60.0
    stall_min: float = 2.0
    stall: float = 10.0
    request: float = 120.0
    retries_per_target: int = 1
    attempts_per_request: int = 4
    backoff: float = 0.3
    retry_after_cap: float = 5.0
    max_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be called: provider + model + region + credential.

    `price` is its first price, None where none is known, and `price_changes` those that follow it, each from its own
    moment on; `assumed_price` is what its calls are counted at where no price is known.
    `min_tokens_per_s`: an answer that comes slower than this over the stall limit counts as stalled; 0 allows any.
    """

    name: str
    provider: Provider
    model: str
    region: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)
    data: DataFacts = field(default_factory=DataFacts)
    price: Price | None = None
    price_changes: tuple[Price, ...] = ()
    assumed_price: Price = ASSUMED
    min_tokens_per_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target's place on a route: lower `order` first; within one order drawn by `weight`."""

    target: Target
    order: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """A target that gets a part (0 to 1) of a route's requests, whether it is on the route or not."""

    target: Target
    share: float


PII_KINDS = frozenset({"credit_card", "email", "iban", "ip", "national_id", "phone"})
"""What the PII guard looks for."""


@dataclass(frozen=True, slots=True)
class PiiRules:
    """What is done about personal data in a route's requests before any target sees them.

    `mode` is one of `understudy.facts.PII_MODES`; `kinds` are looked for.  `countries` (ISO 3166, lower case) are those
    whose phone numbers count as they are dialled at home, and whose national ids count where their check alone says
    little; `unread` whether files and pictures, which nobody here can read, are refused or allowed where the rest is
    redacted or blocked.
    """

    mode: str = "off"
    kinds: frozenset[str] = PII_KINDS
    countries: frozenset[str] = frozenset()
    unread: str = "refuse"

    def under(self, demanded: str) -> PiiRules:
        """The rules where a constraint demands at least this mode, which it does for every kind."""
        if demanded == "off":
            return self
        return replace(self, mode=max(self.mode, demanded, key=PII_MODES.index), kinds=PII_KINDS)


@dataclass(frozen=True, slots=True)
class Route:
    """A public model name and its policy.

    `hedge`: a second target is started when the first token is later than the first target's own p95.
    `continue_in_user_turn`: an answer that broke off may be continued by asking in words, where nothing sounder works.
    `golden_sets`: the questions that the route's targets are asked beside those that all targets are asked.
    `feedback`: callers may judge its answers for a day.
    `strategy` says how candidates are ranked (understudy.routing.scorers): "ordered", "weighted", "fastest",
    "cheapest", "best" or "adaptive".  `task`: what its requests are about, so that evidence of that task counts; empty
    for no one task.  `min_quality` (0 to 1) is the floor of "cheapest", `max_price_per_million` (US dollars for a
    million tokens, blended) the ceiling of "best", `first_token_objective` the seconds within which a first token is in
    time.  `canary` leads a share of the requests; `shadow` is asked for a share of them as well, and its answers are
    judged and thrown away.  `quarantine` says whose quarantines count here: "automatic" (also those that follow a
    finding by themselves), "manual" (only an operator's) or "off" (nobody's).  `pii` says what is done about personal
    data in its requests.
    """

    name: str
    candidates: tuple[Candidate, ...]
    limits: Limits = field(default_factory=Limits)
    constraints: Constraints = field(default_factory=Constraints)
    may_drop: frozenset[str] = frozenset()
    assured: bool = False
    reroute_refusals: bool = False
    hedge: bool = False
    continue_in_user_turn: bool = False
    golden_sets: frozenset[str] = frozenset()
    feedback: bool = False
    strategy: str = "ordered"
    task: str = ""
    min_quality: float | None = None
    max_price_per_million: Decimal | None = None
    first_token_objective: float | None = None
    canary: Share | None = None
    shadow: Share | None = None
    quarantine: str = "manual"
    pii: PiiRules = field(default_factory=PiiRules)

    @property
    def asked(self) -> Mapping[str, Target]:
        """Every target that may be sent its requests, by name."""
        trials = [share.target for share in (self.canary, self.shadow) if share is not None]
        return {target.name: target for target in (*(c.target for c in self.candidates), *trials)}


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens, for how long, and how it closes.  Seconds, counts and ratios.

    A target with fewer than `quiet_calls` good calls in the window is quiet: `quiet_failures` in a row open its
    breaker.  Open times grow from `open_first` to `open_steady`, and with a long outage to `open_max`; `jitter` is the
    largest part that is added to one at random.
    """

    consecutive_failures: int = 5
    quiet_failures: int = 2
    quiet_calls: int = 20
    failure_ratio: float = 0.5
    minimum_calls: int = 10
    window: float = 60.0
    open_first: float = 2.0
    open_steady: float = 8.5
    open_max: float = 60.0
    jitter: float = 0.05
    successes_to_close: int = 2
    ramp: tuple[float, ...] = (0.1, 0.5)
    ramp_step: float = 1.0
    lease: float = 30.0


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """Quality probes: every `period` seconds `items` questions of each of the `sets`, in rotation.

    `judge` names the target that judges answers no checker can judge; a confirmation asks up to `confirm_items`.
    """

    period: float = 3600.0
    items: int = 10
    sets: tuple[str, ...] = ("core",)
    judge: str | None = None
    confirm_items: int = 40


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """Drift probes: every `period` seconds so many `prompts`, in rotation; 0 for none."""

    period: float = 900.0
    prompts: int = 3


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """How sure an alarm must be.

    `in_control_length`: values between two false alarms of one stream.  `false_discovery_rate`: the largest share of
    false ones among the alarms told together.  `max_loss`: of quality, that a new version may have and be accepted.
    """

    in_control_length: float = 100_000.0
    false_discovery_rate: float = 0.05
    max_loss: float = 0.05


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What a score is made of: the weights of its parts, of which only the proportions count; the points by which
    another must be better before an order changes; the seconds after which evidence counts half."""

    availability: float = 50.0
    latency: float = 20.0
    quality: float = 25.0
    cost: float = 5.0
    hysteresis: float = 5.0
    half_life: float = 3600.0


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How health is judged and shared.  Seconds and counts.

    `probe_usd_per_day` is what all probes of one target may cost on one day (UTC); `probe_reasoning_tokens` are what a
    target that thinks first is given for it, in every probe.
    """

    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    probe_period: float = 60.0
    probe_prompt: str = "Reply with the single word: ready"
    probe_max_tokens: int = 16
    probe_usd_per_day: Decimal = Decimal(1)
    probe_reasoning_tokens: int = 256
    quality: QualitySettings = field(default_factory=QualitySettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    flush: float = 10.0
    evaluations_to_resolve: int = 3


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """How often an open incident is told again (seconds), and the page a reader of the alert is sent to."""

    renotify: float = 3600.0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One published control document, compiled.  `version` is its number in the store.

    `golden_sets` is as the document has it: only the control plane reads it, by `golden/sets.py`.  `data_classes` are
    what each class of data demands; what a route's own classes demand is part of its constraints already.
    """

    version: int
    targets: Mapping[str, Target]
    routes: Mapping[str, Route]
    health: HealthSettings = field(default_factory=HealthSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    golden_sets: Mapping[str, Any] = field(default_factory=dict)
    data_classes: Mapping[str, Constraints] = field(default_factory=dict)
