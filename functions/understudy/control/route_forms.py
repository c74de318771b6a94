"""The schema of routes: their targets, limits, constraints and strategies."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from understudy import catalog, facts
from understudy.control import checks, golden
from understudy.control.form import Certifications, Days, Form, Jurisdictions, Money

_LIMITS = catalog.Limits()
_CONSTRAINTS = facts.Constraints()

Droppable = Annotated[list[Annotated[str, AfterValidator(checks.droppable)]], AfterValidator(checks.once_each)]

Names = Annotated[list[Annotated[str, AfterValidator(checks.name)]], AfterValidator(checks.once_each)]
Models = Annotated[list[Annotated[str, AfterValidator(checks.model)]], AfterValidator(checks.once_each)]


PiiMode = Annotated[Literal["off", "detect", "redact", "block"], BeforeValidator(checks.off)]
PiiKind = Literal["credit_card", "email", "iban", "ip", "national_id", "phone"]


class LimitsForm(Form):
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


class DefaultsForm(Form):
    limits: LimitsForm = LimitsForm()


class DemandsForm(Form):
    """What a data class demands."""

    jurisdictions: Annotated[Jurisdictions, AfterValidator(checks.some)] | None = None
    max_retention_days: Days | None = _CONSTRAINTS.max_retention_days
    no_training: bool = _CONSTRAINTS.no_training
    pii: PiiMode = "off"
    certifications: Certifications = sorted(_CONSTRAINTS.certifications)
    providers: Annotated[Names, AfterValidator(checks.some)] | None = None
    models: Annotated[Models, AfterValidator(checks.some)] | None = None
    denied_providers: Names = sorted(_CONSTRAINTS.denied_providers)
    denied_models: Models = sorted(_CONSTRAINTS.denied_models)


class ConstraintsForm(DemandsForm):
    data_classes: Names = sorted(_CONSTRAINTS.classes)


class CandidateForm(Form):
    target: str
    order: Annotated[int, Field(ge=1, le=1000)] | None = None
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"target": value} if isinstance(value, str) else value


class ShareForm(Form):
    target: str
    share: Annotated[float, Field(gt=0, le=1)]


class PiiForm(Form):
    mode: PiiMode = "off"
    kinds: Annotated[list[PiiKind], Field(min_length=1), AfterValidator(checks.once_each)] = Field(
        default_factory=lambda: list[PiiKind](get_args(PiiKind))
    )
    countries: Annotated[
        list[Annotated[str, AfterValidator(checks.country)]], Field(max_length=20), AfterValidator(checks.once_each)
    ] = Field(default_factory=list)
    unread: Literal["refuse", "allow"] = "refuse"


class RouteForm(Form):
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
    pii: PiiForm = PiiForm()
