"""A hospital of three patients as raw MIMIC-IV tables, small enough to know every number by heart."""

from __future__ import annotations

import copy
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clinragen.schema import CohortPaths
from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.mimic_iv.tables import MIMIC4

SUMMARY = """
Name:  ___                  Unit No:   ___

Sex: F                      Service: MEDICINE

Allergies:
Penicillins

Chief Complaint:
Shortness of breath

History of Present Illness:
Ms. ___ is a lady with three days of dyspnea
and orthopnea. She denies fever.

Past Medical History:
Hypertension

Social History:
___

Family History:
Father with gout.

Physical Exam:
ADMISSION PHYSICAL EXAM:
Lungs: crackles at both bases
DISCHARGE PHYSICAL EXAM:
Lungs: clear

Pertinent Results:
WBC-14

Brief Hospital Course:
She had pneumonia.

Medications on Admission:
1. Lisinopril 10 mg daily

Discharge Medications:
1. Levofloxacin

Discharge Diagnosis:
Pneumonia
"""

_CHART = ("subject_id", "hadm_id", "stay_id", "charttime", "itemid", "value", "valuenum", "valueuom", "warning")
_LAB = ("labevent_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "valueuom")


class Hospital:
    """Raw tables as lists of rows; ``write`` puts them into a folder."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {
            "hosp/patients": [
                {"subject_id": 1, "gender": "F", "anchor_age": 70, "anchor_year": 2150},
                {"subject_id": 2, "gender": "M", "anchor_age": 91, "anchor_year": 2150},
                {"subject_id": 3, "gender": "M", "anchor_age": 17, "anchor_year": 2150},
            ],
            "hosp/admissions": [
                _admission(1, 9, "2150-01-01 00:00:00", "2150-01-05 00:00:00"),
                _admission(1, 10, "2151-03-01 06:00:00", "2151-03-09 12:00:00"),
                _admission(2, 20, "2150-06-01 00:00:00", "2150-06-20 00:00:00"),
                _admission(3, 30, "2150-01-01 00:00:00", "2150-01-02 00:00:00"),
            ],
            "hosp/diagnoses_icd": [
                {"subject_id": 1, "hadm_id": 9, "seq_num": 1, "icd_code": "4019", "icd_version": 9},
                {"subject_id": 1, "hadm_id": 10, "seq_num": 1, "icd_code": "J189", "icd_version": 10},
                {"subject_id": 2, "hadm_id": 20, "seq_num": 1, "icd_code": "5849", "icd_version": 9},
            ],
            "hosp/prescriptions": [
                _drug(1, 9, "2150-01-02 00:00:00", "Aspirin"),
                _drug(1, 10, "2151-03-01 07:00:00", "Furosemide"),
                _drug(1, 10, "2151-03-01 07:00:00", "0.9% Sodium Chloride", "BASE"),
                _drug(1, 10, "2151-03-04 07:00:00", "Levofloxacin"),
                _drug(2, 20, "2150-06-01 01:00:00", "Warfarin"),
            ],
            "icu/icustays": [
                _stay(1, 10, 100, "2151-03-01 08:00:00", "2151-03-05 08:00:00"),
                _stay(2, 20, 200, "2150-06-01 02:30:00", "2150-06-01 22:30:00"),
                _stay(2, 20, 201, "2150-06-10 00:00:00", "2150-06-12 00:00:00"),
                _stay(3, 30, 300, "2150-01-01 01:00:00", "2150-01-02 00:00:00"),
            ],
            "icu/chartevents": [],
            "icu/outputevents": [],
            "hosp/labevents": [],
            "note/discharge": [
                {
                    "note_id": "1-DS-1", "subject_id": 1, "hadm_id": 10, "note_type": "DS", "note_seq": 1,
                    "charttime": "2151-03-09 00:00:00", "storetime": "2151-03-10 00:00:00", "text": SUMMARY,
                }
            ],
            "note/radiology": [],
        }  # fmt: skip
        self.chart(100, "2151-03-01 08:10:00", 220045, 80, "bpm")
        self.chart(100, "2151-03-01 08:50:00", 220045, 95, "bpm")
        self.chart(100, "2151-03-01 09:00:00", 223761, 100.4, "°F")
        self.chart(200, "2150-06-01 03:00:00", 220045, 60, "bpm")
        self.chart(201, "2150-06-10 03:00:00", 220045, 61, "bpm")
        self.chart(300, "2150-01-01 03:00:00", 220045, 62, "bpm")
        self.lab(1, "2151-03-01 08:30:00", 50912, 1.4, "mg/dL")
        self.lab(2, "2150-06-10 05:59:00", 50912, 3.1, "mg/dL")
        self.urine(100, "2151-03-01 10:10:00", 100.5)

    def chart(
        self, stay: int, time: str, item: int, value: object, unit: str = "", warning: int = 0, /, **others: object
    ) -> None:
        """Chart one value; ``others`` are further columns, or other cells of these."""
        subject = {100: 1, 200: 2, 201: 2, 300: 3}.get(stay, 1)
        row = (subject, subject * 10, stay, time, item, value, value, unit, warning)
        self.tables["icu/chartevents"].append({**dict(zip(_CHART, row, strict=True)), **others})

    def lab(self, subject: int, time: str, item: int, value: object, unit: str = "", /, **others: object) -> None:
        """Add one laboratory value; ``others`` as for ``chart``."""
        rows = self.tables["hosp/labevents"]
        row = (len(rows), subject, "", item, time, value, value, unit)
        rows.append({**dict(zip(_LAB, row, strict=True)), **others})

    def urine(self, stay: int, time: str, value: float, item: int = 226559, /, **others: object) -> None:
        """Add one volume of urine; ``others`` as for ``chart``."""
        row = {"stay_id": stay, "charttime": time, "itemid": item, "value": value, "valueuom": "ml"}
        self.tables["icu/outputevents"].append({**row, **others})

    def radiology(self, subject: int, time: str, filed: str, text: str) -> None:
        """Add one radiology report."""
        rows = self.tables["note/radiology"]
        row = {"note_id": f"RR-{len(rows)}", "subject_id": subject, "hadm_id": "", "note_type": "RR", "note_seq": 1}
        rows.append({**row, "charttime": time, "storetime": filed, "text": text})

    def copy(self) -> Hospital:
        """An independent copy."""
        return copy.deepcopy(self)

    def write(self, folder: Path, *, packed: bool = True) -> Path:
        """Write all tables that are not None."""
        for path, rows in self.tables.items():
            if rows:
                write_csv(folder / f"{path}.csv{'.gz' if packed else ''}", as_csv(rows))
        return folder


def _admission(subject: int, hadm: int, start: str, end: str) -> dict[str, Any]:
    place = {"admission_type": "EW EMER.", "admission_location": "EMERGENCY ROOM"}
    return {"subject_id": subject, "hadm_id": hadm, "admittime": start, "dischtime": end, **place}


def _stay(subject: int, hadm: int, stay: int, start: str, end: str) -> dict[str, Any]:
    ids = {"subject_id": subject, "hadm_id": hadm, "stay_id": stay}
    return {**ids, "first_careunit": "MICU", "last_careunit": "MICU", "intime": start, "outtime": end, "los": 1}


def _drug(subject: int, hadm: int, time: str, drug: str, kind: str = "MAIN") -> dict[str, Any]:
    return {"subject_id": subject, "hadm_id": hadm, "starttime": time, "stoptime": "", "drug_type": kind, "drug": drug}


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, text: str | bytes) -> None:
    """Write text as a file, packed when its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


class Cohort:
    """A prepared cohort with its tables at hand."""

    def __init__(self, root: Path, manifest: dict[str, Any]) -> None:
        self.root = root
        self.manifest = manifest
        paths = CohortPaths(root)
        self.stays, self.series, self.notes, self.labels, self.quarantine = (
            pl.read_parquet(path)
            for path in (paths.stays, paths.series, paths.notes, paths.labels, root / "quarantine.parquet")
        )

    def values(self, stay: int) -> dict[tuple[str, float], float]:
        """(variable, hour) -> value of one stay."""
        rows = self.series.filter(pl.col("stay_id") == stay).select("variable", "hour", "value")
        return {(variable, hour): round(value, 3) for variable, hour, value in rows.iter_rows()}

    def text(self, stay: int, section: str) -> str | None:
        """One section of one stay."""
        rows = self.notes.filter((pl.col("stay_id") == stay) & (pl.col("section") == section))
        return rows["text"][0] if rows.height else None

    def inputs(self, stay: int) -> tuple[list[Any], list[Any], list[Any]]:
        """All that a model may read of a stay."""
        return tuple(table.filter(pl.col("stay_id") == stay).rows() for table in (self.stays, self.series, self.notes))  # type: ignore[return-value]


@pytest.fixture
def hospital() -> Hospital:
    return Hospital()


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Cohort:
    """The cohort of the undamaged hospital, from plain CSV files."""
    folder = tmp_path_factory.mktemp("good")
    raw = RawTables(Hospital().write(folder / "raw", packed=False), "MIMIC-IV", 1)
    return Cohort(folder / "cohort", prepare(MimicReader(MIMIC4), raw, folder / "cohort", protocol.load("admission")))


@pytest.fixture
def prepared(tmp_path: Path):
    """Prepare a hospital: ``prepared(hospital, protocol="paper", **settings)``."""
    count = iter(range(1_000_000))

    def run(hospital: Hospital | Path, name: str = "admission", stays_per_shard: int = 2, workers: int = 1, **settings):
        number = next(count)
        raw = hospital if isinstance(hospital, Path) else hospital.write(tmp_path / f"raw{number}")
        chosen = protocol.load(name, [f"{key.replace('__', '.')}={value}" for key, value in settings.items()])
        out = tmp_path / f"cohort{number}"
        manifest = prepare(
            MimicReader(MIMIC4), RawTables(raw, "MIMIC-IV", workers), out, chosen, stays_per_shard=stays_per_shard
        )
        return Cohort(out, manifest)

    return run
