"""Ground truth of what was planted, to measure what each part of a model contributes."""

from __future__ import annotations

from typing import Literal, TypedDict

import pyarrow as pa

from clinragen.catalog import phenotypes
from mimic_prep.synthetic.hospital import Channel, Hospital
from mimic_prep.synthetic.patients import FORGOTTEN, Admission, Episode, Patient

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

`manifest.json` holds seed, number of patients, prevalence per phenotype and the number of rows per table.
"""


SITES_README = """
`sites.parquet` has the hospital, the network of hospitals and the group of years of each stay, and `sites.json` what
each hospital does otherwise than the first, and what changes over the years: log odds of conditions (`case_mix`),
variables that are charted in a share of the stays only (`rarely`), values in another unit under the label of the usual
one (`unit`), and the style of the notes.
"""


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
