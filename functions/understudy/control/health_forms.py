"""The schema of health and alerts: how targets are watched, and who is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from understudy import catalog
from understudy.control import checks, golden
from understudy.control.form import Count, Form

_BREAKER = catalog.BreakerSettings()
_DETECTION = catalog.DetectionSettings()
_SCORE = catalog.ScoreSettings()
_HEALTH = catalog.HealthSettings()
_QUALITY = _HEALTH.quality
_DRIFT = _HEALTH.drift
_ALERTS = catalog.AlertSettings()

Weight = Annotated[float, Field(ge=0, le=1000)]


class BreakerForm(Form):
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
    ramp: Annotated[list[float], AfterValidator(checks.ramp)] = Field(default_factory=lambda: list(_BREAKER.ramp))
    ramp_step_s: Annotated[float, Field(gt=0, le=3600)] = _BREAKER.ramp_step
    lease_s: Annotated[float, Field(gt=0, le=900)] = _BREAKER.lease


class ProbeForm(Form):
    # A minute has at most four rounds of probes.
    period_s: Annotated[float, Field(ge=15, le=86_400)] = _HEALTH.probe_period
    prompt: Annotated[str, AfterValidator(checks.prompt)] = _HEALTH.probe_prompt
    max_tokens: Count = _HEALTH.probe_max_tokens
    usd_per_day: Annotated[str, AfterValidator(checks.allowance)] = str(_HEALTH.probe_usd_per_day)
    reasoning_tokens: Count = _HEALTH.probe_reasoning_tokens


class QualityForm(Form):
    # Shorter than this a run may not be over before the next one begins.
    period_s: Annotated[float, Field(ge=300, le=86_400)] = _QUALITY.period
    # What one run finds is written as one item of the table.
    items: Annotated[int, Field(ge=1, le=60)] = _QUALITY.items
    sets: golden.SetNames = sorted(_QUALITY.sets)
    judge: str | None = _QUALITY.judge
    confirm_items: Annotated[int, Field(ge=1, le=60)] = _QUALITY.confirm_items


class DriftForm(Form):
    period_s: Annotated[float, Field(ge=60, le=86_400)] = _DRIFT.period
    prompts: Annotated[int, Field(ge=0, le=20)] = _DRIFT.prompts


class DetectionForm(Form):
    in_control_length: Annotated[float, Field(ge=100, le=1_000_000_000)] = _DETECTION.in_control_length
    false_discovery_rate: Annotated[float, Field(gt=0, le=0.5)] = _DETECTION.false_discovery_rate
    max_loss: Annotated[float, Field(gt=0, le=1)] = _DETECTION.max_loss


class ScoreForm(Form):
    availability: Weight = _SCORE.availability
    latency: Weight = _SCORE.latency
    quality: Weight = _SCORE.quality
    cost: Weight = _SCORE.cost
    hysteresis: Annotated[float, Field(ge=0, le=50)] = _SCORE.hysteresis
    half_life_s: Annotated[float, Field(ge=60, le=2_592_000)] = _SCORE.half_life


class HealthForm(Form):
    breaker: BreakerForm = BreakerForm()
    score: ScoreForm = ScoreForm()
    probe: ProbeForm = ProbeForm()
    quality: QualityForm = QualityForm()
    drift: DriftForm = DriftForm()
    detection: DetectionForm = DetectionForm()
    flush_s: Annotated[float, Field(gt=0, le=900)] = _HEALTH.flush
    evaluations_to_resolve: Annotated[int, Field(ge=1, le=100)] = _HEALTH.evaluations_to_resolve


class AlertsForm(Form):
    renotify_s: Annotated[float, Field(gt=0, le=2_592_000)] = _ALERTS.renotify
    link: Annotated[str, AfterValidator(checks.link)] = _ALERTS.link
