"""The schema of the control document: the only place that knows the schema library.

`parse` turns YAML text into the canonical plain form (JSON-able, every default written out, decimals as text)
or raises DocumentError with every problem that was found, each with its place and what to write instead.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from understudy import catalog
from understudy.control import checks, golden, presets, rules, wording
from understudy.control.form import STRICT
from understudy.control.source import Finding, Tree, UnreadableError, read
from understudy.control.versions import packed
from understudy.errors import DocumentError

# A DynamoDB item is at most 400 KB, names and attributes included; the rest is room for those.
MAX_BYTES = 350_000
MAX_PROBLEMS = 200
# Each target and each route is a value of a dimension of the metrics, and costs money there.
MAX_TARGETS = 2000
MAX_ROUTES = 500

_LIMITS = catalog.Limits()
_CAPABILITIES = catalog.Capabilities()
_DATA = catalog.DataFacts()
_CONSTRAINTS = catalog.Constraints()
_BREAKER = catalog.BreakerSettings()
_DETECTION = catalog.DetectionSettings()
_SCORE = catalog.ScoreSettings()
_HEALTH = catalog.HealthSettings()
_QUALITY = _HEALTH.quality
_DRIFT = _HEALTH.drift
_ALERTS = catalog.AlertSettings()

Name = Annotated[str, AfterValidator(checks.name)]
RouteName = Annotated[str, AfterValidator(checks.route_name)]
HeaderName = Annotated[str, AfterValidator(checks.header_name)]
HeaderValue = Annotated[str, AfterValidator(checks.header_value)]
Jurisdictions = Annotated[list[Annotated[str, AfterValidator(checks.jurisdiction)]], AfterValidator(checks.once_each)]
Droppable = Annotated[list[Annotated[str, AfterValidator(checks.droppable)]], AfterValidator(checks.once_each)]
RequestField = Annotated[str, AfterValidator(checks.request_field)]
Refused = Annotated[list[RequestField], AfterValidator(checks.once_each)]
Placeholder = Annotated[str, AfterValidator(checks.placeholder)]
Money = Annotated[str, AfterValidator(checks.money)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Weight = Annotated[float, Field(ge=0, le=1000)]


class _Form(BaseModel):
    model_config = STRICT


class AuthForm(_Form):
    header: Annotated[str, AfterValidator(checks.auth_header)]
    scheme: Annotated[str, AfterValidator(checks.scheme)]
    secret: Annotated[str, AfterValidator(checks.secret)]


class SigV4Form(_Form):
    service: Annotated[str, AfterValidator(checks.aws_service)]
    region: Annotated[str, AfterValidator(checks.aws_region)]


class ProviderForm(_Form):
    # Written out before the schema sees them, and left out of the canonical form.
    preset: str | None = None
    placeholders: Annotated[dict[str, Placeholder], Field(max_length=10)] = Field(default_factory=dict, alias="with")
    wire: Literal["openai", "anthropic", "gemini", "bedrock"]
    base_url: Annotated[str, AfterValidator(checks.base_url)]
    auth: AuthForm | None = None
    sigv4: SigV4Form | None = None
    headers: Annotated[dict[HeaderName, HeaderValue], AfterValidator(checks.headers)] = Field(default_factory=dict)
    rename: Annotated[dict[RequestField, RequestField], Field(max_length=20)] = Field(default_factory=dict)
    simulated: bool = False
    status_page: Annotated[str, AfterValidator(checks.status_page)] = ""


class CapabilitiesForm(_Form):
    chat: bool = _CAPABILITIES.chat
    embeddings: bool = _CAPABILITIES.embeddings
    responses: bool = _CAPABILITIES.responses
    streaming: bool = _CAPABILITIES.streaming
    tools: bool = _CAPABILITIES.tools
    vision: bool = _CAPABILITIES.vision
    image_urls: bool = _CAPABILITIES.image_urls
    audio: bool = _CAPABILITIES.audio
    files: bool = _CAPABILITIES.files
    json_schema: bool = _CAPABILITIES.json_schema
    logprobs: bool = _CAPABILITIES.logprobs
    reasoning_control: Literal["none", "effort", "budget"] = "none"
    refuses: Refused = sorted(_CAPABILITIES.refuses)
    context_window: Tokens | None = _CAPABILITIES.context_window
    max_output_tokens: Tokens | None = _CAPABILITIES.max_output_tokens
    reasoning: bool = _CAPABILITIES.reasoning
    prefill: Literal["none", "message", "prefix", "continue_final_message"] = "none"


class DataForm(_Form):
    jurisdictions: Jurisdictions = sorted(_DATA.jurisdictions)
    retention_days: Days | None = _DATA.retention_days
    trains_on_data: bool | None = _DATA.trains_on_data


class PriceForm(_Form):
    input_per_million: Money
    output_per_million: Money
    source: Annotated[str, AfterValidator(checks.line)] = ""


class TargetForm(_Form):
    provider: str
    model: Annotated[str, AfterValidator(checks.model)]
    region: Annotated[str, AfterValidator(checks.region)] = ""
    capabilities: CapabilitiesForm = CapabilitiesForm()
    data: DataForm = DataForm()
    price: PriceForm | None = None
    min_tokens_per_s: Annotated[float, Field(ge=0, le=10_000)] = 1.0


class LimitsForm(_Form):
    connect_s: Annotated[float, Field(gt=0, le=60)] = _LIMITS.connect
    first_token_min_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.first_token_min
    first_token_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.first_token
    first_token_reasoning_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.first_token_reasoning
    stall_min_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.stall_min
    stall_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.stall
    # An execution environment lives at most 15 minutes for one request.
    request_s: Annotated[float, Field(gt=0, le=900)] = _LIMITS.request
    retries_per_target: Annotated[int, Field(ge=0, le=5)] = _LIMITS.retries_per_target
    attempts_per_request: Annotated[int, Field(ge=1, le=10)] = _LIMITS.attempts_per_request
    backoff_s: Annotated[float, Field(ge=0, le=30)] = _LIMITS.backoff
    retry_after_cap_s: Annotated[float, Field(ge=0, le=60)] = _LIMITS.retry_after_cap
    max_cost_usd: Annotated[str, AfterValidator(checks.budget)] | None = None


class DefaultsForm(_Form):
    limits: LimitsForm = LimitsForm()


class ConstraintsForm(_Form):
    jurisdictions: Jurisdictions = sorted(_CONSTRAINTS.jurisdictions)
    max_retention_days: Days | None = _CONSTRAINTS.max_retention_days
    no_training: bool = _CONSTRAINTS.no_training


class CandidateForm(_Form):
    target: str
    order: Annotated[int, Field(ge=1, le=1000)] | None = None
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"target": value} if isinstance(value, str) else value


class ShareForm(_Form):
    target: str
    share: Annotated[float, Field(gt=0, le=1)]


class RouteForm(_Form):
    targets: Annotated[list[CandidateForm], Field(min_length=1, max_length=100)]
    limits: LimitsForm = LimitsForm()
    constraints: ConstraintsForm = ConstraintsForm()
    may_drop: Droppable = Field(default_factory=list)
    assured: bool = False
    reroute_refusals: bool = False
    hedge: bool = False
    continue_in_user_turn: bool = False
    golden_sets: golden.SetNames = Field(default_factory=list)
    feedback: bool = False
    strategy: Literal["ordered", "weighted", "fastest", "cheapest", "best", "adaptive"] = "ordered"
    task: Annotated[str, AfterValidator(checks.task)] = ""
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    max_price_per_million: Money | None = None
    first_token_objective_s: Annotated[float, Field(gt=0, le=900)] | None = None
    canary: ShareForm | None = None
    shadow: ShareForm | None = None
    quarantine: Annotated[Literal["automatic", "manual", "off"], BeforeValidator(checks.off)] = "manual"


class BreakerForm(_Form):
    consecutive_failures: Annotated[int, Field(ge=1, le=100)] = _BREAKER.consecutive_failures
    quiet_failures: Annotated[int, Field(ge=1, le=100)] = _BREAKER.quiet_failures
    quiet_calls: Annotated[int, Field(ge=0, le=10_000)] = _BREAKER.quiet_calls
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = _BREAKER.failure_ratio
    minimum_calls: Count = _BREAKER.minimum_calls
    window_s: Annotated[float, Field(gt=0, le=3600)] = _BREAKER.window
    open_first_s: Annotated[float, Field(gt=0, le=900)] = _BREAKER.open_first
    open_steady_s: Annotated[float, Field(gt=0, le=3600)] = _BREAKER.open_steady
    open_max_s: Annotated[float, Field(gt=0, le=3600)] = _BREAKER.open_max
    jitter: Annotated[float, Field(ge=0, lt=1)] = _BREAKER.jitter
    successes_to_close: Annotated[int, Field(ge=1, le=100)] = _BREAKER.successes_to_close
    ramp: Annotated[list[float], AfterValidator(checks.ramp)] = list(_BREAKER.ramp)
    ramp_step_s: Annotated[float, Field(gt=0, le=3600)] = _BREAKER.ramp_step
    lease_s: Annotated[float, Field(gt=0, le=900)] = _BREAKER.lease


class ProbeForm(_Form):
    # A minute has at most four rounds of probes.
    period_s: Annotated[float, Field(ge=15, le=86_400)] = _HEALTH.probe_period
    prompt: Annotated[str, AfterValidator(checks.prompt)] = _HEALTH.probe_prompt
    max_tokens: Count = _HEALTH.probe_max_tokens
    usd_per_day: Annotated[str, AfterValidator(checks.allowance)] = str(_HEALTH.probe_usd_per_day)
    reasoning_tokens: Count = _HEALTH.probe_reasoning_tokens


class QualityForm(_Form):
    # Shorter than this a run may not be over before the next one begins.
    period_s: Annotated[float, Field(ge=300, le=86_400)] = _QUALITY.period
    # What one run finds is written as one item of the table.
    items: Annotated[int, Field(ge=1, le=60)] = _QUALITY.items
    sets: golden.SetNames = sorted(_QUALITY.sets)
    judge: str | None = _QUALITY.judge
    confirm_items: Annotated[int, Field(ge=1, le=60)] = _QUALITY.confirm_items


class DriftForm(_Form):
    period_s: Annotated[float, Field(ge=60, le=86_400)] = _DRIFT.period
    prompts: Annotated[int, Field(ge=0, le=20)] = _DRIFT.prompts


class DetectionForm(_Form):
    in_control_length: Annotated[float, Field(ge=100, le=1_000_000_000)] = _DETECTION.in_control_length
    false_discovery_rate: Annotated[float, Field(gt=0, le=0.5)] = _DETECTION.false_discovery_rate
    max_loss: Annotated[float, Field(gt=0, le=1)] = _DETECTION.max_loss


class ScoreForm(_Form):
    availability: Weight = _SCORE.availability
    latency: Weight = _SCORE.latency
    quality: Weight = _SCORE.quality
    cost: Weight = _SCORE.cost
    hysteresis: Annotated[float, Field(ge=0, le=50)] = _SCORE.hysteresis
    half_life_s: Annotated[float, Field(ge=60, le=2_592_000)] = _SCORE.half_life


class HealthForm(_Form):
    breaker: BreakerForm = BreakerForm()
    score: ScoreForm = ScoreForm()
    probe: ProbeForm = ProbeForm()
    quality: QualityForm = QualityForm()
    drift: DriftForm = DriftForm()
    detection: DetectionForm = DetectionForm()
    flush_s: Annotated[float, Field(gt=0, le=900)] = _HEALTH.flush
    evaluations_to_resolve: Annotated[int, Field(ge=1, le=100)] = _HEALTH.evaluations_to_resolve


class AlertsForm(_Form):
    renotify_s: Annotated[float, Field(gt=0, le=2_592_000)] = _ALERTS.renotify
    link: Annotated[str, AfterValidator(checks.link)] = _ALERTS.link


class DocumentForm(_Form):
    # `schema` itself is taken by a method of the base class.
    version: Annotated[int, AfterValidator(checks.schema)] = Field(alias="schema")
    defaults: DefaultsForm = DefaultsForm()
    providers: Annotated[dict[Name, ProviderForm], Field(min_length=1)]
    targets: Annotated[dict[Name, TargetForm], Field(min_length=1, max_length=MAX_TARGETS)]
    routes: Annotated[dict[RouteName, RouteForm], Field(min_length=1, max_length=MAX_ROUTES)]
    health: HealthForm = HealthForm()
    alerts: AlertsForm = AlertsForm()
    golden_sets: golden.GoldenSets


REQUIRED = "required"


def fields(form: type[BaseModel] = DocumentForm, prefix: str = "") -> dict[str, Any]:
    """Every field by its path, with its default or REQUIRED: `routes.NAME.targets[].weight` -> 1.0.

    A field that holds other fields has them as its default (a plain mapping), or None where the whole may be
    left out.
    """
    found: dict[str, Any] = {}
    for name, info in form.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        found[path] = _default(info)
        for step, part in _parts(info.annotation):
            found.update(fields(part, f"{path}{step}."))
    return found


def _default(info: FieldInfo) -> Any:
    if info.is_required():
        return REQUIRED
    default = info.get_default(call_default_factory=True, validated_data={})
    return default.model_dump() if isinstance(default, BaseModel) else default


def _parts(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The forms inside an annotation, each with the step of the path that leads into it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        yield from ((".NAME", part) for _, part in _parts(arguments[1]))
    elif origin is list:
        yield from (("[]", part) for _, part in _parts(arguments[0]))
    elif origin in (Union, types.UnionType, Annotated):
        for argument in arguments:
            yield from _parts(argument)


def parse(text: str, *, filename: str = "<document>") -> dict[str, Any]:
    """The canonical form of a control document.

    Plain data as JSON has it: every default and every preset written out, decimals as text, every route with its
    full limits and every candidate with its order.  `filename` is used in messages only.  Raises DocumentError with all
    problems.
    """
    tree = _read(text, filename)
    value, named = presets.expand(tree.value)
    form, errors = _validated(value)
    found = wording.first_of_each(
        tree.findings,
        rules.pasted_keys(tree, text),
        islice(named, MAX_PROBLEMS + 1),
        wording.findings(errors, tree, fields()),
        # Guessing what was meant costs time for each dangling name; nobody reads more than these.
        islice(rules.across(value), MAX_PROBLEMS + 1),
        islice(golden.findings(value), MAX_PROBLEMS + 1),
    )
    if found or form is None:
        raise DocumentError(wording.problems(found, tree, filename, MAX_PROBLEMS))
    document = _canonical(form)
    size = len(packed(text, document))
    if size > MAX_BYTES:
        raise DocumentError(wording.problems([_too_large(size, "as it is stored")], tree, filename, MAX_PROBLEMS))
    return document


def _read(text: str, filename: str) -> Tree:
    # Surrogates are passed here so that the reader below can say where they are.
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise DocumentError(wording.problems([_too_large(size, "of text")], Tree(), filename, MAX_PROBLEMS))
    try:
        tree = read(text)
    except UnreadableError as unreadable:
        raise DocumentError(wording.problems([unreadable.finding], Tree(), filename, MAX_PROBLEMS)) from None
    if tree.value is None:
        finding = Finding((), "is empty.", "begin with `schema: 1`; infra/router.example.yaml is a complete document")
        raise DocumentError(wording.problems([*tree.findings, finding], Tree(), filename, MAX_PROBLEMS))
    return tree


def _validated(value: Any) -> tuple[DocumentForm | None, list[Mapping[str, Any]]]:
    try:
        return DocumentForm.model_validate(value), []
    except ValidationError as error:
        return None, [dict(one) for one in error.errors(include_url=False)]


def _too_large(size: int, of: str) -> Finding:
    message = f"takes {size:,} bytes {of}; {MAX_BYTES:,} are allowed."
    return Finding((), message, "remove what no route uses, or shorten comments")


def _canonical(form: DocumentForm) -> dict[str, Any]:
    document = form.model_dump(by_alias=True) | {"golden_sets": golden.canonical(form.golden_sets)}
    for provider in document["providers"].values():
        del provider["preset"], provider["with"]
    for name, route in form.routes.items():
        own = route.limits.model_dump(exclude_unset=True)
        candidates = [
            {**candidate.model_dump(), "order": candidate.order or position}
            for position, candidate in enumerate(route.targets, start=1)
        ]
        # Within one order the place in the list means nothing, so it must not make two documents differ.
        candidates.sort(key=lambda candidate: (candidate["order"], candidate["target"]))
        document["routes"][name] |= {"targets": candidates, "limits": document["defaults"]["limits"] | own}
    return document


def warnings(document: Mapping[str, Any]) -> list[str]:
    """What is allowed but probably not meant, one sentence each; takes a canonical document."""
    return list(rules.oddities(document))
