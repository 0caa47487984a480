"""What ``evaluation.json`` holds, as types: whoever writes, checks or shows it goes by them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from clinragen.schema import RationaleKind
from clinragen.shape import Count, Share

#: Rows of the claims: kinds of claim in each kind of rationale ("all": of any kind).
CLAIM_ROWS: dict[RationaleKind, tuple[str, ...]] = {
    "note": ("finding", "diagnosis", "all"),
    "series": ("series", "diagnosis", "all"),
}


class Interval(TypedDict):
    """A score with its percentile interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class Average(TypedDict):
    """A number that is always defined, with its percentile interval."""

    value: float
    low: float | None
    high: float | None


class Bin(TypedDict):
    """Predictions of like probability: how many, their mean probability, and the share that came true."""

    count: Count
    probability: Share
    observed: Share


class SystemRow(TypedDict):
    """The model, the guess or a control; ``scores`` by metric."""

    title: str
    scores: dict[str, Interval]
    calibration_curve: list[Bin]


class LabelRow(TypedDict):
    """One label: how common it is, and how well it is told. ``scores`` are those of the task."""

    key: str
    name: str
    n_positive: Count
    n_eligible: NotRequired[Count]
    prevalence: Share
    mean_probability: NotRequired[Share]
    threshold: Share
    auroc: Interval
    auprc: float | None
    brier: NotRequired[float | None]
    scores: NotRequired[dict[str, float | None]]
    written_precision: NotRequired[Share]
    written_recall: NotRequired[Share]
    written_f1: NotRequired[Share]
    thresholded_precision: NotRequired[Share]
    thresholded_recall: NotRequired[Share]
    thresholded_f1: Share


class Lengths(TypedDict):
    """Words of a rationale."""

    mean: float
    median: NotRequired[float]
    longest: NotRequired[Count]


class Writing(TypedDict):
    """One kind of rationale: likeness to the teacher's, lengths and variety. ``bertscore``: precision, recall, f1."""

    compared: NotRequired[Count]
    rouge_l: float | None
    bleu: float | None
    bertscore: NotRequired[dict[str, Interval]]
    reference_words: NotRequired[float]
    words: Lengths
    empty: Count
    too_long: Count
    different: NotRequired[Share]
    distinct_1: Share
    distinct_2: Share
    distinct_4: Share


class EncoderPart(TypedDict):
    """The encoder by which BERTScore was computed: its folder, and the hash of the files that were read."""

    folder: str
    sha256: str


class Texts(TypedDict):
    """The rationales, and whose they are compared with."""

    teacher: str | None
    encoder: NotRequired[EncoderPart]
    note: Writing
    series: Writing


class ClaimsRow(TypedDict):
    """Claims of one kind: how many, and what share of them the chart bears out."""

    claims: Count
    absences: Count
    per_rationale: Average
    supported: Interval
    contradicted: Interval
    not_in_the_chart: Interval
    wholly_supported: Interval


class Coverage(TypedDict):
    """Listed diagnoses, and those of them for which a rationale states a ground. Of those without one, ``marked`` are
    those of which a rationale says so by name. Of those with one, ``on_circumstances`` rest on age or place alone,
    and ``on_estimates`` on what only adds to the estimate."""

    listed: Count
    grounded: Count
    share: Interval
    marked: NotRequired[Count]
    on_circumstances: NotRequired[Count]
    on_estimates: NotRequired[Count]


class CausesPart(TypedDict):
    """True positives whose condition shows in the chart, and those of them for which a true cause is cited."""

    true_positives: Count
    named: Count
    show_nowhere: Count
    recall: Interval


class WorthPart(TypedDict):
    """What cited evidence is worth to the model, over diagnoses of stays for which it was removed."""

    diagnoses: Count
    stays: Count
    salience: Interval
    comprehensiveness: Interval
    random: Interval
    times_random: Interval
    more_than_random: Interval
    sufficiency: Interval


class ReasonsPart(TypedDict):
    """Whether rationales give the right reasons. ``causes`` is known of synthetic hospitals only."""

    consistency: Interval
    specificity: Interval
    causes: CausesPart | None
    worth: WorthPart | None


class PredictionsPart(TypedDict):
    """Which predictions were scored."""

    sha256: str
    model: NotRequired[str]
    model_hash: str
    series_input: NotRequired[str]
    remarks: NotRequired[list[str]]


class CohortPart(TypedDict):
    """Whose stays were scored."""

    sha256: NotRequired[str]
    stays: Count
    patients: Count
    splits: dict[str, Count]


class BootstrapPart(TypedDict):
    """How the intervals were drawn."""

    replicates: Count
    seed: float
    unit: NotRequired[str]
    level: NotRequired[float]


class LabelSets(TypedDict):
    """Sets of possible labels: the share of a stay's labels that they are to hold and hold, and how large they are."""

    promised: Share
    held: Interval
    size: Interval


class IntervalBin(TypedDict):
    """Probabilities of like size: how many, their mean and mean interval, and the share that came true."""

    count: Count
    probability: Share
    low: Share
    high: Share
    observed: Interval


class Intervals(TypedDict):
    """Intervals of probabilities: their level and mean width, and in what share of the bins of labels they contain the
    share that came true, or do so within the error of so few stays; ``expected_inside`` of intervals that are right."""

    level: Share
    width: Share
    bins: Count
    inside: Interval
    expected_inside: Share
    within_error: Interval
    curve: list[IntervalBin]


class ReasonCount(TypedDict):
    """A kind of reason to abstain, and for how many stays it is given."""

    reason: str
    stays: Count


class Abstention(TypedDict):
    """Stays that the model abstains on, and the scores without them; None where that is all of them, or none."""

    stays: Count
    reasons: list[ReasonCount]
    answered: dict[str, Interval] | None


class SiteRow(TypedDict):
    """A hospital, network or period, by its name; None: those with too few stays together. ``labels`` are those that
    some of its stays carry and others do not; ``scores`` are None where even together they are too few."""

    name: str | None
    stays: Count
    patients: Count
    labels: Count
    scores: dict[str, Interval] | None


class SiteTable(TypedDict):
    """Scores by hospital, network or period: how many stays are of an unknown one, and how many are small."""

    by: str
    unknown: Count
    rows: list[SiteRow]
    small: Count


class SitesPart(TypedDict):
    """Scores by site: what the periods are, and the fewest stays of a site that is scored on its own."""

    clock: str
    fewest: Count
    tables: list[SiteTable]


class GroupRow(TypedDict):
    """A group of patients or stays; ``gaps`` are its scores minus those of all others. Both are None where the group,
    or the others, are too few."""

    name: str
    stays: Count
    patients: Count
    labels: Count
    scores: dict[str, Interval] | None
    gaps: dict[str, Interval] | None


class GroupTable(TypedDict):
    """Scores by age, sex, length of stay or care unit, and of how many stays it is not known."""

    by: str
    unknown: Count
    rows: list[GroupRow]


class GroupsPart(TypedDict):
    """Scores by group, and the fewest stays of one that is scored."""

    fewest: Count
    tables: list[GroupTable]


class KindRow(TypedDict):
    """Mean scores over the labels of a kind (acute, chronic, mixed) for which they are defined."""

    kind: str
    labels: Count
    scores: dict[str, Interval]


class ByLabel(TypedDict):
    """Scores of each label by its key; the labels for which a score is not defined; means by kind, where there are
    several; and the share of stays whose list of diagnoses is wholly right."""

    labels: dict[str, dict[str, Interval]]
    undefined: dict[str, list[str]]
    kinds: list[KindRow]
    subset_accuracy: Interval


class EvaluationFile(TypedDict):
    """The file: ``systems`` and ``cost_of_control`` by name, ``claims`` by kind of rationale and kind of claim."""

    evaluation_version: NotRequired[int]
    created_by: NotRequired[str]
    predictions: PredictionsPart
    cohort: CohortPart
    bootstrap: BootstrapPart
    task: NotRequired[str]
    labels: NotRequired[list[str]]
    left_out: list[str]
    parse_rate: Share
    systems: dict[str, SystemRow]
    cost_of_control: dict[str, dict[str, Interval]]
    phenotypes: list[LabelRow]
    text: Texts
    claims: dict[str, dict[str, ClaimsRow]]
    coverage: Coverage
    reasons: NotRequired[ReasonsPart | None]
    label_sets: NotRequired[LabelSets | None]
    intervals: NotRequired[Intervals | None]
    abstention: NotRequired[Abstention | None]
    sites: NotRequired[SitesPart | None]
    groups: NotRequired[GroupsPart | None]
    by_label: NotRequired[ByLabel]
