"""What can be called and how: providers, targets, routes, and the limits of a request.

These are the compiled, frozen form of a published control document.  The data plane holds one `Catalog` per
document version and never sees YAML or the schema library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Auth:
    """How a provider wants its credential: `header: <scheme> <secret>`; `secret` is a reference, never the value."""

    header: str
    scheme: str
    secret: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Who is called: wire protocol, address, credential, fixed headers, and the facts compliance judges."""

    name: str
    wire: str
    base_url: str
    auth: Auth | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can carry.  Windows are in tokens; `None` means not declared."""

    streaming: bool = True
    tools: bool = True
    vision: bool = True
    json_schema: bool = True
    context_window: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Where a target processes data and what it does with it.  `None` means not declared, and counts as the worst."""

    jurisdictions: frozenset[str] = frozenset()
    retention_days: int | None = None
    trains_on_data: bool | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one million tokens, with where and when the figure was read."""

    input_per_million: Decimal
    output_per_million: Decimal
    source: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and attempt limits of one request; seconds unless said otherwise."""

    connect: float = 5.0
    first_token: float = 10.0
    stall: float = 10.0
    request: float = 120.0
    retries_per_target: int = 1
    attempts_per_request: int = 4
    backoff: float = 0.3
    retry_after_cap: float = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be called: provider + model + region + credential."""

    name: str
    provider: Provider
    model: str
    region: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)
    data: DataFacts = field(default_factory=DataFacts)
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a route demands of every target that sees its requests.  Empty means no demand."""

    jurisdictions: frozenset[str] = frozenset()
    max_retention_days: int | None = None
    no_training: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target's place on a route: lower `order` first; within one order drawn by `weight`."""

    target: Target
    order: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """A public model name and its policy."""

    name: str
    candidates: tuple[Candidate, ...]
    limits: Limits = field(default_factory=Limits)
    constraints: Constraints = field(default_factory=Constraints)
    may_drop: frozenset[str] = frozenset()
    assured: bool = False
    reroute_refusals: bool = False


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens, for how long, and how it closes.  Seconds, counts and ratios."""

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    minimum_calls: int = 10
    window: float = 60.0
    open_first: float = 2.0
    open_max: float = 60.0
    jitter: float = 0.2
    successes_to_close: int = 2
    ramp: tuple[float, ...] = (0.1, 0.5)
    ramp_step: float = 1.0
    lease: float = 30.0


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How health is judged and shared.  Seconds and counts."""

    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    probe_period: float = 60.0
    probe_prompt: str = "Reply with the single word: ready"
    probe_max_tokens: int = 16
    flush: float = 10.0
    evaluations_to_resolve: int = 3
    credential_bench: float = 60.0


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """How often an open incident is told again (seconds), and the page a reader of the alert is sent to."""

    renotify: float = 3600.0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One published control document, compiled.  `version` is its number in the store."""

    version: int
    targets: Mapping[str, Target]
    routes: Mapping[str, Route]
    health: HealthSettings = field(default_factory=HealthSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
