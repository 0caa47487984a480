"""What the service answers, as its schema describes it: rows of ``predictions.jsonl``, with claims and verdicts."""

from __future__ import annotations

from pydantic import BaseModel, Field

NOTICE = "Research use only, not for clinical decisions."


class Weight(BaseModel):
    """Attention to a concept."""

    concept: str
    weight: float


class Share(BaseModel):
    """What a piece of evidence contributes to a diagnosis; negative: against it."""

    diagnosis: str
    evidence: str
    share: float


class Claim(BaseModel):
    """A claim of a rationale, with its verdict against the chart."""

    rationale: str = Field(description="note or series")
    text: str
    kind: str
    about: str
    verdict: str = Field(description="supported, contradicted, not in the chart, or absence")


class AssessedStay(BaseModel):
    """The prediction row of a stay, and every claim of its rationales."""

    stay_id: int
    encounter: str | None = Field(description="id of the FHIR Encounter")
    diagnoses: list[str]
    possible: list[str] = Field(description="what cannot be ruled out")
    probabilities: dict[str, float] = Field(description="calibrated")
    interval: dict[str, list[float]] | None = Field(description="low and high end of each probability's interval")
    note_rationale: str
    series_rationale: str
    parsed: bool
    abstains: list[str] = Field(description="why the stay is unlike those of training; empty for one that is like them")
    concepts: list[Weight]
    contributions: list[Share]
    claims: list[Claim]
    page: str | None = Field(description="HTML, if it was asked for")


class ModelIdentity(BaseModel):
    """The model that answers."""

    sha256: str
    stage: str
    task: str
    source: str | None = Field(description="database of the training stays")
    window: str = Field(description="the hours that it reads")


class NotRead(BaseModel):
    """What of a request was not read, and why."""

    reason: str
    rows: int
    codes: dict[str, int] = Field(description="the most frequent codes or variables, with their rows")


class Answer(BaseModel):
    """The verified report on the stays of a request."""

    notice: str
    created_by: str
    model: ModelIdentity
    labels: dict[str, str] = Field(description="key -> name")
    thresholds: dict[str, float] = Field(description="label -> probability from which it is called")
    possible_from: float | None
    remarks: list[str]
    left_out: list[NotRead]
    stays: list[AssessedStay]


class WrongField(BaseModel):
    """A field that is wrong."""

    path: str
    message: str


class Problem(BaseModel):
    """An error. It repeats nothing of what was sent."""

    error: str
    fields: list[WrongField]


class Health(BaseModel):
    """Whether the service answers."""

    status: str
