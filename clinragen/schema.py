"""The cohort folder: the contract between preparation and modelling. Only names, types and paths live here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow as pa

from clinragen.choices import DECODINGS as DECODINGS
from clinragen.choices import SERIES_INPUTS as SERIES_INPUTS
from clinragen.choices import SPLITS as SPLITS
from clinragen.choices import RationaleKind as RationaleKind
from clinragen.names import teacher_name

RATIONALE_KINDS: tuple[RationaleKind, ...] = get_args(RationaleKind)
#: Share of a stay's labels that its set of possible ones is to hold on average.
SETS_HOLD = 0.9
#: What share of calibrations the interval of a probability is to hold, and the normal quantile of that.
INTERVAL_LEVEL, INTERVAL_QUANTILE = 0.95, 1.959964
JOURNAL = ".journal.jsonl"  # of a teacher's answers, beside its rationales

# Parquet has no coarser timestamp than milliseconds: a column in seconds would not be read back unchanged.
STAYS = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("subject_id", pa.int64()),
        ("hadm_id", pa.int64()),
        ("intime", pa.timestamp("ms")),
        ("outtime", pa.timestamp("ms")),
        ("prediction_time", pa.timestamp("ms")),
        ("age", pa.float32()),  # years
        ("sex", pa.string()),  # F, M or null
        ("split", pa.string()),
    ]
)
SERIES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("hour", pa.float32()),  # hours from intime, the start of the bin
        ("variable", pa.string()),
        ("value", pa.float32()),  # canonical unit
    ]
)
NOTES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("note_id", pa.string()),
        ("kind", pa.string()),  # discharge, radiology, digest, ...
        ("section", pa.string()),
        ("time", pa.timestamp("ms")),
        ("text", pa.string()),
    ]
)
#: columns of the notes that no row may lack
NOTES_KEYS = ("stay_id", "note_id", "kind", "section")
#: Outcomes after the prediction time. Labels of tasks are derived from them; no model reads them.
OUTCOMES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("died_in_hospital", pa.bool_()),  # null where the source does not say
        ("death_time", pa.timestamp("ms")),  # of a death in hospital, where its time is known
        ("hospital_outtime", pa.timestamp("ms")),  # discharge from hospital or death there, where known
    ]
)
#: Where and when a stay was, null where not known. Splits, audit and evaluation read it; no model does.
SITES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("hospital", pa.string()),
        ("network", pa.string()),  # of hospitals
        ("period", pa.string()),  # a year, or a span of years: see the manifest's clock
    ]
)
#: the first care unit of a stay, as the source calls it; in the file of ``SITES``, since units are no sites to compare
CARE_UNIT = pa.field("care_unit", pa.string())
#: Drugs of the whole hospital admission, also after the prediction time: ``cohort.orders`` gives what may be read.
ORDERS = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("kind", pa.string()),  # order, infusion, or home: taken before admission
        ("entered", pa.timestamp("ms")),  # when the order was entered, null where not known
        ("start", pa.timestamp("ms")),
        ("stop", pa.timestamp("ms")),  # null where not known
        ("name", pa.string()),  # as written; null where the source gives only a code
        ("ingredient", pa.string()),  # null where the name is not known
        ("drug_class", pa.string()),  # key of a class of clinragen.drugs, null likewise
        ("source", pa.string()),  # the raw table
    ]
)
RATIONALES = pa.schema(
    [
        ("stay_id", pa.int64()),
        ("kind", pa.string()),  # note (R_m) or series (R_t)
        ("text", pa.string()),
        ("verdicts", pa.string()),  # JSON: claim verdicts and evidence, or {}
        ("teacher", pa.string()),
        ("prompt_hash", pa.string()),
    ]
)
#: One row per rationale that is kept as its teacher wrote it; the joined tokens contain its text.
LOGPROBS = pa.schema(
    [
        pa.field("stay_id", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("tokens", pa.list_(pa.string()), nullable=False),
        pa.field("logprobs", pa.list_(pa.float32()), nullable=False),  # natural
        pa.field("top_tokens", pa.list_(pa.list_(pa.string())), nullable=False),  # the likeliest at each token
        pa.field("top_logprobs", pa.list_(pa.list_(pa.float32())), nullable=False),
    ]
)


def labels_schema(phenotypes: list[str]) -> pa.Schema:
    """One boolean column per phenotype key."""
    return pa.schema([("stay_id", pa.int64()), *((name, pa.bool_()) for name in phenotypes)])


@dataclass(frozen=True)
class CohortPaths:
    """Paths of the files of a cohort folder."""

    root: Path

    @property
    def stays(self) -> Path:
        """One row per stay."""
        return self.root / "stays.parquet"

    @property
    def series(self) -> Path:
        """One row per hour and variable that was measured."""
        return self.root / "series.parquet"

    @property
    def notes(self) -> Path:
        """One row per note section."""
        return self.root / "notes.parquet"

    @property
    def labels(self) -> Path:
        """One row per stay, one boolean column per label."""
        return self.root / "labels.parquet"

    @property
    def outcomes(self) -> Path:
        """Outcomes of each stay, also after the prediction time; never an input."""
        return self.root / "outcomes.parquet"

    @property
    def sites(self) -> Path:
        """Hospital, network and period of each stay; never an input."""
        return self.root / "sites.parquet"

    @property
    def orders(self) -> Path:
        """Drugs ordered, infused or taken at home, also after the prediction time."""
        return self.root / "orders.parquet"

    @property
    def manifest(self) -> Path:
        """Inputs, settings and hashes of the cohort."""
        return self.root / "manifest.json"

    def rationales(self, teacher: str) -> Path:
        """Rationales of a teacher, one row per stay and kind."""
        return self.root / "rationales" / f"{teacher_name(teacher)}.parquet"

    def rationale_manifest(self, teacher: str) -> Path:
        """Inputs, settings and counts of a teacher's rationales."""
        return self.rationales(teacher).with_suffix(".json")

    def logprobs(self, teacher: str) -> Path:
        """Token log-probabilities of a teacher, if available."""
        return self.root / "rationales" / f"{teacher_name(teacher)}.logprobs.parquet"
