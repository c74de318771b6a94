"""What every part of the schema has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from understudy.control import checks

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)
"""A mapping of known names; values are of the type that is written, and nothing is guessed."""


class Form(BaseModel):
    """One mapping of the document."""

    model_config = STRICT


Jurisdictions = Annotated[list[Annotated[str, AfterValidator(checks.jurisdiction)]], AfterValidator(checks.once_each)]
Certifications = Annotated[list[Annotated[str, AfterValidator(checks.certification)]], AfterValidator(checks.once_each)]
Money = Annotated[str, AfterValidator(checks.money)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Count = Annotated[int, Field(ge=1, le=10_000)]
