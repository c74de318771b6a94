"""The schema of providers and targets: who is called, what each can carry, and the facts about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from understudy import catalog, facts
from understudy.control import checks
from understudy.control.form import Certifications, Days, Form, Jurisdictions, Money
from understudy.prices import Kind

_CAPABILITIES = catalog.Capabilities()
_DATA = facts.DataFacts()

HeaderName = Annotated[str, AfterValidator(checks.header_name)]
HeaderValue = Annotated[str, AfterValidator(checks.header_value)]
RequestField = Annotated[str, AfterValidator(checks.request_field)]
Refused = Annotated[list[RequestField], AfterValidator(checks.once_each)]
Placeholder = Annotated[str, AfterValidator(checks.placeholder)]
Line = Annotated[str, AfterValidator(checks.line)]
# A rate that the price itself has is not said twice.
OtherKind = Annotated[Kind, AfterValidator(checks.other_kind)]
Rates = Annotated[dict[Kind, Money], Field(min_length=1)]
ServiceTier = Annotated[str, AfterValidator(checks.service_tier)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class AuthForm(Form):
    header: Annotated[str, AfterValidator(checks.auth_header)]
    scheme: Annotated[str, AfterValidator(checks.scheme)]
    secret: Annotated[str, AfterValidator(checks.secret)]


class SigV4Form(Form):
    service: Annotated[str, AfterValidator(checks.aws_service)]
    region: Annotated[str, AfterValidator(checks.aws_region)]


class ProviderForm(Form):
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


class CapabilitiesForm(Form):
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


class ContractForm(Form):
    id: Line = _DATA.contract.id
    expires: Annotated[str, AfterValidator(checks.day)] | None = None


class DataForm(Form):
    jurisdictions: Jurisdictions = sorted(_DATA.jurisdictions)
    retention_days: Days | None = _DATA.retention_days
    trains_on_data: bool | None = _DATA.trains_on_data
    certifications: Certifications = sorted(_DATA.certifications)
    entity: Line = _DATA.entity
    contract: ContractForm = ContractForm()
    family: Line = _DATA.family
    open_weights: bool | None = _DATA.open_weights


class LongPromptForm(Form):
    above_tokens: Tokens
    rates: Rates


class PriceForm(Form):
    input_per_million: Money
    output_per_million: Money
    kinds: Annotated[dict[OtherKind, Money], Field(max_length=10)] = Field(default_factory=dict)
    long_prompts: Annotated[list[LongPromptForm], Field(max_length=10)] = Field(default_factory=list)
    service_tiers: Annotated[dict[ServiceTier, Rates], Field(max_length=10)] = Field(default_factory=dict)
    source: Line = ""


class PriceChangeForm(PriceForm):
    # `from` is a word of the language.
    starts: Annotated[str, AfterValidator(checks.day)] = Field(alias="from")


def by_day(changes: list[PriceChangeForm]) -> list[PriceChangeForm]:
    """In the order of their days, of which each has one price."""
    days = [change.starts for change in changes]
    if len(set(days)) < len(days):
        raise checks.WrongError("two prices begin on one day.", "keep one of them")
    return sorted(changes, key=lambda change: change.starts)


class TargetForm(Form):
    provider: str
    model: Annotated[str, AfterValidator(checks.model)]
    region: Annotated[str, AfterValidator(checks.region)] = ""
    capabilities: CapabilitiesForm = CapabilitiesForm()
    data: DataForm = DataForm()
    price: PriceForm | None = None
    price_changes: Annotated[list[PriceChangeForm], Field(max_length=20), AfterValidator(by_day)] = Field(
        default_factory=list
    )
    min_tokens_per_s: Annotated[float, Field(ge=0, le=10_000)] = 1.0
