"""What a report states of one stay, as plain values: the one source of JSON, FHIR and CSV.

These types are the schema of ``--form json``; ``configs/report/stay.schema.json`` is derived from them. Of the note
they hold places, not text: words of a patient leave only as far as a rationale quotes them.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from clinragen.choices import RationaleKind
from clinragen.evaluation.explanation import ExplainedDiagnosis
from clinragen.evaluation.prediction_columns import Contribution

#: Raised when a reader of the earlier form would misread the present one.
VERSION = 1
USE = "research use, not for clinical use"


class Stay(TypedDict):
    """Who and when.

    Attributes:
        stay_id, subject_id, hadm_id: as in the cohort.
        age: years; null where it is above 89 and masked.
        over_89: whether it is.
        sex: F, M, or null where it is not recorded.
        intime, prediction_time: local time without a zone, as in the cohort (ISO 8601).
        split: of the cohort.
    """

    stay_id: int
    subject_id: int
    hadm_id: int
    age: int | None
    over_89: bool
    sex: Literal["F", "M"] | None
    intime: str
    prediction_time: str
    split: str


class Codes(TypedDict):
    """By which codes a label is defined: categories of single-level CCS, and codes or ranges of ICD-9 and ICD-10."""

    ccs: list[int]
    icd9: list[str]
    icd10: list[str]


class Diagnosis(TypedDict):
    """A label with its probability.

    Attributes:
        key, name: of the label.
        codes: by which it is defined.
        probability, threshold: calibrated.
        interval: low and high end of the probability (95 %), as far as its calibration goes; null where not held.
        listed: whether the output lists it.
        possible: whether it cannot be ruled out; null where predictions hold no sets of possible labels.
        ground: of a listed one, whether a rationale states a ground for it that the chart bears out (``supported``),
            says itself that there is none (``denied``), or neither (``none``); null where it is not listed.
        argument: the part of a rationale with the weightiest ground, possibly empty.
        recorded: whether it was coded; only with ``--with-recorded-codes``. Null where that is not known.
    """

    key: str
    name: str
    codes: Codes
    probability: float
    interval: tuple[float, float] | None
    threshold: float
    listed: bool
    possible: bool | None
    ground: Literal["supported", "denied", "none"] | None
    argument: str
    recorded: NotRequired[bool | None]


class Measured(TypedDict):
    """A measurement that decides a claim; hours count from ``intime``."""

    variable: str
    name: str
    hour: float
    value: float
    unit: str


class Passage(TypedDict):
    """A sentence of the note: characters ``start`` to ``end`` of its section as written in ``notes.parquet``.

    ``index``: which of the stay's sections in reading order, from 0.
    """

    section: str
    index: int
    start: int
    end: int


class Claim(TypedDict):
    """A claim of a rationale, with its verdict and evidence.

    Attributes:
        id: unique within the stay.
        rationale: the one that states it.
        start, end: its words, as characters (Unicode code points) of the rationale.
        text: these words.
        kind: series, finding, diagnosis, rebuttal or absence.
        about: variables joined by commas, or a concept of the graph; empty for an absence.
        name: of what it is about, in words.
        negated: the rationale denies it.
        verdict: supported, contradicted, not in the chart, or absence (true, but gives no reason).
        measured: the measurements that decide it.
        passages: the sentences of the note that mention it.
    """

    id: str
    rationale: RationaleKind
    start: int
    end: int
    text: str
    kind: str
    about: str
    name: str
    negated: bool
    verdict: Literal["supported", "contradicted", "not in the chart", "absence"]
    measured: list[Measured]
    passages: list[Passage]


class Warrant(TypedDict):
    """Why the evidence counts for the diagnosis: an edge of the concept graph in words, and the work that it cites."""

    text: str
    source: str


class Reason(TypedDict):
    """Something stated for a diagnosis, or against it.

    Attributes:
        claim: id of the claim.
        words: as the rationale has them.
        share: what the estimate loses without the evidence, of all that speaks for the diagnosis; negative: it gains.
            Null where it is unknown or too little.
        warrant: null where the graph has none.
    """

    claim: str
    words: str
    share: float | None
    warrant: Warrant | None


class Unstated(TypedDict):
    """Evidence on which the estimate rests, and which no ground states."""

    name: str
    share: float


class Case(TypedDict):
    """What is stated for a listed diagnosis and against it, or only against one that is not listed."""

    diagnosis: str
    listed: bool
    grounds: list[Reason]
    against: list[Reason]
    unstated: list[Unstated]


class Rationale(TypedDict):
    """A rationale as written; empty where the model wrote none."""

    kind: RationaleKind
    text: str


class Provenance(TypedDict):
    """Where a report comes from.

    Attributes:
        clinragen: version that wrote the report.
        predicted_by: version that predicted.
        model: name of its folder.
        model_sha256, cohort_sha256, predictions_sha256: of weights, cohort manifest and table of predictions.
        source: of the cohort.
        task, label_set: what is predicted.
        window: the hours that the model reads, in words.
        series_input: the stay's own series (``observed``), or a control.
        decoding: by rationale, whether it was held to the chart; null where predictions do not say.
        possible_from: probability from which a label is possible; null without such sets.
        remarks: what a reader must know of this model on this cohort.
    """

    clinragen: str
    predicted_by: str | None
    model: str
    model_sha256: str
    cohort_sha256: str
    predictions_sha256: str
    source: str | None
    task: str
    label_set: str
    window: str | None
    series_input: str
    decoding: dict[str, str] | None
    possible_from: float | None
    remarks: list[str]


class StayReport(TypedDict):
    """What a report states of one stay.

    Attributes:
        stay_report_version: of this schema.
        use: what it may be used for.
        stay: who and when.
        abstains: why the model abstains: then nothing below is to be relied on. Empty where it does not; null where
            predictions do not say.
        parsed: whether the model's text could be read as rationales and a list.
        diagnoses: of every label, in the order of the label set.
        rationales: of note and series.
        claims: of both, in reading order.
        cases: of listed diagnoses, the most probable first, then of those that are only argued against.
        contributions: the weightiest evidence of diagnoses that are called or nearly called; empty where not held.
        attributions: what ``clinragen predict --explain`` measured; empty without it.
        provenance: where it comes from.
    """

    stay_report_version: int
    use: str
    stay: Stay
    abstains: list[str] | None
    parsed: bool
    diagnoses: list[Diagnosis]
    rationales: list[Rationale]
    claims: list[Claim]
    cases: list[Case]
    contributions: list[Contribution]
    attributions: list[ExplainedDiagnosis]
    provenance: Provenance
