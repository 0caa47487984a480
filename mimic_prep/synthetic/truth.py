"""Ground truth of what was planted, to measure what each part of a model contributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import pyarrow as pa

from clinragen.catalog import phenotypes
from mimic_prep.synthetic.coding import PossibleOrder, applies
from mimic_prep.synthetic.hospital import Channel, Hospital
from mimic_prep.synthetic.patients import FORGOTTEN, HOUR, Admission, Episode, Patient

CONDITIONS = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("hadm_id", pa.int64()),
        ("subject_id", pa.int64()),
        ("condition", pa.string()),
        ("is_phenotype", pa.bool_()),
        ("mimics_in_series", pa.list_(pa.string())),  # phenotypes whose evidence it shares there
        ("mimics_in_note", pa.list_(pa.string())),
        ("planted", pa.string()),  # the channel in which the condition can be found
        ("channel", pa.string()),  # where it shows in this stay: series, note, both or none
        ("onset_hour", pa.float32()),  # hours from the admission to intensive care; null for chronic conditions
        ("severity", pa.float32()),
        ("response", pa.float32()),  # share of the effect that treatment removes
        ("variables", pa.list_(pa.string())),  # "creatinine:high"; empty when the series does not show it
        ("terms", pa.list_(pa.string())),  # written in the admission sections about it
        ("coded", pa.bool_()),
    ]
)

ORDERS = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("drug", pa.string()),
        ("reason", pa.string()),  # the condition that calls for it; null for a routine order
        ("channel", pa.string()),  # where the reason shows in this stay: series, note, both or none
        ("chance", pa.float32()),
        ("earliest", pa.float32()),  # hours from the admission to intensive care
        ("latest", pa.float32()),
        ("start", pa.float32()),  # null if it was not given
        ("instead_of", pa.string()),  # what it replaces since that must not be given
    ]
)

CONTRAINDICATIONS = pa.schema(
    [("stay_id", pa.int64()), ("drug", pa.string()), ("because", pa.string())]  # because: allergy or kidney
)

RECODED = pa.schema([("stay_id", pa.int64()), ("condition", pa.string()), ("written_as", pa.string())])

UNCODED = pa.schema([("stay_id", pa.int64()), ("condition", pa.string())])

Shown = Literal["series", "note", "both", "none"]


class TruthRow(TypedDict):
    """A row of ``CONDITIONS``: one condition in one stay."""

    stay_id: int
    hadm_id: int
    subject_id: int
    condition: str
    is_phenotype: bool
    mimics_in_series: list[str]
    mimics_in_note: list[str]
    planted: Channel
    channel: Shown
    onset_hour: float | None
    severity: float
    response: float
    variables: list[str]
    terms: list[str]
    coded: bool


class OrderRow(TypedDict):
    """A row of ``ORDERS``: one drug that may be ordered in one stay."""

    stay_id: int
    drug: str
    reason: str | None
    channel: Shown | None
    chance: float
    earliest: float
    latest: float
    start: float | None
    instead_of: str | None


class ContraindicationRow(TypedDict):
    """A row of ``CONTRAINDICATIONS``: one drug that must not be given in one stay."""

    stay_id: int
    drug: str
    because: str


class RecodedRow(TypedDict):
    """A row of ``RECODED``: a condition whose code in this stay's admission is that of another one."""

    stay_id: int
    condition: str
    written_as: str


class UncodedRow(TypedDict):
    """A row of ``UNCODED``: a condition that the stay's hospital did not code."""

    stay_id: int
    condition: str


@dataclass
class TruthRows:
    """Rows of the truth tables; ``stays`` are of each stay its id, the index of its patient and the group of years."""

    conditions: list[TruthRow] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    contraindications: list[ContraindicationRow] = field(default_factory=list)
    recoded: list[RecodedRow] = field(default_factory=list)
    uncoded: list[UncodedRow] = field(default_factory=list)
    stays: list[tuple[int, int, str]] = field(default_factory=list)

    def extend(self, other: TruthRows) -> None:
        """Add the rows of the next patients."""
        self.conditions += other.conditions
        self.orders += other.orders
        self.contraindications += other.contraindications
        self.recoded += other.recoded
        self.uncoded += other.uncoded
        self.stays += other.stays

    def as_written(self) -> list[TruthRow]:
        """The conditions by the codes that were written for them."""
        others = {(row["stay_id"], row["condition"]): row["written_as"] for row in self.recoded}
        left_out = {(row["stay_id"], row["condition"]) for row in self.uncoded}
        names = phenotypes()
        written: list[TruthRow] = []
        for row in self.conditions:
            key = row["stay_id"], row["condition"]
            name = others.get(key, row["condition"])
            coded = row["coded"] and key not in left_out
            written.append({**row, "condition": name, "is_phenotype": name in names, "coded": coded})
        return written


README = """\
# Ground truth of the synthetic hospital

`conditions.parquet` has one row per stay in intensive care and condition present: the 25 phenotypes, their decoys and
plain distractors. A label is a phenotype with `coded` true; the others were forgotten by the coder.

| column | meaning |
|---|---|
| condition, is_phenotype | key of configs/synthetic/conditions.yaml; whether it is a label |
| mimics_in_series, mimics_in_note | phenotypes whose evidence it shares in that channel |
| planted | where it is meant to be found: series, note, both, together (only when both are read) |
| channel | where it does show in this stay: series, note, both, none |
| onset_hour | hours from the admission to intensive care; empty for chronic conditions |
| severity, response | size of its effects (1 is usual); share of them that treatment takes away |
| variables | variables it moves and the direction, such as creatinine:high |
| terms | symptom and sign terms, history and medicine wordings written about it in the admission sections |
| coded | whether it is among the ICD codes of the admission |

`oracle.parquet` has one row per stay and a probability per phenotype for a reader who is fooled by no decoy and misses
nothing that shows in either channel. Only what is hidden and what the coder forgot is beyond it: an upper bound, but
for what the other conditions of a patient betray.

`orders.parquet` has one row per stay and drug that may be ordered: for a condition (`reason`, and the `channel` in
which it shows), at home before, or as a routine. It is ordered with probability `chance`, and starts at any time alike
between `earliest` and `latest` (hours from the admission to intensive care); `start` is when it did, empty if it was
not ordered. `instead_of` is the drug that it replaces since that must not be given. `contraindications.parquet` has
the drugs that must not be given in a stay, because of an `allergy` that the note states, if there is one, or of the
`kidney`.

`manifest.json` holds seed, number of patients, prevalence per phenotype and the number of rows per table.
"""


SITES_README = """
`sites.parquet` has the hospital, the network of hospitals and the group of years of each stay, and `sites.json` what
each hospital does otherwise than the first, and what changes over the years: log odds of conditions (`case_mix`),
variables that are charted in a share of the stays only (`rarely`), values in another unit under the label of the usual
one (`unit`), and the style of the notes.
"""


RECODING_README = """
`recoded.parquet` has the conditions whose codes are those of another condition (`written_as`): from a group of years
on, coders write the codes of a pair of conditions for each other in a share of the admissions. `sites.json` names the
pairs, that share and these years. The label is then that of `written_as`, if the condition is coded at all. The oracle
knows what was written.
"""


SITE_DRIFT_README = """
`uncoded.parquet` has the conditions of a stay that its hospital did not code: there the label is false although `coded`
says that the usual hospital codes it. `drift` in `sites.json` says of each hospital in what share of the admissions
that happens (`uncoded`), in which version of the ICD it writes all codes (`icd_version`; null: by date), and by how
many hours it stores rows later (`late`). The oracle says what patients have, coded or not.
"""


def recoded_rows(admission: Admission, written: dict[str, str]) -> list[RecodedRow]:
    """Rows of ``RECODED`` for every stay of an admission."""
    return [
        {"stay_id": stay.stay_id, "condition": name, "written_as": other}
        for stay in admission.stays
        for name, other in written.items()
    ]


def uncoded_rows(admission: Admission, uncoded: set[str]) -> list[UncodedRow]:
    """Rows of ``UNCODED`` for every stay of an admission; what any hospital would have forgotten is not among them."""
    names = [e.condition.key for e in admission.episodes if e.coded and e.condition.key in uncoded]
    return [{"stay_id": stay.stay_id, "condition": name} for stay in admission.stays for name in names]


def oracle(stay_ids: list[int], rows: list[TruthRow]) -> pa.Table:
    """Probability of each label for a reader that is misled by no decoy and sees every planted sign: an upper bound.

    One row per stay of ``stay_ids``. A condition that shows in some channel is coded unless omitted; one that shows
    nowhere gets its prevalence among the stays where it does not show, independent of other conditions.
    """
    columns: dict[str, list[int] | list[float]] = {"stay_id": stay_ids}
    for name in phenotypes():
        here = [row for row in rows if row["condition"] == name]
        seen = {row["stay_id"] for row in here if row["channel"] != "none"}
        hidden = sum(row["coded"] for row in here if row["channel"] == "none")
        unseen = hidden / max(len(stay_ids) - len(seen), 1)
        columns[name] = [1 - FORGOTTEN if stay in seen else unseen for stay in stay_ids]
    schema = pa.schema([("stay_id", pa.int64()), *((name, pa.float32()) for name in phenotypes())])
    return pa.table(columns, schema=schema)


def channel(episode: Episode, terms: list[str]) -> Shown:
    """Channel in which one condition shows: effects on the series, words in the admission sections, both or none."""
    series = episode.series and bool(episode.form.effects)
    if terms:
        return "both" if series else "note"
    return "series" if series else "none"


def directions(hospital: Hospital, episode: Episode) -> list[str]:
    """Variables with the direction in which the condition moves them."""
    shift = hospital.effect(episode.form)
    return [f"{name}:{'high' if size > 0 else 'low'}" for name, size in zip(hospital.state, shift, strict=True) if size]


def stay_rows(
    hospital: Hospital, patient: Patient, admission: Admission, evidence: dict[str, list[str]]
) -> list[TruthRow]:
    """Rows of ``CONDITIONS`` for every stay of an admission."""
    rows: list[TruthRow] = []
    for stay in admission.stays:
        for episode, onset in zip(admission.episodes, stay.onsets, strict=True):
            condition = episode.condition
            terms = evidence.get(condition.key, [])
            rows.append(
                {
                    "stay_id": stay.stay_id,
                    "hadm_id": admission.hadm_id,
                    "subject_id": patient.subject_id,
                    "condition": condition.key,
                    "is_phenotype": condition.is_phenotype,
                    "mimics_in_series": condition.mimics.get("series", []),
                    "mimics_in_note": condition.mimics.get("note", []),
                    "planted": condition.planted,
                    "channel": channel(episode, terms),
                    "onset_hour": None if condition.chronic else onset,
                    "severity": episode.severity,
                    "response": episode.response,
                    "variables": directions(hospital, episode) if episode.series else [],
                    "terms": terms,
                    "coded": episode.coded,
                }
            )
    return rows


def order_rows(admission: Admission, orders: list[PossibleOrder], evidence: dict[str, list[str]]) -> list[OrderRow]:
    """Rows of ``ORDERS`` for every stay of an admission."""
    shown: dict[str | None, Shown] = {
        e.condition.key: channel(e, evidence.get(e.condition.key, [])) for e in admission.episodes
    }
    return [
        {
            "stay_id": stay.stay_id,
            "drug": order.drug,
            "reason": order.reason,
            "channel": shown.get(order.reason),
            "chance": order.chance,
            "earliest": (order.earliest - stay.intime) / HOUR,
            "latest": (order.latest - stay.intime) / HOUR,
            "start": None if order.start is None else (order.start - stay.intime) / HOUR,
            "instead_of": order.instead_of,
        }
        for stay in admission.stays
        for order in orders
    ]


def contraindication_rows(hospital: Hospital, admission: Admission, allergy: str) -> list[ContraindicationRow]:
    """Rows of ``CONTRAINDICATIONS`` for every stay of an admission."""
    return [
        {"stay_id": stay.stay_id, "drug": rule.drug, "because": rule.because}
        for stay in admission.stays
        for rule in hospital.substitutions
        if rule.because and applies(rule, admission, allergy)
    ]
